"""What averaging needs beside the members: maps, masks, a network, neighbours, other clusters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aitom_disca.averaging.check_maps import as_mask
from aitom_disca.averaging.half_set_refinement import FindsPoses
from aitom_disca.averaging.half_sets import neighbour_groups
from aitom_disca.averaging.masks import MASK_MARGIN
from aitom_disca.averaging.validation import KnownMap
from aitom_disca.config import AverageSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import TiltRanges, tilt_ranges_of
from aitom_disca.io import open_map
from aitom_disca.io.file_names import distinct_parts
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.particles import ParticleSet
from aitom_disca.progress import say
from aitom_disca.subtomograms.mask_diameter import mask_diameter_angstrom

_AITOMS = (".h5", ".hdf5")  # models of Keras 2
_OWN_MASKS = ("sphere", "density")
_SAME_VOXEL = 1e-3


class OtherMembers:
    """Members of other clusters, drawn at random."""

    def __init__(self, source: SubtomogramStore, cluster: np.ndarray, k: int, seed: int) -> None:
        self._source = source
        self._rows = np.flatnonzero((cluster != k) & (cluster >= 0))
        self._rng = np.random.default_rng(seed)

    def __call__(self, n: int) -> tuple[np.ndarray, TiltRanges]:
        """So many of them, or fewer, and their tilt ranges."""
        rows = np.sort(self._rng.choice(self._rows, min(n, len(self._rows)), replace=False))
        return self._source.read(rows), tilt_ranges_of(self._source.tilt_range_deg, rows)


def settings_for_members(
    rows: np.ndarray, source: SubtomogramStore, settings: AverageSettings
) -> AverageSettings:
    """Settings with the mask that holds for these particles, no larger than their box."""
    asked = settings.mask_diameter_angstrom
    diameter = mask_diameter_angstrom(source, asked, rows, MASK_MARGIN)
    edge_angstrom = source.box_shape_zyx[0] * source.voxel_size_angstrom
    return settings.model_copy(
        update={"mask_diameter_angstrom": min(diameter, edge_angstrom) or None}
    )


def groups_of(source: SubtomogramStore, rows: np.ndarray) -> np.ndarray:
    """Members whose boxes share voxels go into one half, or the halves would share noise."""
    particles = source.particles().select(rows)
    edge_angstrom = source.box_shape_zyx[0] * source.voxel_size_angstrom
    groups, n_cut = neighbour_groups(
        particles.tomogram_name, _places_angstrom(particles), edge_angstrom
    )
    if n_cut:
        say(
            f"{n_cut} groups of members whose boxes share voxels hold more than an eighth of all; "
            "they were cut into pieces"
        )
    return groups


def _places_angstrom(particles: ParticleSet) -> np.ndarray:
    """Centres (N, 3), z, y, x; NaN where they are not known."""
    sizes = np.array(
        [
            particles.tomograms[name].voxel_size_angstrom if name in particles.tomograms else np.nan
            for name in particles.tomogram_name
        ],
        float,
    )
    places = particles.center_zyx_px * sizes[:, None]
    if particles.centered_xyz_angstrom is not None:
        places = np.where(np.isfinite(places), places, particles.centered_xyz_angstrom[:, ::-1])
    return np.asarray(places)


def map_names(paths: Sequence[str | Path]) -> list[str]:
    """What maps are called in tables: their files up to the first dot, numbered where alike."""
    return distinct_parts(Path(path).name.split(".")[0] for path in paths)


def known_map(path: str | Path, source: SubtomogramStore, rescale: bool) -> KnownMap:
    """A map to compare with; refused now rather than after the averaging."""
    opened = open_map(path)
    size = opened.voxel_size_angstrom
    if not rescale and abs(size / source.voxel_size_angstrom - 1) > _SAME_VOXEL:
        raise InputError(
            f"{path} has voxels of {size:g} A and the store of {source.voxel_size_angstrom:g} A; "
            "add --rescale to have it resampled."
        )
    return KnownMap(opened.read(), size)


def network_of(settings: AverageSettings, source: SubtomogramStore) -> FindsPoses | None:
    """The network that finds poses, where one is wanted."""
    if settings.aligner == "fft":
        return None
    if settings.gumnet is None:
        raise InputError(
            f"the aligner {settings.aligner} needs a network: give --gumnet, a file that "
            "train-gumnet wrote, or the model file of AITom's Gum-Net."
        )
    from aitom_disca.network.gumnet import (
        build_gumnet,
        load_gumnet,
        load_legacy_weights,
        predict_poses,
    )

    box_px = source.box_shape_zyx[0]
    if Path(settings.gumnet).suffix.lower() in _AITOMS:
        model = build_gumnet(box_px)
        load_legacy_weights(settings.gumnet, model)
    else:
        model = load_gumnet(settings.gumnet)
    if model.input_shape[0][1] != box_px:
        raise InputError(
            f"{settings.gumnet} was trained on boxes of {model.input_shape[0][1]} voxels, but the "
            f"store has {box_px}; train another."
        )
    tilts = source.common_tilt_range_deg
    return lambda volumes, target: predict_poses(model, volumes, target, tilts)


def mask_of(name: str, source: SubtomogramStore) -> np.ndarray | None:
    """The mask of a file; None where it is made from each average."""
    if name in _OWN_MASKS:
        return None
    if not Path(name).exists():
        raise InputError(f"expected sphere, density or a map as the mask, but there is no {name}.")
    opened = open_map(name, voxel_size_angstrom=1.0)
    return as_mask(opened.read(), source.box_shape_zyx)
