"""Warp and M: RELION 3.0's table with the pixel size said twice, micrographs as .tomostar."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.formats.format import EVERYTHING, Format, Known, need_positions
from aitom_disca.io.formats.relion.generations import read, reads
from aitom_disca.io.formats.relion.relion30 import IN_PIXELS, convention, lost, rows_of
from aitom_disca.io.formats.relion.star_blocks import write_blocks_text
from aitom_disca.io.formats.relion.star_pixels import DETECTOR, MAGNIFICATION, of_detector_angstrom
from aitom_disca.io.tomogram_names import series_name
from aitom_disca.particles import ParticleSet

_SUFFIX = ".tomostar"


def write(path: str | Path, particles: ParticleSet, known: Known) -> list[Path]:
    """Write one table; tomograms are called SERIES.tomostar, as Warp calls tilt series.

    What programs add to the name of a series (``_10.00Apx``) is left away where that leaves no two
    tomograms with one name.

    Raises
    ------
    InputError
        If positions or voxel sizes are unknown.
    """
    need_positions(particles, FORMAT.title)
    rows = rows_of(particles, known, "warp")
    names = rows["rlnMicrographName"].astype(str)
    rows["rlnMicrographName"] = names.map(_called_by_warp(names.unique()))
    if "rlnPixelSize" not in rows:
        rows["rlnPixelSize"] = of_detector_angstrom(rows[DETECTOR], rows[MAGNIFICATION])
    write_text(path, write_blocks_text({"": rows}, None, convention(IN_PIXELS)))
    return [Path(path)]


def _called_by_warp(names: Iterable[str]) -> dict[str, str]:
    own = {name: name if name.endswith(_SUFFIX) else series_name(name) + _SUFFIX for name in names}
    if len(set(own.values())) == len(own):
        return own
    return {name: name.removesuffix(_SUFFIX) + _SUFFIX for name in own}


FORMAT = Format(
    name="warp",
    title="Warp and M star",
    suffixes=(".star",),
    recognises=reads("warp"),
    read=read,
    write=write,
    keeps=EVERYTHING,
    loses=partial(lost, layout="warp"),
)
