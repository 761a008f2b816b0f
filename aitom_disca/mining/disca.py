"""DISCA: sort subtomograms into structurally homogeneous clusters without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import ClusterMixin
from sklearn.utils import Tags

from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.computing.parallel import Workers
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import TiltRanges
from aitom_disca.mining.checkpoint import Checkpoint, fingerprint
from aitom_disca.mining.fast_loop import run_aligned
from aitom_disca.mining.feature_extraction import fit_input
from aitom_disca.mining.published_loop import run_loop
from aitom_disca.mining.solution import Known
from aitom_disca.mining.trained import Trained
from aitom_disca.subtomograms.dataset import Source

_TILT_RANGE_DEG = (-60.0, 60.0)


class DISCA(ClusterMixin, Trained):
    """Deep Iterative Subtomogram Clustering Approach.

    In the preset ``paper``, the published method [1]_, features of a 3D network (YOPO) are modelled
    by a Gaussian mixture whose number of components K has the lowest BIC; the network is trained
    on the clusters, with rotated copies; and again, until the clusters stay. The iteration with
    the lowest DDBI is kept.

    In the preset ``fast`` the features of the untrained network give the first references of a
    classification by alignment and maximum likelihood, which merges clusters that are one
    structure and looks for structures that were missed; how many there are comes out of that. The
    network is then trained on these clusters, so that it knows new subtomograms again.

    It is an estimator of scikit-learn: `sklearn.base.clone`, ``set_params`` and pipelines take it.
    A setting that cannot be used raises `InputError` in `fit`.

    Parameters
    ----------
    preset : {"fast", "paper"}
        ``paper`` is the published method; ``fast`` suits a workstation without a GPU. Where a
        parameter is ``"preset"`` the preset decides; below, fast comes first, then paper.
    candidate_k : sequence of int or None
        Numbers of clusters to choose from: None; 2 to 12. None: as many as there are subtomograms
        for, one for every 40 at most, from 12 to 30. Alignment counts the smallest and largest.
    max_iterations : int
        Iterations at most: 4; 20. With alignment the network is trained one time fewer than that.
    working_box_px : int or None
        Edge of the box that the network sees, Fourier-cropped: 12; None, as stored.
    low_pass_sigma_px : float
        Gaussian low-pass of what the network sees, in voxels of that box: 0.67; 0, none.
    mask_diameter_angstrom : float, optional
        Diameter of a soft sphere round the particle, outside of which nothing counts. By default
        that of the particles that a store was cut for, where it says so; 0: the whole box counts.
    graded_wedge : bool
        Whether noise and signal that clearly fall off with tilt count for less, as measured.
    width : float
        Factor on the network's numbers of channels: 0.5; 1.
    n_convolutions : int or None
        Convolutions of the network, 1 to 10: 5; 10. None: as many as the box has room for.
    n_features : int
        Features of a subtomogram: 256; 1024.
    n_cube_rotations : {1, 4, 12, 24}
        Over so many rotations of the cube features are averaged: 12; 1.
    rotation : {"own", "aitom"}
        What rotates the copies in training: the network on its device, or AITom's way, `rotate`.
    precision : {"auto", "float32", "mixed"}
        ``auto``: bfloat16 on graphics cards that have it, float32 elsewhere.
    n_devices : int
        Graphics cards that share each batch.
    alignment : bool
        Whether subtomograms are sorted by alignment: True; False.
    alignment_most : int
        So many at most, drawn at random, are sorted among themselves by alignment, before all are
        compared with what was found.
    alignment_starts : int, optional
        References at the start; by default 1.5 times the largest K, 12 at least.
    alignment_splits : int
        Looks for structures that were missed, at most.
    sorting : SortingSettings, optional
        Constants of the sorting by alignment, for experts: ``{"merging": {"one_z": -2}}`` changes
        one. By default those with which all was measured, `aitom_disca.config.SORTING`.
    k_criterion : {"bic", "bic_si", "aic", "ch", "kl", "jump"}
        What decides K of the mixture, see `aitom_disca.clustering.criteria_for_k`; the last three
        choose from 2.
    merge_clusters, split_clusters : bool
        Whether the mixture's components are merged and split where BIC of one Gaussian and of two
        on their members says so.
    pca_dimensions : int or None
        Principal components of the features, at most; None: the features as they are.
    whiten : bool
        Whether every component has unit variance: True; False.
    choose_dimensions : bool
        Whether BIC also chooses how many components the mixture looks at: True; False.
    n_starts : int
        Random starts of every mixture: 3; 5.
    reg_covar : float
        Added to the diagonal of covariances, in squared units of the components: 1e-2; 1e-5.
    batch_size : int
        Subtomograms and copies in a training step; halved where memory is short.
    learning_rate : float
        Of the first pass of training: 1e-3; 1e-5.
    learning_rate_decay : float
        Factor from pass to pass, above 0 to 1.
    rotated_copies : int
        Randomly rotated copies of every subtomogram in a pass.
    label_smoothing : float
        Share of the uniform distribution in the targets of the first pass, 0 to below 1.
    label_smoothing_decay : float
        Factor from pass to pass, 0 to 1.
    head_epochs : int
        Passes that a new classification layer is warmed up for, on features that are known.
    outlier_quantile : float, optional
        New subtomograms farther out than this share of a cluster's members belong to none; None:
        all belong to a cluster.
    stop_fraction : float
        Share of the labels that have to stay, above 0 to 1; without alignment, as the next.
    stop_iterations : int
        For so many iterations in a row.
    seed : int
        Of all that is random; the same seed repeats the fit.
    rotate : callable, optional
        What rotates copies if not the network: volumes (n, z, y, x) and n rotations of x, y, z
        (`scipy.spatial.transform.Rotation`) to volumes; see `aitom_disca.bridge.aitom_rotation`.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n_subtomograms,)
        Cluster of every subtomogram, from 0, the largest cluster first.
        -1: none of them, such as noise that was picked; only with alignment.
    posterior_ : ndarray of shape (n_subtomograms,)
        Probability of that cluster, calibrated; 0 where there is none.
    temperature_ : float
        By which the network's posterior is calibrated: 1 as the mixture has it, more where that
        was too sure.
    n_clusters_ : int
    ddbi_ : float
        Distortion-based Davies-Bouldin index of the clusters in the network's features (lower is
        better); NaN for one cluster.
    bic_ : dict of int to float
        BIC of every candidate K: without alignment in the kept iteration, where it chose K; with
        alignment in the features of the untrained network, where it decides nothing.
    embedding_ : ndarray of shape (n_subtomograms, n_components)
        Principal components of the features of the network that is kept.
    averages_ : ndarray of shape (n_clusters, z, y, x) or None
        Aligned average of every cluster, Fourier-cropped to at most 20 voxels; None without
        alignment.
    averages_box_share_ : float
        Edge of the averages' box over that of the subtomograms' boxes; below 1 with a mask.
    history_ : list of dict
        One row an iteration: iteration, k, n_dimensions, bic, ddbi, label_change, sizes, loss,
        seconds, event (what was out of the ordinary), kept. With alignment there are two: the
        untrained network, and the clusters by alignment, which are kept.
    converged_ : bool
        Whether the clusters stayed before ``max_iterations``, or in alignment.

    References
    ----------
    .. [1] Zeng et al. (2023), PNAS 120(15) e2213149120.

    Examples
    --------
    >>> import numpy as np
    >>> from aitom_disca import DISCA
    >>> disca = DISCA("paper", learning_rate=1e-3, seed=1)
    >>> disca
    DISCA(learning_rate=0.001, preset='paper', seed=1)
    >>> disca.settings.max_iterations
    20
    >>> volumes = np.random.default_rng(0).normal(size=(8, 6, 6, 6))  # z, y, x; protein bright
    >>> small = DISCA("paper", candidate_k=[1], n_convolutions=2, n_features=4, pca_dimensions=1)
    >>> small.fit_predict(volumes)
    array([0, 0, 0, 0, 0, 0, 0, 0])
    """

    def fit(
        self,
        X: np.ndarray | Source,
        y: None = None,
        *,
        voxel_size_angstrom: float | None = None,
        tilt_range_deg: TiltRanges | None = None,
        checkpoint: str | Path | None = None,
        workers: Workers | None = None,
    ) -> Self:
        """Sort subtomograms.

        Parameters
        ----------
        X : ndarray of shape (n_subtomograms, n, n, n) or SubtomogramStore
            Axes z, y, x; protein bright.
        y : None
            Not used: nothing is learnt from labels.
        voxel_size_angstrom : float, optional
            Kept with the model; by default the store's.
        tilt_range_deg : tuple of 2 floats, or ndarray of shape (n_subtomograms, 2), optional
            Measured tilts of all, or of each; by default the store's, else -60 to 60.
        checkpoint : path, optional
            A file that keeps every iteration. Where it is there, and of the same data and
            settings, the fit goes on from it; otherwise it is replaced. It stays when the fit is
            done.
        workers : Workers, optional
            From `aitom_disca.computing.parallel.sharing`: do the passes over all subtomograms
            of a store.

        Raises
        ------
        InputError
            If a setting cannot be used, there are fewer subtomograms than the largest candidate K,
            or the box is too small for the network.
        """
        settings = self._checked()
        given = fit_input(X, settings, voxel_size_angstrom)
        if tilt_range_deg is None:
            tilt_range_deg = getattr(given.source, "tilt_range_deg", _TILT_RANGE_DEG)
        steps = Checkpoint.nowhere()
        if checkpoint is not None:
            tilts = np.asarray(tilt_range_deg, float).tolist()
            steps = Checkpoint(checkpoint, fingerprint(given.volumes, settings, tilts))
        if settings.alignment:
            found = run_aligned(
                given.source,
                given.volumes,
                settings,
                tilt_range_deg,
                steps,
                rotate=self.rotate,
                mask_radius_px=given.mask_radius_px,
                workers=workers,
            )
        else:
            found = run_loop(given.volumes, settings, steps, self.rotate)
        self._keep(found, given)
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
    ) -> Self:
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
        settings = self._checked()
        given = fit_input(X, settings, voxel_size_angstrom)
        labels, n = np.asarray(labels), len(given.source)
        names = np.unique(labels[labels >= 0]) if len(labels) == n else np.zeros(0)
        if not len(names) or names[-1] != len(names) - 1:
            raise InputError(
                f"expected a cluster from 0 without gaps, or -1, for each of {n} subtomograms, but "
                f"got {len(labels)} labels of {len(names)} clusters."
            )
        known = Known(labels, posterior, averages, learnt)
        found = run_aligned(
            given.source, given.volumes, settings, _TILT_RANGE_DEG, known=known, rotate=self.rotate
        )
        self._keep(found, given)
        return self

    def _checked(self) -> MineSettings:
        settings = self.settings
        if settings.rotation == "aitom" and self.rotate is None:
            raise InputError(
                "the rotation 'aitom' is done by a function: make the estimator with "
                "DISCA(rotation='aitom', rotate=aitom_disca.bridge.aitom_rotation())."
            )
        return settings

    def fit_transform(self, X: np.ndarray | Source, y: None = None, **options: Any) -> np.ndarray:
        """Sort subtomograms and return ``embedding_``; options as in `fit`."""
        return self.fit(X, **options).embedding_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # volumes have four axes
        return tags
