"""The cards of the clusters that there are now: those of the report."""

from __future__ import annotations

from aitom_disca.explore.results import Results
from aitom_disca.report.cards import ClusterCard, ranked
from aitom_disca.report.cards_of_run import cards_of_run


def cards_of(results: Results) -> list[ClusterCard]:
    """A card for each cluster, the most to be trusted first."""
    return results.of_these_labels("cards", lambda: _made(results))


def _made(results: Results) -> list[ClusterCard]:
    if results.store_path is not None:
        return cards_of_run(results.files, results.store)
    sizes = {number: len(results.members(number)) for number in results.clusters()}
    names, n = results.curated.names, len(results.labels)
    return ranked(
        ClusterCard(number, size, size / n, names.get(number, "")) for number, size in sizes.items()
    )
