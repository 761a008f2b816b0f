"""The fast way: alignment sorts what the network cannot tell apart, and teaches the network."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.cluster import KMeans

from aitom_disca.classification import AlignmentSorter
from aitom_disca.clustering import ddbi, fit_projection, match_labels, mixture_of_labels
from aitom_disca.computing.parallel import Workers
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError, IterationError
from aitom_disca.geometry.wedge import TiltRanges
from aitom_disca.mining.checkpoint import Checkpoint
from aitom_disca.mining.feature_extraction import build_extractor, compute_features
from aitom_disca.mining.published_loop import (
    LoopResult,
    Solution,
    cluster_features,
    label_change,
    record,
)
from aitom_disca.mining.solution import Arrays, Known, pack, unpack_part, unpack_solution
from aitom_disca.mining.sort_store import drawn_rows, sort_source, steps_of
from aitom_disca.progress import say, track
from aitom_disca.subtomograms.dataset import PreparedVolumes, Source

if TYPE_CHECKING:
    import keras

    from aitom_disca.network import Classifier
    from aitom_disca.network.training import RotateVolumes

_MEMBERS_PER_START = 12
_STARTS_PER_CANDIDATE = 1.5
_FEWEST_STARTS = 12
_ATTEMPTS = 4  # at a pass of training, each with half the learning rate of the one before


def run_aligned(
    source: Source,
    volumes: PreparedVolumes,
    settings: MineSettings,
    tilt_range_deg: TiltRanges,
    checkpoint: Checkpoint | None = None,
    known: Known | None = None,
    rotate: RotateVolumes | None = None,
    mask_radius_px: float = np.inf,
    workers: Workers | None = None,
) -> LoopResult:
    """Cluster features, sort by alignment, train the network on the outcome.

    1. Features of the untrained network, clustered with K by BIC: iteration 1.
    2. Subtomograms in the middle of a finer partition of these features are the first references
       of a classification by alignment. At most ``alignment_most`` subtomograms, drawn at
       random, take part. If there are more, all are then compared with what was found among
       these, and structures that were missed are looked for among what fits worst of all.
    3. The network is trained on these labels, ``max_iterations - 1`` passes, and each cluster
       becomes a Gaussian of its features: iteration 2. It sorts new subtomograms.

    Where the clusters are known already, the second step is left out. ``rotate`` is what rotates
    the copies in training, if not the network itself. ``mask_radius_px`` is that of a soft sphere
    round each particle, in voxels of the source. ``workers`` compare all subtomograms of a store.
    """
    checkpoint = checkpoint or Checkpoint.nowhere()
    start = time.perf_counter()
    extractor = build_extractor(volumes.box_px, settings)
    arrays, meta = checkpoint.step("features", lambda: _first(extractor, volumes, settings))
    features = np.asarray(arrays.pop("features"))
    first = unpack_solution(arrays, meta)
    result = record(None, first, 1.0, time.perf_counter() - start)

    start = time.perf_counter()
    found = known or _from_step(
        *checkpoint.step(
            "sorted",
            lambda: pack(
                _sort(
                    source,
                    first.embedding,
                    settings,
                    tilt_range_deg,
                    mask_radius_px,
                    checkpoint,
                    workers,
                )
            ),
        )
    )
    for name in steps_of(2 * settings.alignment_splits):  # "sorted" holds what came of them
        checkpoint.discard(name)
    labels = found.labels
    loss = None
    if labels.max() > 0:
        loss = _train(extractor, volumes, features, labels, settings, checkpoint, rotate)
        features = compute_features(extractor, volumes, settings)
    second = _second(features, labels, first, settings)
    second = replace(
        second,
        weights=extractor.get_weights(),
        posterior=found.posterior,
        averages=found.averages,
        learnt=found.learnt,
    )
    if second.k == first.k and known is None:
        kept = labels >= 0
        second = second.renamed(match_labels(first.labels[kept], labels[kept]))
    record(result, second, label_change(first, second), time.perf_counter() - start)
    result.history[-1]["loss"] = loss
    result.best = second
    result.converged = found.stable
    return result


def _first(
    extractor: keras.Model, volumes: PreparedVolumes, settings: MineSettings
) -> tuple[Arrays, dict]:
    features = compute_features(extractor, volumes, settings)
    try:
        solution = cluster_features(features, None, settings, iteration=1)
    except IterationError as error:
        raise InputError(
            f"the subtomograms cannot be sorted, since {error}; look at their values, and leave "
            "out those that are empty or extreme."
        ) from error
    arrays, meta = pack(replace(solution, weights=extractor.get_weights()))
    return arrays | {"features": features}, meta


# -- sorting -----------------------------------------------------------------------------------


def _sort(
    source: Source,
    embedding: np.ndarray,
    settings: MineSettings,
    tilt_range_deg: TiltRanges,
    mask_radius_px: float,
    checkpoint: Checkpoint,
    workers: Workers | None,
) -> Known:
    """Sort all subtomograms by alignment."""
    rng = np.random.default_rng(settings.seed)
    rows = drawn_rows(len(embedding), settings.alignment_most, rng)
    fewest, most = settings.bounds(len(embedding))
    starts = _starts(embedding[rows], settings, fewest, most)

    def begin(sorter: AlignmentSorter) -> np.ndarray:
        return sorter.sort(starts, fewest=fewest, most=most, splits=settings.alignment_splits)

    found = sort_source(
        source,
        rows,
        begin,
        tilt_range_deg,
        mask_radius_px=mask_radius_px,
        graded_wedge=settings.graded_wedge,
        most=most,
        looks=2 * settings.alignment_splits,
        seed=settings.seed,
        settings=settings.constants,
        checkpoint=checkpoint,
        workers=workers,
    )
    sorter = found.sorter
    averages = np.array(sorter.averages())
    stable = bool(sorter.classes.stable)
    return Known(found.labels, found.posterior, averages, sorter.learnt(), stable)


def _from_step(arrays: Arrays, meta: dict) -> Known:
    values = {**meta, **arrays}
    return Known(learnt=unpack_part(values, "learnt"), **values)


def _starts(embedding: np.ndarray, settings: MineSettings, fewest: int, most: int) -> np.ndarray:
    """Subtomograms in the middle of more clusters than there may be structures."""
    enough = max(round(_STARTS_PER_CANDIDATE * most), _FEWEST_STARTS)
    n_starts = min(settings.alignment_starts or enough, len(embedding) // _MEMBERS_PER_START)
    n_starts = max(n_starts, fewest, 1)
    cut = KMeans(n_starts, n_init=5, random_state=settings.seed).fit(embedding)
    distance = cut.transform(embedding)
    own = np.where(cut.labels_[:, None] == np.arange(n_starts), distance, np.inf)
    return own.argmin(axis=0)


# -- the network -------------------------------------------------------------------------------


def _train(
    extractor: keras.Model,
    volumes: PreparedVolumes,
    features: np.ndarray,
    labels: np.ndarray,
    settings: MineSettings,
    checkpoint: Checkpoint,
    rotate: RotateVolumes | None,
) -> float | None:
    """Train the network on all subtomograms that have a label; return the last loss."""
    from aitom_disca.network import Classifier

    rows = np.flatnonzero(labels >= 0)
    classifier = Classifier(
        extractor, batch_size=settings.batch_size, seed=settings.seed, rotate=rotate
    )
    progress: dict[str, Any] = {"passes": 0, "halvings": 0, "loss": None}
    done = checkpoint.load("trained")
    if done is None:
        k = int(labels.max()) + 1
        classifier.new_head(features[rows], labels[rows], k, epochs=settings.head_epochs)
    else:
        progress = done[1]["progress"]
        classifier.set_state(done[0], done[1]["classifier"])  # type: ignore[arg-type]
    for _ in track(range(progress["passes"], settings.max_iterations - 1), "training the network"):
        _train_once(classifier, volumes, rows, labels[rows], settings, progress)
        arrays, state = classifier.state()
        checkpoint.save("trained", arrays, {"classifier": state, "progress": progress})
    return progress["loss"]


def _train_once(
    classifier: Classifier,
    volumes: PreparedVolumes,
    rows: np.ndarray,
    labels: np.ndarray,
    settings: MineSettings,
    progress: dict[str, Any],
) -> None:
    """One pass; where its loss is not a number, again from where it began with half the rate."""
    number = progress["passes"]
    before = classifier.state()
    progress["passes"] += 1
    for _ in range(_ATTEMPTS):
        rate = settings.learning_rate * settings.learning_rate_decay**number
        try:
            progress["loss"] = classifier.train_epoch(
                lambda batch: volumes.read(rows[batch]),
                labels,
                smoothing=settings.label_smoothing * settings.label_smoothing_decay**number,
                learning_rate=rate / 2 ** progress["halvings"],
                rotated_copies=settings.rotated_copies,
            )
            return
        except IterationError as error:
            progress["halvings"] += 1
            say(f"training, pass {number + 1}: {error}; again with half the rate")
            classifier.set_state(*before)
    say("training went wrong each time: the network stays as it was before")


def _second(
    features: np.ndarray, labels: np.ndarray, first: Solution, settings: MineSettings
) -> Solution:
    """The network's view of the clusters: a Gaussian each."""
    projection = fit_projection(
        features, settings.pca_dimensions, whiten=settings.whiten, seed=settings.seed
    )
    embedding = projection(features)
    kept = labels >= 0
    mixture = mixture_of_labels(embedding[kept], labels[kept], reg_covar=settings.reg_covar)
    seen = mixture.posterior(embedding[kept]).argmax(axis=1)
    agreement = 100 * float(np.mean(seen == labels[kept]))
    say(f"the trained network agrees with {agreement:.1f} % of the labels")
    return replace(
        first,
        iteration=2,
        event="",
        labels=labels,
        mixture=mixture,
        projection=projection,
        embedding=embedding,
        ddbi=ddbi(embedding, labels, reg_covar=settings.reg_covar),
    )
