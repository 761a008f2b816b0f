"""Where the sorting of all subtomograms stands."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aitom_disca.classification.classes import Classes
from aitom_disca.config.sorting import SORTING


@dataclass(frozen=True)
class Standing:
    """Where the sorting of n subtomograms into K clusters stands.

    Parameters
    ----------
    classes : Classes
    without : ndarray of shape (K, F, box, box, box)
        Averages without each of F parts of the data.
    signal : ndarray of shape (K, n_shells)
        The share of every shell of these that is signal.
    found_in : ndarray of int, shape (K,)
        Pass in which each cluster was found; 0 for those that were known before.
    seen_at_zyx_px : ndarray of shape (n, 3)
        Where the mask of each lies, from the box centre.
    """

    classes: Classes
    without: np.ndarray
    signal: np.ndarray
    found_in: np.ndarray
    seen_at_zyx_px: np.ndarray

    def without_clusters(
        self, clusters: np.ndarray, likely: float = SORTING.rounds.likely
    ) -> Standing:
        """The same without some clusters; what was in them may belong to any other.

        Parameters
        ----------
        clusters : ndarray of int
        likely : float
            Probability of a cluster below which it is not compared in the next round.
        """
        kept = np.setdiff1d(np.arange(len(self.found_in)), clusters)
        posterior = self.classes.posterior[:, kept]
        posterior[posterior.sum(axis=1) < likely] = 1
        classes = replace(
            self.classes,
            averages=[self.classes.averages[k] for k in kept],
            log_prior=self.classes.log_prior[kept],
            posterior=posterior,
        )
        return replace(
            self,
            classes=classes,
            without=self.without[kept],
            signal=self.signal[kept],
            found_in=self.found_in[kept],
        )


def joined_blocks(
    classes: Classes, blocks: list[Classes], order: np.ndarray | None = None
) -> Classes:
    """Blocks of subtomograms with the same averages, in one."""

    def joined(name: str) -> np.ndarray:
        values = np.concatenate([getattr(block, name) for block in blocks])
        return values if order is None else values[order]

    return replace(
        classes,
        labels=joined("labels"),
        posterior=joined("posterior").astype(np.float32),
        log_likelihood=joined("log_likelihood"),
        rotation=joined("rotation"),
        offset_zyx_px=joined("offset_zyx_px"),
    )


def side_by_side(known: Classes, new: Classes) -> Classes:
    """Subtomograms that were compared with some averages, and with others, with all of these."""
    with np.errstate(divide="ignore"):
        likelihood = np.concatenate(
            [
                one.log_likelihood[:, None] + np.log(one.posterior) - one.log_prior
                for one in (known, new)
            ],
            axis=1,
        )
    averages = [*known.averages, *new.averages]
    likelihood -= np.log(len(averages))
    labels = likelihood.argmax(axis=1)
    top = likelihood[np.arange(len(labels)), labels]
    weight = np.exp(likelihood - top[:, None])
    total = weight.sum(axis=1)
    is_new = labels >= len(known.averages)
    offset = np.where(is_new[:, None], new.offset_zyx_px, known.offset_zyx_px)
    return replace(
        Classes.start(averages, offset),
        labels=labels,
        posterior=(weight / total[:, None]).astype(np.float32),
        log_likelihood=top + np.log(total),
        rotation=np.where(is_new, new.rotation, known.rotation),
    ).with_even_prior()
