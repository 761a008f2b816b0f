"""Every sample star file becomes every other format, and comes back with the same particles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aitom_disca.geometry import rotation_from_euler_zyz_deg
from aitom_disca.io.formats import NAMES, Known, get_format
from aitom_disca.io.formats.convert import convert
from aitom_disca.io.formats.format import POSE
from aitom_disca.io.formats.read_particles import read_particles

SAMPLES = {  # file: the pixel that it counts in, where it does not say it
    "relion30_subtomo_pixel_origins.star": 5.0,
    "relion30_warp_subtomo_excerpt.star": None,
    "relion31_warp_m_no_optics.star": None,
    "relion4_warptools_2dstacks.star": None,
    "relion5_class3d_2dstacks.star": None,
    "relion5_refine3d_3d_subtomos.star": None,
}
BOTH_WAYS = [n for n in NAMES if get_format(n).read and get_format(n).write]
KNOWN = Known(
    voxel_size_angstrom=10.0,
    shape_zyx=(400, 1000, 1000),
    binning=4.0,
    unbinned_shape_zyx=(1600.0, 4000.0, 4000.0),
    box_px=32,
)
# Voxels: IMOD keeps float32, a table the digits that it writes.
TOLERANCE_PX = {"imod": 3e-4}


def in_order(particles) -> np.ndarray:
    return np.lexsort((*particles.center_zyx_px.T.round(2), particles.tomogram_name))


@pytest.mark.parametrize("to", BOTH_WAYS)
@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.filterwarnings("ignore:The `dict` method")
def test_there_and_back(shared_data: Path, tmp_path: Path, name: str, to: str) -> None:
    source = shared_data / "star" / name
    known = replace(KNOWN, file_pixel_angstrom=SAMPLES[name])
    before = read_particles(source, known=known)
    done = convert(source, tmp_path / f"x{get_format(to).suffixes[0]}", to, known=known)
    assert done.n_particles == len(before)
    names = dict.fromkeys(before.tomogram_name.tolist())
    infos = {name: KNOWN.info(name, before) for name in names}
    only = next(iter(names)) if len(names) == 1 else None
    there = done.paths if to in ("imod", "eman2", "portal", "copick") else done.paths[0]
    after = read_particles(
        there, from_=to, known=replace(KNOWN, tomograms=infos, tomogram_name=only)
    )
    assert len(after) == len(before)
    first, second = in_order(before), in_order(after)
    assert after.tomogram_name[second].tolist() == before.tomogram_name[first].tolist()
    off = before.center_zyx_px[first] - after.center_zyx_px[second]
    assert np.abs(off).max() < TOLERANCE_PX.get(to, 1e-5)
    if POSE in get_format(to).keeps and before.euler_zyz_deg is not None:
        assert after.euler_zyz_deg is not None
        turns = [
            rotation_from_euler_zyz_deg(one.euler_zyz_deg[order])
            for one, order in ((before, first), (after, second))
        ]
        assert np.rad2deg((turns[0].inv() * turns[1]).magnitude()).max() < 1e-3
