"""The generalised expectation-maximisation loop of DISCA."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from aitom_disca.clustering import (
    GaussianMixtureModel,
    Projection,
    choose_mixture,
    ddbi,
    fit_projection,
    match_labels,
)
from aitom_disca.config import MineSettings
from aitom_disca.mining.embedding import build_extractor, compute_features
from aitom_disca.progress import say
from aitom_disca.subtomograms.dataset import PreparedVolumes


@dataclass(frozen=True)
class Solution:
    """The clusters of one iteration and everything that they came from.

    Parameters
    ----------
    iteration : int
        From 1.
    labels, posterior : ndarray of shape (n_subtomograms,)
    mixture : GaussianMixtureModel
        In the first ``mixture.means.shape[1]`` components of the embedding.
    projection : Projection
    embedding : ndarray of shape (n_subtomograms, n_components)
    weights : list of ndarray
        Of the extractor that gave the features.
    bic : dict of int to float
    ddbi : float
    averages : ndarray of shape (K, z, y, x), optional
        Aligned average of every cluster, where there was an alignment.
    """

    iteration: int
    labels: np.ndarray
    posterior: np.ndarray
    mixture: GaussianMixtureModel
    projection: Projection
    embedding: np.ndarray
    weights: list[np.ndarray]
    bic: dict[int, float]
    ddbi: float
    averages: np.ndarray | None = None

    @property
    def k(self) -> int:
        """The number of clusters."""
        return self.mixture.n_components

    def renamed(self, names: np.ndarray) -> Solution:
        """The same clusters, cluster k called ``names[k]``."""
        averages = None if self.averages is None else self.averages[np.argsort(names)]
        mixture = self.mixture.renamed(names)
        return replace(self, labels=names[self.labels], mixture=mixture, averages=averages)


@dataclass
class LoopResult:
    """The kept solution, the record of all iterations, and whether the clusters stayed."""

    best: Solution
    history: list[dict[str, Any]] = field(default_factory=list)
    converged: bool = False


def run_loop(volumes: PreparedVolumes, settings: MineSettings) -> LoopResult:
    """Extract features, cluster them, train on the clusters, and again.

    The solution with the lowest DDBI is kept. The loop ends when K and ``stop_fraction`` of the
    labels stay for ``stop_iterations`` iterations in a row, when there is nothing to tell apart
    (K = 1), or after ``max_iterations``.
    """
    from aitom_disca.network import Classifier

    extractor = build_extractor(volumes.box_px, settings)
    classifier = Classifier(extractor, batch_size=settings.batch_size, seed=settings.seed)
    result: LoopResult | None = None
    previous: Solution | None = None
    smoothing, rate, n_stayed = settings.label_smoothing, settings.learning_rate, 0
    for iteration in range(1, settings.max_iterations + 1):
        start = time.perf_counter()
        features = compute_features(extractor, volumes, settings)
        solution = cluster_features(features, previous, settings, iteration)
        solution = replace(solution, weights=extractor.get_weights())
        change = label_change(previous, solution)
        result = record(result, solution, change, time.perf_counter() - start)
        n_stayed = n_stayed + 1 if 1 - change >= settings.stop_fraction else 0
        if n_stayed >= settings.stop_iterations or solution.mixture.n_components == 1:
            result.converged = True
            break
        if iteration == settings.max_iterations:
            break
        if previous is None or change == 1.0:
            k = solution.mixture.n_components
            classifier.new_head(features, solution.labels, k, epochs=settings.head_epochs)
        result.history[-1]["loss"] = classifier.train_epoch(
            volumes.read,
            solution.labels,
            smoothing=smoothing,
            learning_rate=rate,
            rotated_copies=settings.rotated_copies,
        )
        result.history[-1]["seconds"] = time.perf_counter() - start
        smoothing *= settings.label_smoothing_decay
        rate *= settings.learning_rate_decay
        previous = solution
    assert result is not None  # noqa: S101  max_iterations is at least one
    return result


def cluster_features(
    features: np.ndarray, previous: Solution | None, settings: MineSettings, iteration: int
) -> Solution:
    """Find the clusters of features and name them as in the previous iteration."""
    projection = fit_projection(
        features, settings.pca_dimensions, whiten=settings.whiten, seed=settings.seed
    )
    embedding = projection(features)
    choice = choose_mixture(
        embedding,
        settings.candidate_k,
        choose_dimensions=settings.choose_dimensions,
        labels=None if previous is None else previous.labels,
        n_starts=settings.n_starts,
        reg_covar=settings.reg_covar,
        seed=settings.seed + iteration,
    )
    mixture = choice.mixture
    posterior = mixture.posterior(embedding[:, : choice.n_dimensions])
    mixture, posterior = _without_empty(mixture, posterior)
    labels = posterior.argmax(axis=1)
    index = ddbi(embedding, labels, reg_covar=settings.reg_covar)
    solution = Solution(
        iteration,
        labels,
        posterior.max(axis=1),
        mixture,
        projection,
        embedding,
        [],
        choice.bic,
        index,
    )
    if previous is not None and previous.mixture.n_components == mixture.n_components:
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


def label_change(previous: Solution | None, current: Solution) -> float:
    """Share of the labels that changed; 1 where K changed or there was nothing before."""
    if previous is None or previous.mixture.n_components != current.mixture.n_components:
        return 1.0
    return float((previous.labels != current.labels).mean())


def record(
    result: LoopResult | None, solution: Solution, change: float, seconds: float
) -> LoopResult:
    """Add an iteration to the history, and keep its solution if its DDBI is the lowest."""
    sizes = np.bincount(solution.labels)
    row = {
        "iteration": solution.iteration,
        "k": solution.mixture.n_components,
        "n_dimensions": solution.mixture.means.shape[1],
        "ddbi": solution.ddbi,
        "label_change": change,
        "sizes": sizes.tolist(),
        "bic": solution.bic,
        "loss": None,
        "seconds": seconds,
    }
    index = "not defined" if np.isnan(solution.ddbi) else f"{solution.ddbi:.3f}"
    say(
        f"iteration {solution.iteration}: K = {row['k']}, DDBI {index}, "
        f"labels changed: {100 * change:.1f} %, sizes {row['sizes']}"
    )
    if result is None:
        return LoopResult(solution, [row])
    result.history.append(row)
    if solution.ddbi < result.best.ddbi:  # a NaN (K = 1) replaces nothing
        result.best = solution
    return result
