"""Which generation of RELION a star file is of, told by its columns; optimisation sets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from aitom_disca.errors import InputError
from aitom_disca.io.formats.file_text import read_text
from aitom_disca.io.formats.format import Known
from aitom_disca.io.formats.relion.read_star import read_star
from aitom_disca.io.formats.relion.star_blocks import (
    CENTERED_COLUMNS,
    GROUP_COLUMN,
    IMAGE_COLUMNS,
    PLAIN_COLUMNS,
    TILT_SERIES_PIXEL_COLUMN,
    read_blocks,
    resolve,
)
from aitom_disca.io.formats.relion.star_text import StarBlock, parse_star
from aitom_disca.io.formats.tomogram_infos import tomogram_infos
from aitom_disca.particles import ParticleSet

logger = logging.getLogger(__name__)

PARTICLES_KEY, TOMOGRAMS_KEY = "rlnTomoParticlesFile", "rlnTomoTomogramsFile"


def layout_of(path: Path) -> str | None:
    """Name of the format of a star file with particles, None if it is none; never raises.

    An optimisation set is of the format of its particles.
    """
    try:
        status = path.stat()
        if not path.is_file() or path.suffix.lower() != ".star":
            return None
        tables = _scan(path, status.st_mtime_ns, status.st_size)
        own = next((v for t in tables.values() if (v := t.first(PARTICLES_KEY))), None)
        if own is None:
            return _layout(tables)
        found = resolve(own, path)
        return layout_of(found) if found is not None and found != path else None
    except (OSError, InputError):
        return None


def reads(name: str) -> Callable[[Path], bool]:
    """A recogniser of the layout ``name``."""
    return lambda path: layout_of(path) == name


def read(path: Path, known: Known) -> ParticleSet:
    """Read any generation, or the particles of an optimisation set with its tomograms.

    Raises
    ------
    InputError
    """
    files = optimisation_set(path)
    if TOMOGRAMS_KEY in files:
        known = _with_tomograms(files[TOMOGRAMS_KEY], known)
    return read_star(files.get(PARTICLES_KEY, path), known)


def _with_tomograms(star: Path, known: Known) -> Known:
    """Also the tomograms of a list, if it says their sizes; those given count more."""
    try:
        listed = tomogram_infos(
            [star],
            voxel_size_angstrom=known.voxel_size_angstrom,
            tilt_range_deg=known.tilt_range_deg,
            binning=known.binning,
        )
    except InputError as error:
        logger.warning("the tomograms of the optimisation set are of no use: %s", error)
        return known
    return replace(known, tomograms=listed | dict(known.tomograms))


def optimisation_set(path: str | Path) -> dict[str, Path]:
    """Files that an optimisation set names, by its labels; empty for any other file.

    Both of its layouts are read: values by name, and a table of one row.

    Raises
    ------
    InputError
        If its particles are nowhere to be found.
    """
    path = Path(path)
    if not path.is_file() or b"_" + PARTICLES_KEY.encode() not in path.read_bytes()[:4096]:
        return {}
    for block in read_blocks(path).values():
        if PARTICLES_KEY not in block or not len(block):
            continue
        values = block if isinstance(block, dict) else block.iloc[0].to_dict()
        named = {str(k): str(v) for k, v in values.items() if str(k).endswith("File") and v}
        found = {label: resolve(file, path) for label, file in named.items()}
        if found.get(PARTICLES_KEY) is None:
            raise InputError(
                f"the particles {named.get(PARTICLES_KEY)!r} of {path.name} are neither in the "
                "working folder nor in one above it; run from RELION's project folder."
            )
        return {label: file for label, file in found.items() if file is not None}
    return {}


def _layout(tables: dict[str, StarBlock]) -> str | None:
    placed = {CENTERED_COLUMNS[0], PLAIN_COLUMNS[0]}
    images = next((tables[name].labels for name in ("particles", "") if name in tables), [])
    if IMAGE_COLUMNS[0] in images and not placed & {c for t in tables.values() for c in t.labels}:
        return "relion31" if GROUP_COLUMN in images else "relion30"
    for name, table in tables.items():
        if CENTERED_COLUMNS[0] in table.labels:
            return "relion5"
        if PLAIN_COLUMNS[0] not in table.labels:
            continue
        optics = tables["optics"].labels if "optics" in tables else []
        if TILT_SERIES_PIXEL_COLUMN in optics + table.labels:
            return "relion4"
        if name == "particles" or GROUP_COLUMN in table.labels:
            return "relion31"
        micrograph = table.first("rlnMicrographName") or ""
        return "warp" if micrograph.endswith(".tomostar") else "relion30"
    return None


@lru_cache(maxsize=16)
def _scan(path: Path, _changed_ns: int, _size: int) -> dict[str, StarBlock]:
    """Labels and first rows of all blocks, without reading the numbers."""
    return parse_star(read_text(path), path.name, most_rows=1)
