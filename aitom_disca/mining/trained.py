"""What an estimator DISCA holds and does once it is fitted or loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import NotFittedError

from aitom_disca.clustering import ddbi
from aitom_disca.clustering.calibration import fit_temperature
from aitom_disca.clustering.outliers import fit_outliers
from aitom_disca.mining import predicting
from aitom_disca.mining.check_subtomograms import as_source, check_against
from aitom_disca.mining.feature_extraction import FitInput
from aitom_disca.mining.model_file import Bundle
from aitom_disca.mining.parameters import Parameters
from aitom_disca.mining.predicting import PredictBy, Prediction, Predictor
from aitom_disca.mining.solution import LoopResult
from aitom_disca.subtomograms.dataset import Source


class Trained(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, Parameters):
    """Prediction, and the file that a model is kept in.

    Every method that takes subtomograms raises `InputError` if their box or voxel size differs
    from what the model was trained on, and `sklearn.exceptions.NotFittedError` before `fit`.
    """

    labels_: np.ndarray
    posterior_: np.ndarray
    temperature_: float
    n_clusters_: int
    ddbi_: float
    bic_: dict[int, float]
    embedding_: np.ndarray
    averages_: np.ndarray | None
    averages_box_share_: float
    history_: list[dict[str, Any]]
    converged_: bool
    _model: Bundle
    _aligned: np.ndarray | None  # posterior (n_subtomograms, n_clusters) by alignment

    def transform(self, X: np.ndarray | Source) -> np.ndarray:
        """Principal components (n_subtomograms, n_components) of the features."""
        return predicting.embedding(self._trained(), as_source(X))

    def features(self, X: np.ndarray | Source) -> np.ndarray:
        """Features (n_subtomograms, n_features) of the orientation that each is stored in.

        Those that are clustered are in the preset ``fast`` means over the rotations of the cube.
        """
        return predicting.features(self._trained(), as_source(X), n_cube_rotations=1)

    def predict(self, X: np.ndarray | Source) -> np.ndarray:
        """Cluster of every subtomogram, from 0; -1 for none, see `predict_all`."""
        return self.predict_all(X).labels

    def predict_proba(self, X: np.ndarray | Source, *, by: PredictBy | None = None) -> np.ndarray:
        """Probability of every cluster, shape (n_subtomograms, n_clusters), calibrated.

        It is the probability among the clusters: that of belonging to none is not part of it, see
        `outlier_score`. ``by`` is that of `predict_all`.
        """
        return predicting.probability(self._trained(), as_source(X), by=by)

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
        return predicting.predict(self._trained(), as_source(X), by=by)

    def predictor(self, X: np.ndarray | Source, *, by: PredictBy | None = None) -> Predictor:
        """What gives `predict_all` its answer for some rows; parameters and errors as there."""
        return Predictor(self._trained(), as_source(X), by)

    def check_source(self, source: Source) -> None:
        """Check that the model can be used on these subtomograms.

        Raises
        ------
        InputError
            If their box or voxel size differs from what it was trained on.
        """
        model = self._trained()
        check_against(source, model.box_px, model.voxel_size_angstrom)

    # -- what a fit leaves ------------------------------------------------------------------

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

    def _keep(self, result: LoopResult, given: FitInput) -> None:
        """Take over the best solution, its clusters renamed so that the largest comes first."""
        sizes = result.best.sizes
        names = np.empty(len(sizes), int)
        names[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
        best = result.best.renamed(names)
        self._model = Bundle(
            self.settings.model_copy(
                update={"mask_diameter_angstrom": given.mask_diameter_angstrom}
            ),
            given.source.box_shape_zyx[0],
            given.voxel_size_angstrom,
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

    # -- keeping ---------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write everything that `predict` needs into one file."""
        self._trained().save(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
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

    # -- as scikit-learn asks for it --------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    @property
    def _n_features_out(self) -> int:
        return len(self._trained().projection.axes)

    def _trained(self) -> Bundle:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("this DISCA is not fitted yet: call fit, or load a saved model")
        # The settings of prediction and the temperature may have been changed since.
        mask = self._model.settings.mask_diameter_angstrom
        settings = self.settings.model_copy(update={"mask_diameter_angstrom": mask})
        return replace(self._model, settings=settings, temperature=self.temperature_)
