"""Subtomograms to features, with the network that the settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry.rotations import cube_rotations
from aitom_disca.mining.check_subtomograms import as_source, check_for_fit
from aitom_disca.progress import track
from aitom_disca.subtomograms.dataset import PreparedVolumes, Source
from aitom_disca.subtomograms.mask_diameter import mask_diameter_angstrom

if TYPE_CHECKING:
    import keras

_BATCH = 128


class FitInput(NamedTuple):
    """The subtomograms of a fit.

    Parameters
    ----------
    source : Source
    volumes : PreparedVolumes
        As the network sees them.
    voxel_size_angstrom : float or None
        None where it is not known.
    mask_diameter_angstrom : float
        Of the soft sphere round the particle; 0 for none.
    mask_radius_px : float
        The same in voxels of the source; infinite for none.
    """

    source: Source
    volumes: PreparedVolumes
    voxel_size_angstrom: float | None
    mask_diameter_angstrom: float
    mask_radius_px: float


def fit_input(
    X: np.ndarray | Source, settings: MineSettings, voxel_size_angstrom: float | None = None
) -> FitInput:
    """Check the subtomograms of a fit, and prepare them.

    Raises
    ------
    InputError
        If they cannot be sorted with these settings.
    """
    source = as_source(X)
    check_for_fit(source, settings)
    voxel = voxel_size_angstrom or getattr(source, "voxel_size_angstrom", None)
    radius_px = mask_radius_px(source, settings, voxel)
    diameter = mask_diameter_angstrom(source, settings.mask_diameter_angstrom)
    masked = 0.0 if np.isinf(radius_px) else diameter
    volumes = prepare_volumes(source, settings, voxel)
    return FitInput(source, volumes, voxel, masked, radius_px)


def prepare_volumes(
    source: Source,
    settings: MineSettings,
    voxel_size_angstrom: float | None = None,
    rows: np.ndarray | None = None,
) -> PreparedVolumes:
    """Mask, filter and crop the subtomograms, or some of them, as the settings say."""
    return PreparedVolumes(
        source,
        rows=rows,
        box_px=settings.working_box_px,
        low_pass_sigma_px=settings.low_pass_sigma_px,
        mask_radius_px=mask_radius_px(source, settings, voxel_size_angstrom),
    )


def mask_radius_px(
    source: Source, settings: MineSettings, voxel_size_angstrom: float | None = None
) -> float:
    """Radius of the sphere round the particle, in voxels of the source; infinite for none.

    Parameters
    ----------
    source : Source
    settings : MineSettings
    voxel_size_angstrom : float, optional
        If the source does not say it.

    Raises
    ------
    InputError
        If the settings name a mask that does not fit into the box, or no voxel size is known.
    """
    asked = settings.mask_diameter_angstrom
    diameter = mask_diameter_angstrom(source, asked)
    voxel = voxel_size_angstrom or getattr(source, "voxel_size_angstrom", None)
    if not diameter:
        return np.inf
    if voxel is None:
        raise InputError(
            f"a mask of {diameter:g} A needs the voxel size of the subtomograms; give "
            "voxel_size_angstrom, or mask_diameter_angstrom = 0 for no mask."
        )
    box_angstrom = source.box_shape_zyx[0] * voxel
    if diameter >= box_angstrom:
        if asked is None:
            return np.inf
        raise InputError(
            f"the mask of {diameter:g} A does not fit into the box of {box_angstrom:g} A; give a "
            "smaller mask diameter, or cut larger boxes."
        )
    return diameter / voxel / 2


def build_extractor(box_px: int, settings: MineSettings) -> keras.Model:
    """Build the feature extractor for prepared volumes. Imports Keras."""
    from aitom_disca.computing import devices
    from aitom_disca.network import build_feature_extractor

    with devices.data_parallel(settings.n_devices):
        return build_feature_extractor(
            box_px,
            width=settings.width,
            n_convolutions=settings.n_convolutions,
            n_features=settings.n_features,
            precision=settings.precision,
            seed=settings.seed,
        )


def compute_features(
    extractor: keras.Model, volumes: PreparedVolumes, settings: MineSettings
) -> np.ndarray:
    """Features (n_subtomograms, n_features) of prepared volumes."""
    from aitom_disca.network import extract_features

    batches = track(volumes.batches(_BATCH), "features", -(-len(volumes) // _BATCH))
    rotations = cube_rotations()[: settings.n_cube_rotations]
    return extract_features(extractor, batches, rotations=rotations)
