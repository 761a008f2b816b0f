"""DISCA: sort subtomograms into structurally homogeneous clusters without labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.alignment.assigning import LearntAverages
from aitom_disca.clustering import ddbi
from aitom_disca.clustering.calibration import fit_temperature
from aitom_disca.clustering.outliers import fit_outliers
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import TiltRanges
from aitom_disca.mining import predicting
from aitom_disca.mining.aligned import Known, run_aligned
from aitom_disca.mining.bundle import Bundle
from aitom_disca.mining.checkpoint import Checkpoint, fingerprint
from aitom_disca.mining.checks import as_source, check_against, check_for_fit
from aitom_disca.mining.embedding import mask_radius_px, prepare_volumes
from aitom_disca.mining.loop import LoopResult, run_loop
from aitom_disca.mining.predicting import PredictBy, Prediction, Predictor
from aitom_disca.parallel import Workers
from aitom_disca.subtomograms.dataset import PreparedVolumes, Source
from aitom_disca.subtomograms.mask_diameter import mask_diameter_angstrom

if TYPE_CHECKING:
    from aitom_disca.network.training import RotateVolumes

_TILT_RANGE_DEG = (-60.0, 60.0)


class DISCA:
    """Deep Iterative Subtomogram Clustering Approach.

    Features of a 3D network (YOPO) are modelled by a Gaussian mixture whose number of components
    has the lowest BIC; the network is trained on the clusters, with rotated copies; and again,
    until the clusters stay. The iteration with the lowest DDBI is kept.

    Parameters
    ----------
    preset : {"fast", "paper"}
        ``paper`` is the published method; ``fast`` suits a workstation without a GPU.
    **settings
        Any field of `aitom_disca.config.MineSettings`: ``candidate_k``, ``max_iterations``,
        ``seed``, ``width``, ...

    Attributes
    ----------
    labels_ : ndarray of int, shape (n_subtomograms,)
        Cluster of every subtomogram, from 0, the largest cluster first.
        -1: none of them, such as noise that was picked.
    posterior_ : ndarray of shape (n_subtomograms,)
        Probability of that cluster, calibrated; 0 where there is none.
    temperature_ : float
        By which the network's posterior is calibrated: 1 as the mixture has it, more where that
        was too sure.
    n_clusters_ : int
    ddbi_ : float
        Distortion-based Davies-Bouldin index of the kept iteration (lower is better).
    bic_ : dict of int to float
        BIC of every candidate K in the kept iteration.
    embedding_ : ndarray of shape (n_subtomograms, n_components)
        Principal components of the features of the kept iteration.
    averages_ : ndarray of shape (n_clusters, z, y, x) or None
        Aligned average of every cluster, Fourier-cropped to at most 20 voxels; None in the preset
        ``paper``, which does not align.
    averages_box_share_ : float
        Edge of the averages' box over that of the subtomograms' boxes; below 1 with a mask.
    history_ : list of dict
        One row an iteration: iteration, k, n_dimensions, bic, ddbi, label_change, sizes, loss,
        seconds, event (what was out of the ordinary), kept.
    converged_ : bool
        Whether the clusters stayed before ``max_iterations``.

    Raises
    ------
    InputError
        If a setting cannot be used.

    References
    ----------
    .. [1] Zeng et al. (2023), PNAS 120(15) e2213149120.

    Examples
    --------
    >>> disca = DISCA(seed=0).fit(volumes)  # (n, z, y, x), protein bright
    >>> disca.labels_, disca.n_clusters_
    """

    def __init__(self, preset: str = "fast", **settings: Any) -> None:
        self.settings = MineSettings.from_preset(preset, **settings)
        self._rotate: RotateVolumes | None = None

    @classmethod
    def from_settings(cls, settings: MineSettings, *, rotate: RotateVolumes | None = None) -> DISCA:
        """An estimator with these settings.

        ``rotate`` is what rotates the copies in training, if not the network itself; see
        `aitom_disca.network.training.Classifier`.
        """
        disca = cls.__new__(cls)
        disca.settings = settings
        disca._rotate = rotate
        return disca

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name, as in scikit-learn."""
        return self.settings.model_dump()

    # -- fitting ---------------------------------------------------------------------------

    def fit(
        self,
        X: np.ndarray | Source,
        *,
        voxel_size_angstrom: float | None = None,
        tilt_range_deg: TiltRanges | None = None,
        checkpoint: str | Path | None = None,
        workers: Workers | None = None,
    ) -> DISCA:
        """Sort subtomograms.

        Parameters
        ----------
        X : ndarray of shape (n_subtomograms, n, n, n) or SubtomogramStore
            Axes z, y, x; protein bright.
        voxel_size_angstrom : float, optional
            Kept with the model; by default the store's.
        tilt_range_deg : tuple of 2 floats, or ndarray of shape (n_subtomograms, 2), optional
            Measured tilts of all, or of each; by default the store's, else -60 to 60.
        checkpoint : path, optional
            A file that keeps every iteration. Where it is there, and of the same data and
            settings, the fit goes on from it; otherwise it is replaced. It stays when the fit is
            done.
        workers : Workers, optional
            From `aitom_disca.parallel.sharing`: do the passes over all subtomograms of a store.

        Raises
        ------
        InputError
            If there are fewer subtomograms than the largest candidate K, or the box is too small
            for the network.
        """
        source, volumes = self._begin(X, voxel_size_angstrom)
        if tilt_range_deg is None:
            tilt_range_deg = getattr(source, "tilt_range_deg", _TILT_RANGE_DEG)
        steps = Checkpoint.nowhere()
        if checkpoint is not None:
            tilts = np.asarray(tilt_range_deg, float).tolist()
            made_from = fingerprint(volumes, self.settings, tilts)
            steps = Checkpoint(checkpoint, made_from)
        if self.settings.alignment:
            self._keep(
                run_aligned(
                    source,
                    volumes,
                    self.settings,
                    tilt_range_deg,
                    steps,
                    rotate=self._rotate,
                    mask_radius_px=mask_radius_px(source, self.settings, self._voxel_size_angstrom),
                    workers=workers,
                )
            )
        else:
            self._keep(run_loop(volumes, self.settings, steps, self._rotate))
        return self

    def teach(
        self,
        X: np.ndarray | Source,
        labels: np.ndarray,
        *,
        averages: np.ndarray | None = None,
        learnt: LearntAverages | None = None,
        posterior: np.ndarray | None = None,
        voxel_size_angstrom: float | None = None,
    ) -> DISCA:
        """Train the network on clusters that are known already; it predicts them from then on.

        Parameters
        ----------
        X, voxel_size_angstrom
            As in `fit`.
        labels : ndarray of int, shape (n_subtomograms,)
            Clusters from 0 without gaps; -1 for none.
        averages : ndarray of shape (n_clusters, z, y, x), optional
            Kept as ``averages_``.
        learnt : LearntAverages, optional
            What `predict` sorts by, as `AlignmentSorter.learnt` gives it; else by the network.
        posterior : ndarray of shape (n_subtomograms, n_clusters), optional
            How sure the labels are; otherwise the network says it.

        Raises
        ------
        InputError
            As in `fit`, or if the labels do not fit the subtomograms.
        """
        source, volumes = self._begin(X, voxel_size_angstrom)
        labels = np.asarray(labels)
        names = np.unique(labels[labels >= 0]) if len(labels) == len(source) else np.zeros(0)
        if not len(names) or names[-1] != len(names) - 1:
            raise InputError(
                f"expected a cluster from 0 without gaps, or -1, for each of {len(source)} "
                f"subtomograms, but got {len(labels)} labels of {len(names)} clusters."
            )
        known = Known(labels, posterior, averages, learnt)
        self._keep(
            run_aligned(
                source, volumes, self.settings, _TILT_RANGE_DEG, known=known, rotate=self._rotate
            )
        )
        return self

    def _begin(
        self, X: np.ndarray | Source, voxel_size_angstrom: float | None
    ) -> tuple[Source, PreparedVolumes]:
        source = as_source(X)
        check_for_fit(source, self.settings)
        if self.settings.rotation == "aitom" and self._rotate is None:
            raise InputError(
                "the rotation 'aitom' is done by a function: make the estimator with "
                "DISCA.from_settings(settings, rotate=aitom_disca.bridge.aitom_rotation())."
            )
        self._box_px = source.box_shape_zyx[0]
        self._voxel_size_angstrom = voxel_size_angstrom or getattr(
            source, "voxel_size_angstrom", None
        )
        radius_px = mask_radius_px(source, self.settings, self._voxel_size_angstrom)
        diameter = mask_diameter_angstrom(source, self.settings.mask_diameter_angstrom)
        self._mask = 0.0 if np.isinf(radius_px) else diameter  # as the model keeps it
        return source, prepare_volumes(source, self.settings, self._voxel_size_angstrom)

    def _keep(self, result: LoopResult) -> None:
        """Take over the best solution, its clusters renamed so that the largest comes first."""
        sizes = result.best.sizes
        names = np.empty(len(sizes), int)
        names[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
        best = result.best.renamed(names)
        self._model = Bundle(
            self.settings.model_copy(update={"mask_diameter_angstrom": self._mask}),
            self._box_px,
            self._voxel_size_angstrom,
            best.weights,
            best.projection,
            best.mixture,
            learnt=best.learnt,
        )
        self.ddbi_ = best.ddbi
        self.bic_ = best.bic
        self.embedding_ = best.embedding
        self.averages_ = best.averages
        self.averages_box_share_ = 1.0 if best.learnt is None else best.learnt.box_share
        self._settle(best.labels, best.posterior)
        self.converged_ = result.converged
        self.history_ = [
            {**row, "kept": row["iteration"] == best.iteration} for row in result.history
        ]

    def _settle(self, labels: np.ndarray, aligned: np.ndarray | None) -> None:
        """Take over labels, and learn how sure to be of them and what lies outside of all.

        ``aligned`` is the posterior (n_subtomograms, n_clusters) by alignment, if there was one.
        """
        mixture, settings = self._model.mixture, self.settings
        samples = self._model.leading(self.embedding_)
        self.labels_, self.n_clusters_ = labels, mixture.n_components
        self.temperature_ = fit_temperature(
            mixture,
            samples,
            labels,
            own_labels=not settings.alignment,
            reg_covar=settings.reg_covar,
            seed=settings.seed,
        )
        outliers = fit_outliers(mixture, samples, labels)
        self._model = replace(self._model, temperature=self.temperature_, outliers=outliers)
        self._aligned = aligned
        if aligned is None:
            aligned = predicting.posterior(self._model, self.embedding_)
        self.posterior_ = predicting.of_labels(aligned, labels)

    def take_consensus(self, labels: np.ndarray, names: np.ndarray) -> None:
        """Take over the labels that several fits agree on.

        Parameters
        ----------
        labels : ndarray of int, shape (n_subtomograms,)
            Clusters from 0; -1 for none.
        names : ndarray of int, shape (K,)
            What each of these clusters is called in this fit; clusters not named are left out.
            Where there is none, the model stays as it was, to no use.
        """
        model = self._model
        if not len(names):
            self.labels_, self.posterior_, self.n_clusters_ = labels, np.zeros(len(labels)), 0
            return
        if self.averages_ is not None:
            self.averages_ = self.averages_[names]
        self._model = replace(
            model,
            mixture=model.mixture.chosen(names),
            learnt=model.learnt.chosen(names) if model.learnt is not None else None,
        )
        aligned = self._aligned
        if aligned is not None:
            aligned = aligned[:, names]  # a subtomogram may fit none of those that are left
            aligned = aligned / np.maximum(aligned.sum(axis=1, keepdims=True), 1e-12)
        self._settle(labels, aligned)
        samples = self._model.leading(self.embedding_)
        self.ddbi_ = ddbi(samples, labels, reg_covar=self.settings.reg_covar)

    def fit_predict(self, X: np.ndarray | Source) -> np.ndarray:
        """Sort subtomograms and return their labels."""
        return self.fit(X).labels_

    # -- prediction ------------------------------------------------------------------------

    def transform(self, X: np.ndarray | Source) -> np.ndarray:
        """Principal components (n_subtomograms, n_components) of the features.

        Raises
        ------
        InputError
            If the box differs from the one that the model was fitted to.
        """
        return predicting.embedding(self._fitted(), as_source(X))

    def features(self, X: np.ndarray | Source) -> np.ndarray:
        """Features (n_subtomograms, n_features) of the orientation that each is stored in.

        Those that are clustered are in the preset ``fast`` means over the rotations of the cube.

        Raises
        ------
        InputError
            If the box differs from the one that the model was fitted to.
        """
        return predicting.features(self._fitted(), as_source(X), n_cube_rotations=1)

    def check_source(self, source: Source) -> None:
        """Check that the model can be used on these subtomograms.

        Raises
        ------
        InputError
            If their box or voxel size differs from what it was trained on.
        """
        model = self._fitted()
        check_against(source, model.box_px, model.voxel_size_angstrom)

    def predict_proba(self, X: np.ndarray | Source, *, by: PredictBy | None = None) -> np.ndarray:
        """Probability of every cluster, shape (n_subtomograms, n_clusters), calibrated.

        It is the probability among the clusters: that of belonging to none is not part of it, see
        `outlier_score`. ``by`` is that of `predict_all`.
        """
        return predicting.probability(self._fitted(), as_source(X), by=by)

    def predict(self, X: np.ndarray | Source) -> np.ndarray:
        """Cluster of every subtomogram, from 0; -1 for none, see `predict_all`."""
        return self.predict_all(X).labels

    def outlier_score(self, X: np.ndarray | Source) -> np.ndarray:
        """How little every subtomogram is like those of the fit, shape (n_subtomograms,), 0 to 1.

        The share of the members of its likeliest cluster that lie less far from the cluster's
        middle; see `aitom_disca.clustering.outliers.OutlierScorer`. NaN in a model that was saved
        before there was this score.
        """
        return self.predict_all(X).outlier_score

    def predict_all(self, X: np.ndarray | Source, *, by: PredictBy | None = None) -> Prediction:
        """Labels, posteriors and outlier scores at once.

        Parameters
        ----------
        X : ndarray of shape (n_subtomograms, n, n, n) or SubtomogramStore
        by : {"alignment", "network"}, optional
            What decides: the averages of the clusters, which tell apart what the network cannot,
            or the network. By default the averages, where the model has any. What fits no average
            better than noise, or is farther out than ``outlier_quantile``, belongs to no cluster.

        Raises
        ------
        InputError
            If the box or voxel size is another, or the model has no averages to sort by.
        """
        return predicting.predict(self._fitted(), as_source(X), by=by)

    def predictor(self, X: np.ndarray | Source, *, by: PredictBy | None = None) -> Predictor:
        """What gives `predict_all` its answer for some rows; parameters and errors as there."""
        return Predictor(self._fitted(), as_source(X), by)

    def _fitted(self) -> Bundle:
        if not hasattr(self, "_model"):
            raise RuntimeError("this DISCA is not fitted yet: call fit, or load a saved model")
        # The settings of prediction and the temperature may have been changed since.
        mask = self._model.settings.mask_diameter_angstrom
        settings = self.settings.model_copy(update={"mask_diameter_angstrom": mask})
        return replace(self._model, settings=settings, temperature=self.temperature_)

    # -- keeping ---------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write everything that `predict` needs into one file."""
        self._fitted().save(path)

    @classmethod
    def load(cls, path: str | Path) -> DISCA:
        """Read a model that `save` wrote; it can `predict` and `transform`.

        Raises
        ------
        InputError
            If the file is missing or not such a model.
        """
        model = Bundle.load(path)
        disca = cls.from_settings(model.settings)
        disca._model = model
        disca.temperature_ = model.temperature
        disca.n_clusters_ = model.mixture.n_components
        return disca
