"""Whether subtomograms can be sorted, and by a model that was trained on others."""

from __future__ import annotations

import numpy as np

from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.subtomograms.dataset import ArraySource, Source

_VOXEL_SIZE_TOLERANCE = 0.02


def as_source(X: np.ndarray | Source) -> Source:
    """Subtomograms of an array (n, z, y, x), or of what can be read from already.

    Raises
    ------
    InputError
        If the array has other dimensions or is complex, or the box is not cubic.
    """
    if not isinstance(X, np.ndarray):
        source: Source = X
    elif np.iscomplexobj(X):
        raise InputError("Complex data not supported: expected subtomograms of real numbers.")
    elif X.ndim == 4:
        source = ArraySource(X)
    else:
        raise InputError(
            f"expected subtomograms as (n, z, y, x), but the array has {X.ndim} dimensions."
        )
    if len(set(source.box_shape_zyx)) != 1:
        raise InputError(
            f"expected cubic subtomograms, but their box is {tuple(source.box_shape_zyx)}."
        )
    return source


def check_for_fit(source: Source, settings: MineSettings) -> None:
    """Check that there are enough subtomograms, in a box that is large enough.

    Raises
    ------
    InputError
    """
    least = max(*settings.mixture_k, 2)
    if len(source) < least:
        raise InputError(
            f"expected at least {least} subtomograms, as many as the largest candidate K, but "
            f"there are {len(source)}; give more, or a smaller K."
        )
    box = min(settings.working_box_px or source.box_shape_zyx[0], source.box_shape_zyx[0])
    depth = settings.n_convolutions or 1
    if box < 2 * depth + 1:
        raise InputError(
            f"expected a box of at least {2 * depth + 1} voxels for {depth} convolutions, but the "
            f"subtomograms have {box}; extract them with a larger --box-px."
        )


def check_against(source: Source, box_px: int, voxel_size_angstrom: float | None) -> None:
    """Check that subtomograms have the box and the voxel size that a model was trained on.

    Raises
    ------
    InputError
    """
    if source.box_shape_zyx[0] != box_px:
        raise InputError(
            f"expected subtomograms of {box_px} voxels, as the model was trained on, but these "
            f"have {source.box_shape_zyx[0]}; extract them with that box."
        )
    own = getattr(source, "voxel_size_angstrom", None)
    if not own or not voxel_size_angstrom:
        return
    if abs(own / voxel_size_angstrom - 1) > _VOXEL_SIZE_TOLERANCE:
        raise InputError(
            f"expected a voxel size of {voxel_size_angstrom:g} A, as the model was trained on, but "
            f"the subtomograms have {own:g} A; extract them with --working-voxel-size-angstrom "
            f"{voxel_size_angstrom:g}."
        )
