"""From features to clusters, with what can go wrong on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aitom_disca.clustering import (
    GaussianMixtureModel,
    choose_mixture,
    ddbi,
    fit_projection,
    match_labels,
    restructure,
)
from aitom_disca.config import MineSettings
from aitom_disca.errors import IterationError
from aitom_disca.mining.solution import Solution, join_events
from aitom_disca.progress import say

_RIDGES = (1.0, 1e2, 1e4)  # factors on reg_covar, where a covariance is singular


def cluster_features(
    features: np.ndarray, previous: Solution | None, settings: MineSettings, iteration: int
) -> Solution:
    """Find the clusters of features and name them as in the previous iteration.

    Where a covariance is singular, it is done again with 100 times ``reg_covar``.

    Parameters
    ----------
    features : ndarray of shape (n_subtomograms, n_features)
    previous : Solution, optional
    settings : MineSettings
    iteration : int
        From 1.

    Raises
    ------
    IterationError
        If the features are not numbers or all the same, or their covariances stay singular.
    """
    if not np.isfinite(features).all():
        raise IterationError("the features were not numbers")
    if not (features.max(axis=0) > features.min(axis=0)).any():
        raise IterationError("all subtomograms had the same features")
    events = []
    for factor in _RIDGES:
        reg_covar = factor * settings.reg_covar
        if factor > 1:
            events = [f"a covariance was singular; reg_covar was raised to {reg_covar:g}"]
        try:
            solution = _cluster(features, previous, settings, iteration, reg_covar)
            break
        except ValueError as error:
            if not _is_singular(error):
                raise
    else:
        raise IterationError("a covariance stayed singular")
    event = join_events(*events, solution.event)
    if event:
        say(f"iteration {iteration}: {event}")
    return replace(solution, event=event)


def _is_singular(error: ValueError) -> bool:
    """Whether a matrix could not be factorised: NumPy's error, or scikit-learn's."""
    return isinstance(error, np.linalg.LinAlgError) or "covariance" in str(error)


def _cluster(
    features: np.ndarray,
    previous: Solution | None,
    settings: MineSettings,
    iteration: int,
    reg_covar: float,
) -> Solution:
    projection = fit_projection(
        features, settings.pca_dimensions, whiten=settings.whiten, seed=settings.seed
    )
    embedding = projection(features)
    seed = settings.seed + iteration
    choice = choose_mixture(
        embedding,
        settings.mixture_k,
        criterion=settings.k_criterion,
        choose_dimensions=settings.choose_dimensions,
        labels=None if previous is None else previous.labels,
        n_starts=settings.n_starts,
        reg_covar=reg_covar,
        seed=seed,
    )
    leading = embedding[:, : choice.n_dimensions]
    mixture, changes = _restructured(leading, choice.mixture, settings, reg_covar, seed)
    mixture, posterior, emptied = _without_empty(mixture, mixture.posterior(leading))
    labels = posterior.argmax(axis=1)
    solution = Solution(
        iteration=iteration,
        labels=labels,
        mixture=mixture,
        projection=projection,
        embedding=embedding,
        weights=[],
        bic=choice.bic,
        criteria=choice.criteria,
        ddbi=ddbi(embedding, labels, reg_covar=reg_covar),
        event=join_events(*choice.events, *changes, emptied),
    )
    if previous is not None and previous.k == solution.k:
        return solution.renamed(match_labels(previous.labels, labels))
    return solution


def _restructured(
    samples: np.ndarray,
    mixture: GaussianMixtureModel,
    settings: MineSettings,
    reg_covar: float,
    seed: int,
) -> tuple[GaussianMixtureModel, list[str]]:
    """Split and merge components where the settings ask for it; say what was done."""
    if not (settings.merge_clusters or settings.split_clusters):
        return mixture, []
    changed = restructure(
        samples,
        mixture,
        mixture.posterior(samples).argmax(axis=1),
        merge=settings.merge_clusters,
        split=settings.split_clusters,
        reg_covar=reg_covar,
        seed=seed,
    )
    return changed.mixture, [str(change) for change in changed.changes]


def _without_empty(
    mixture: GaussianMixtureModel, posterior: np.ndarray
) -> tuple[GaussianMixtureModel, np.ndarray, str]:
    """Leave out components that no sample belongs to most; say so."""
    kept = np.unique(posterior.argmax(axis=1))
    n_empty = mixture.n_components - len(kept)
    if not n_empty:
        return mixture, posterior, ""
    weights = mixture.weights[kept] / mixture.weights[kept].sum()
    left = GaussianMixtureModel(weights, mixture.means[kept], mixture.covariances[kept])
    posterior = posterior[:, kept] / posterior[:, kept].sum(axis=1, keepdims=True)
    event = f"left out {n_empty} of {mixture.n_components} clusters without members"
    return left, posterior, event
