"""What a trained model says of subtomograms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from aitom_disca.classification.assign_others import Assigner
from aitom_disca.clustering.calibration import calibrated_posterior
from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import TiltRanges, distinct_tilt_ranges
from aitom_disca.mining.check_subtomograms import check_against
from aitom_disca.mining.feature_extraction import build_extractor, compute_features, prepare_volumes
from aitom_disca.mining.model_file import Bundle
from aitom_disca.mining.sort_store import assign_rows
from aitom_disca.progress import muted, track
from aitom_disca.subtomograms.dataset import Source

if TYPE_CHECKING:
    import keras

_CHUNK = 500
PredictBy = Literal["alignment", "network"]


class Prediction(NamedTuple):
    """What a trained model says of subtomograms.

    Parameters
    ----------
    labels : ndarray of int, shape (n_subtomograms,)
        Clusters from 0; -1 for none of them.
    posterior : ndarray of shape (n_subtomograms,)
        Probability of that cluster among the clusters, by what decides; calibrated.
    outlier_score : ndarray of shape (n_subtomograms,)
        Share of the members of that cluster that lie less far out, 0 to 1.
    """

    labels: np.ndarray
    posterior: np.ndarray
    outlier_score: np.ndarray

    @classmethod
    def joined(cls, parts: Iterable[Prediction]) -> Prediction:
        """What is said of chunks, in order, as one."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Predictor:
    """A trained model before the subtomograms of a source: what is made once lies ready.

    Parameters
    ----------
    model : Bundle
    source : Source
    by : {"alignment", "network"}, optional
        As in `DISCA.predict_all`.

    Raises
    ------
    InputError
        As `predict` does.
    """

    def __init__(self, model: Bundle, source: Source, by: PredictBy | None = None) -> None:
        check_against(source, model.box_px, model.voxel_size_angstrom)
        self._model, self._source = model, source
        self._by_averages = _by_averages(model, by)
        if self._by_averages:
            self._assigner, self._wedge = _assigner_of(model, source)
        self._extractor: keras.Model | None = None

    def __call__(self, rows: np.ndarray) -> Prediction:
        """What the model says of some of the subtomograms."""
        with muted():
            embedded = self._embedding(rows)
            if self._by_averages:
                labels, sure = assign_rows(self._source, rows, self._assigner, self._wedge)
            else:
                sure = posterior(self._model, embedded)
                labels = sure.argmax(axis=1)
        own = of_labels(sure, labels)
        score = np.full(len(labels), np.nan)
        model = self._model
        if model.outliers is not None:
            score = model.outliers.score(model.mixture, model.leading(embedded))
            if model.settings.outlier_quantile is not None:
                labels = np.where(score > model.settings.outlier_quantile, -1, labels)
        return Prediction(labels, own, score)

    def _embedding(self, rows: np.ndarray) -> np.ndarray:
        model = self._model
        settings, voxel = model.settings, model.voxel_size_angstrom
        volumes = prepare_volumes(self._source, settings, voxel, rows)
        if self._extractor is None:
            self._extractor = build_extractor(volumes.box_px, settings)
            self._extractor.set_weights(model.weights)
        return model.projection(compute_features(self._extractor, volumes, settings))


def chunks(n: int) -> list[np.ndarray]:
    """Rows of n subtomograms as they are predicted, so many at once, wherever that is."""
    return np.split(np.arange(n), range(_CHUNK, n, _CHUNK))


def features(model: Bundle, source: Source, *, n_cube_rotations: int | None = None) -> np.ndarray:
    """Features (n_subtomograms, n_features), by default over as many rotations as in the fit.

    Raises
    ------
    InputError
        If the box or voxel size differs from what the model was trained on.
    """
    check_against(source, model.box_px, model.voxel_size_angstrom)
    settings = model.settings
    if n_cube_rotations is not None:
        settings = settings.model_copy(update={"n_cube_rotations": n_cube_rotations})
    volumes = prepare_volumes(source, settings, model.voxel_size_angstrom)
    extractor = build_extractor(volumes.box_px, settings)
    extractor.set_weights(model.weights)
    return compute_features(extractor, volumes, settings)


def embedding(model: Bundle, source: Source) -> np.ndarray:
    """Principal components (n_subtomograms, n_components) of the features."""
    return model.projection(features(model, source))


def posterior(model: Bundle, embedded: np.ndarray) -> np.ndarray:
    """Probability (n_subtomograms, n_clusters) of every cluster, as the network sees it."""
    return calibrated_posterior(model.mixture, model.leading(embedded), model.temperature)


def of_labels(posterior: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of probabilities (n, n_clusters) those of the labels (n,), 0 where a label is negative."""
    return np.where(labels < 0, 0.0, posterior[np.arange(len(labels)), labels])


def probability(model: Bundle, source: Source, *, by: PredictBy | None = None) -> np.ndarray:
    """Probability (n_subtomograms, n_clusters) of every cluster; parameters as in `predict`."""
    if _by_averages(model, by):
        return _aligned(model, source)[1]
    return posterior(model, embedding(model, source))


def predict(model: Bundle, source: Source, *, by: PredictBy | None = None) -> Prediction:
    """Labels, posteriors and outlier scores; parameters as in `DISCA.predict_all`."""
    predictor = Predictor(model, source, by)
    return Prediction.joined(map(predictor, track(chunks(len(source)), "predicting")))


def _by_averages(model: Bundle, by: PredictBy | None) -> bool:
    return by == "alignment" or (by is None and model.learnt is not None)


def _aligned(model: Bundle, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Cluster of the average that each fits best, -1 for noise; probability of every cluster."""
    return assign_rows(source, np.arange(len(source)), *_assigner_of(model, source))


def _assigner_of(model: Bundle, source: Source) -> tuple[Assigner, np.ndarray | None]:
    """What gives subtomograms to averages, and which of its tilt ranges each of them has."""
    if model.learnt is None:
        raise InputError(
            "this model holds no averages to align to: it was trained without alignment, or "
            "by an earlier version; let the network decide (--by network)."
        )
    tilts: TiltRanges | None = getattr(source, "tilt_range_deg", None)
    ranges, wedge = None, None
    if tilts is not None:
        ranges, wedge = distinct_tilt_ranges(tilts, len(source))
    return Assigner(model.learnt, ranges, settings=model.settings.constants), wedge
