"""How many of the particles that a search finds are none: judged by averages without structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtr, ndtri
from sklearn.isotonic import IsotonicRegression

from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.geometry.box import centre_index

_LOW = 0.1  # quantile that with the median tells the bulk of candidates


def without_structure(learnt: LearntAverages) -> LearntAverages:
    """Every average as the globule that is left of it when it is turned in all directions.

    What fills a cell between its particles is dense and of about their size: it fits such a
    globule as well as it fits an average. Empty places would be too easy to tell from particles.
    """
    averages = np.stack([_over_directions(average) for average in learnt.averages])
    return replace(learnt, averages=averages)


def _over_directions(volume: np.ndarray) -> np.ndarray:
    """Mean over all directions, in shells of one voxel round the box centre."""
    grid = np.indices(volume.shape) - centre_index(volume.shape[0])
    shell = np.round(np.sqrt((grid**2).sum(axis=0))).astype(int)
    profile = np.bincount(shell.ravel(), volume.ravel()) / np.bincount(shell.ravel())
    return profile[shell].astype(np.float32)


def noise_boxes(box_px: int, n: int = 300, seed: int = 0) -> np.ndarray:
    """Pure noise, shape (n, z, y, x), which aligned as candidates are shows what chance makes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *(box_px,) * 3)).astype(np.float32)


def q_values(
    score: np.ndarray, null_score: np.ndarray, noise_score: np.ndarray | None = None
) -> np.ndarray:
    """False-discovery rate of all candidates that are at least as good as each, shape (n,).

    Every candidate goes to whichever fits it better, averages or globules. Of what is dense but
    no particle about as many go to either, so that those that go to the globules count the false
    ones among the others. To them come as many of pure noise as if all candidates were noise,
    since noise fits many rotations of an average better than one globule. Candidates that go to
    the globules have 1.

    Parameters
    ----------
    score, null_score : ndarray of shape (n,)
        Log likelihood of the averages, and of the globules.
    noise_score : ndarray of shape (m,), optional
        Log likelihood of the averages for pure noise.

    References
    ----------
    .. [1] Elias & Gygi (2007), Nature Methods 4, 207: competition of targets and decoys.
    """
    best, wins, weight = _with_noise(score, null_score, noise_score)
    order = np.argsort(-best, kind="stable")
    lost = np.cumsum((weight * ~wins)[order])
    won = np.cumsum(wins[order])
    rate = np.minimum((lost + 1) / np.maximum(won, 1), 1.0)
    found = np.ones(len(best))
    found[order] = np.minimum.accumulate(rate[::-1])[::-1]
    return np.where(wins, found, 1.0)[: len(score)]


def q_values_of_bulk(score: np.ndarray) -> np.ndarray:
    """False-discovery rate of all that stand out as much from the bulk of candidates, (n,).

    Most candidates are no particles. Their log likelihood is taken for a Gaussian, which the
    lower half of all tells; what it does not explain at the upper end are particles. Of which
    kind is not asked: one that has no average of its own may stand out too.

    Parameters
    ----------
    score : ndarray of shape (n,)
        Log likelihood of the averages.

    References
    ----------
    .. [1] Efron (2004), J. Am. Stat. Assoc. 99, 96: an empirical null.
    """
    if not len(score):
        return np.zeros(0)
    low, middle = np.quantile(score, [_LOW, 0.5])
    spread = max((middle - low) / -ndtri(_LOW), 1e-9)
    order = np.argsort(-score, kind="stable")
    by_chance = len(score) * ndtr((middle - score[order]) / spread)
    rate = np.minimum(by_chance / np.arange(1, len(score) + 1), 1.0)
    found = np.empty(len(score))
    found[order] = np.minimum.accumulate(rate[::-1])[::-1]
    return found


def particle_probability(
    score: np.ndarray, null_score: np.ndarray, noise_score: np.ndarray | None = None
) -> np.ndarray:
    """Probability (n,) that each candidate is a particle: 0 where the globules fit better.

    By the share of what has about its likelihood that is no particle, counted as in `q_values`;
    it never falls as the likelihood grows.
    """
    if not len(score):
        return np.zeros(0)
    best, wins, weight = _with_noise(score, null_score, noise_score)
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    share = model.fit(best, wins.astype(float), weight).predict(best)
    false = (1 - share) / np.maximum(share, 1e-9)
    return np.where(wins, np.clip(1 - false, 0, 1), 0.0)[: len(score)]


def _with_noise(
    score: np.ndarray, null_score: np.ndarray, noise_score: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best log likelihood, whether the averages have it, and weight, of candidates and noise."""
    noise = np.zeros(0) if noise_score is None else noise_score
    best = np.concatenate([np.maximum(score, null_score), noise])
    wins = np.concatenate([score > null_score, np.zeros(len(noise), bool)])
    weight = np.concatenate(
        [np.ones(len(score)), np.full(len(noise), len(score) / max(len(noise), 1))]
    )
    return best, wins, weight
