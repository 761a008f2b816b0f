"""What a person decides about clusters: an append-only list that can be replayed and undone."""

from aitom_disca.curation.curation_file import Curation, decided
from aitom_disca.curation.decisions import Decision
from aitom_disca.curation.replay import Curated, apply_decisions

__all__ = ["Curated", "Curation", "Decision", "apply_decisions", "decided"]
