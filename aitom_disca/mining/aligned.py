"""The fast way: alignment sorts what the network cannot tell apart, and teaches the network."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans

from aitom_disca.alignment import AlignmentSorter
from aitom_disca.clustering import (
    GaussianMixtureModel,
    Projection,
    ddbi,
    fit_projection,
    match_labels,
    mixture_of_labels,
)
from aitom_disca.config import MineSettings
from aitom_disca.mining.embedding import build_extractor, compute_features
from aitom_disca.mining.loop import (
    LoopResult,
    Solution,
    cluster_features,
    label_change,
    record,
)
from aitom_disca.progress import say
from aitom_disca.subtomograms.dataset import PreparedVolumes, Source

if TYPE_CHECKING:
    from aitom_disca.network import Classifier

_ALIGNMENT_BOX_PX = 20  # alignment looks at low frequencies only
_MEMBERS_PER_START = 12
_FEWEST_STARTS = 8


def run_aligned(
    source: Source,
    volumes: PreparedVolumes,
    settings: MineSettings,
    tilt_range_deg: tuple[float, float],
) -> LoopResult:
    """Cluster features, sort by alignment, train the network on the outcome.

    1. Features of the untrained network, clustered with K by BIC: iteration 1.
    2. The same features cut into more clusters than there may be structures; their members are
       aligned to all averages and move to the best one; averages that are one are merged. At most
       ``alignment_most`` subtomograms, drawn at random, take part.
    3. The network is trained on these labels, ``max_iterations - 1`` passes, and each cluster
       becomes a Gaussian of its features: iteration 2. It sorts the subtomograms that did not
       take part, and new ones.
    """
    from aitom_disca.network import Classifier

    start = time.perf_counter()
    extractor = build_extractor(volumes.box_px, settings)
    features = compute_features(extractor, volumes, settings)
    first = cluster_features(features, None, settings, iteration=1)
    first = replace(first, weights=extractor.get_weights())
    result = record(None, first, 1.0, time.perf_counter() - start)
    start = time.perf_counter()
    rng = np.random.default_rng(settings.seed)
    n_aligned = min(len(volumes), settings.alignment_most)
    rows = np.sort(rng.choice(len(volumes), n_aligned, replace=False))
    sorter, labels = _sort(source, rows, first.embedding[rows], settings, tilt_range_deg)
    loss = None
    if labels.max() > 0:
        classifier = Classifier(extractor, batch_size=settings.batch_size, seed=settings.seed)
        k = int(labels.max()) + 1
        classifier.new_head(features[rows], labels, k, epochs=settings.head_epochs)
        loss = _train(classifier, volumes, rows, labels, settings)
        features = compute_features(extractor, volumes, settings)
    second = _solution(features, rows, labels, first, settings)
    averages = np.array(sorter.averages())
    second = replace(second, weights=extractor.get_weights(), averages=averages)
    if second.k == first.k:
        second = second.renamed(match_labels(first.labels, second.labels))
    record(result, second, label_change(first, second), time.perf_counter() - start)
    result.history[-1]["loss"] = loss
    result.best = second
    result.converged = sorter.stable
    return result


def _sort(
    source: Source,
    rows: np.ndarray,
    embedding: np.ndarray,
    settings: MineSettings,
    tilt_range_deg: tuple[float, float],
) -> tuple[AlignmentSorter, np.ndarray]:
    """Sort some subtomograms by alignment; labels from 0."""
    fewest, most = min(settings.candidate_k), max(settings.candidate_k)
    n_starts = max(most, _FEWEST_STARTS)
    n_starts = max(fewest, min(n_starts, len(rows) // _MEMBERS_PER_START), 1)
    cut = KMeans(n_starts, n_init=5, random_state=settings.seed).fit(embedding)
    distance = cut.transform(embedding)
    centres = [
        int(np.where(cut.labels_ == k, distance[:, k], np.inf).argmin()) for k in range(n_starts)
    ]
    cropped = PreparedVolumes(source, box_px=_ALIGNMENT_BOX_PX, rows=rows)
    sorter = AlignmentSorter(cropped.read(np.arange(len(rows))), tilt_range_deg, seed=settings.seed)
    return sorter, sorter.sort(cut.labels_, np.array(centres), fewest=fewest, most=most)


def _train(
    classifier: Classifier,
    volumes: PreparedVolumes,
    rows: np.ndarray,
    labels: np.ndarray,
    settings: MineSettings,
) -> float | None:
    loss, smoothing, rate = None, settings.label_smoothing, settings.learning_rate
    for _ in range(settings.max_iterations - 1):
        loss = classifier.train_epoch(
            lambda batch: volumes.read(rows[batch]),
            labels,
            smoothing=smoothing,
            learning_rate=rate,
            rotated_copies=settings.rotated_copies,
        )
        smoothing *= settings.label_smoothing_decay
        rate *= settings.learning_rate_decay
    return loss


def _solution(
    features: np.ndarray,
    rows: np.ndarray,
    aligned_labels: np.ndarray,
    first: Solution,
    settings: MineSettings,
) -> Solution:
    """The network's view of the clusters: a Gaussian each; it labels those not aligned."""
    projection: Projection = fit_projection(
        features, settings.pca_dimensions, whiten=settings.whiten, seed=settings.seed
    )
    embedding = projection(features)
    mixture: GaussianMixtureModel = mixture_of_labels(
        embedding[rows], aligned_labels, reg_covar=settings.reg_covar
    )
    posterior = mixture.posterior(embedding)
    labels = posterior.argmax(axis=1)
    agreement = float(np.mean(labels[rows] == aligned_labels))
    say(f"the trained network agrees with {100 * agreement:.1f} % of the aligned labels")
    labels[rows] = aligned_labels
    return replace(
        first,
        iteration=2,
        labels=labels,
        posterior=posterior[np.arange(len(labels)), labels],
        mixture=mixture,
        projection=projection,
        embedding=embedding,
        ddbi=ddbi(embedding, labels, reg_covar=settings.reg_covar),
    )
