"""What a person decides about clusters: an append-only list that can be replayed and undone."""

from aitom_disca.curation.apply import Curated, apply_decisions
from aitom_disca.curation.decisions import Decision
from aitom_disca.curation.record import Curation, decided

__all__ = ["Curated", "Curation", "Decision", "apply_decisions", "decided"]
