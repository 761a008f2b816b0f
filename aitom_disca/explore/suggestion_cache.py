"""What might be decided about the clusters of results, for as long as they stay what they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aitom_disca.curation.suggestions import Suggestion
from aitom_disca.pipeline.suggest import Suggestions, suggest


@dataclass(frozen=True)
class Suggested:
    """Suggestions, and the labels (N,) from 0 that they are about."""

    made: Suggestions
    labels: np.ndarray

    @classmethod
    def about(cls, folder: Path, store: Path | None, labels: np.ndarray) -> Suggested:
        """Ask what might be decided, which takes a while.

        Raises
        ------
        InputError
            If a file cannot be read.
        """
        return cls(suggest(folder, store=store), labels)

    def holding(self, labels: np.ndarray, names: Mapping[int, str]) -> list[tuple[int, Suggestion]]:
        """Those that nothing has overtaken, each with its place in the list.

        Parameters
        ----------
        labels : ndarray of int, shape (N,)
            As they are now.
        names : mapping of int to str
            Of clusters, as they are now.
        """

        def holds(one: Suggestion) -> bool:
            if one.name and (one.name in names.values() or one.clusters[0] in names):
                return False
            return all(np.array_equal(self.labels == k - 1, labels == k - 1) for k in one.clusters)

        return [(number, one) for number, one in enumerate(self.made.found) if holds(one)]
