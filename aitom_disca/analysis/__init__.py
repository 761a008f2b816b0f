"""Whether clusters can be trusted: what else explains them, and whether they come again."""

from aitom_disca.analysis.nuisance import Audit, Finding, audit, audit_properties
from aitom_disca.analysis.properties import Property, measure_properties
from aitom_disca.analysis.stability import Stability, compare_runs, fit_repeatedly

__all__ = [
    "Audit",
    "Finding",
    "Property",
    "Stability",
    "audit",
    "audit_properties",
    "compare_runs",
    "fit_repeatedly",
    "measure_properties",
]
