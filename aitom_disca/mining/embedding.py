"""Subtomograms to features, with the network that the settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aitom_disca.config import MineSettings
from aitom_disca.geometry.rotations import cube_rotations
from aitom_disca.progress import track
from aitom_disca.subtomograms.dataset import PreparedVolumes, Source

if TYPE_CHECKING:
    import keras

_BATCH = 128


def prepare_volumes(source: Source, settings: MineSettings) -> PreparedVolumes:
    """Filter and crop the subtomograms as the settings say."""
    return PreparedVolumes(
        source, box_px=settings.working_box_px, low_pass_sigma_px=settings.low_pass_sigma_px
    )


def build_extractor(box_px: int, settings: MineSettings) -> keras.Model:
    """Build the feature extractor for prepared volumes. Imports Keras."""
    from aitom_disca.network import build_feature_extractor, devices

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
