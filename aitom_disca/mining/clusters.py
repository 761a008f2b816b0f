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
    choice = choose_mixture(
        embedding,
        settings.candidate_k,
        criterion=settings.k_criterion,
        choose_dimensions=settings.choose_dimensions,
        labels=None if previous is None else previous.labels,
        n_starts=settings.n_starts,
        reg_covar=reg_covar,
        seed=settings.seed + iteration,
    )
    posterior = choice.mixture.posterior(embedding[:, : choice.n_dimensions])
    mixture, posterior = _without_empty(choice.mixture, posterior)
    labels = posterior.argmax(axis=1)
    n_empty = choice.mixture.n_components - mixture.n_components
    solution = Solution(
        iteration=iteration,
        labels=labels,
        posterior=posterior.max(axis=1),
        mixture=mixture,
        projection=projection,
        embedding=embedding,
        weights=[],
        bic=choice.bic,
        ddbi=ddbi(embedding, labels, reg_covar=reg_covar),
        event=f"left out {n_empty} of {n_empty + mixture.n_components} clusters without members"
        if n_empty
        else "",
    )
    if previous is not None and previous.k == solution.k:
        return solution.renamed(match_labels(previous.labels, labels))
    return solution


def _without_empty(
    mixture: GaussianMixtureModel, posterior: np.ndarray
) -> tuple[GaussianMixtureModel, np.ndarray]:
    """Leave out components that no sample belongs to most."""
    kept = np.unique(posterior.argmax(axis=1))
    if len(kept) == mixture.n_components:
        return mixture, posterior
    weights = mixture.weights[kept] / mixture.weights[kept].sum()
    left = GaussianMixtureModel(weights, mixture.means[kept], mixture.covariances[kept])
    posterior = posterior[:, kept] / posterior[:, kept].sum(axis=1, keepdims=True)
    return left, posterior
