"""RELION particle star files of every generation from 3.0 to 5, and Warp's, read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from aitom_disca.geometry import rotation_from_euler_zyz_deg
from aitom_disca.io.formats.common_columns import euler_zyz_deg
from aitom_disca.io.formats.format import Known
from aitom_disca.io.formats.particle_coordinates import name_of_only_tomogram
from aitom_disca.io.formats.relion.optics_groups import with_optics
from aitom_disca.io.formats.relion.star_blocks import (
    ANGLE_COLUMNS,
    CENTERED_COLUMNS,
    CLASS_COLUMN,
    IMAGE_COLUMNS,
    NAME_COLUMNS,
    ORIGIN_ANGST_COLUMNS,
    PLACED_COLUMNS,
    PLAIN_COLUMNS,
    POSTERIOR_COLUMN,
    SCORE_COLUMN,
    SUBTOMOGRAM_ANGLE_COLUMNS,
    Block,
    find_table,
    read_blocks,
)
from aitom_disca.io.formats.relion.star_coordinates import (
    has_any,
    need_columns,
    numbers,
    places_from_centre,
    places_in_pixels,
    without_places,
)
from aitom_disca.io.formats.relion.star_names import (
    find_known,
    name_column,
    with_paths,
    with_whole_names,
)
from aitom_disca.io.formats.relion.star_pixels import check_labels_agree
from aitom_disca.io.numbers_in_files import check_angles, to_clusters, to_numbers, to_probabilities
from aitom_disca.io.tomogram_names import tomogram_names
from aitom_disca.particles import ParticleSet, TomogramInfo

TABLE_KEY = "relion:"  # in more_blocks: name of the block that held the particles
_Called = Literal["as in the file", "known", "plain"]  # what particles call their tomograms


def read_particles_star(
    path: str | Path,
    *,
    voxel_size_angstrom: float | None = None,
    tomograms: Mapping[str, TomogramInfo] | None = None,
) -> ParticleSet:
    """Read particles of RELION 3.0, 3.1, 4 or 5, or of Warp.

    Origins are subtracted from the coordinates and the two stages of subtomogram orientations
    multiplied, so that positions and angles are those of the particle in its tomogram:
    ``position = coordinate - A_subtomogram @ origin``, ``A = A_subtomogram @ A_particle``. The
    coordinate itself is kept as ``box_center_zyx_px``, the outer stage and all further columns in
    ``more``, other tables in ``more_blocks`` ("relion:optics").

    Parameters
    ----------
    path : path
    voxel_size_angstrom : float, optional
        Pixel size in which the file counts plain coordinates; overrides what the file says.
    tomograms : mapping of str to TomogramInfo, optional
        Positions become voxels of these, scaled where the pixel sizes differ by more than 1 %;
        particles of other tomograms are left out. Without it, positions stay in the pixels of the
        file, and the centred ones of RELION 5 in ``centered_xyz_angstrom`` only.

    Raises
    ------
    InputError
        If columns that are needed are missing, no tomogram fits, or the pixel size is unknown.
    """
    known = Known(tomograms=tomograms or {}, file_pixel_angstrom=voxel_size_angstrom)
    called: _Called = "as in the file" if tomograms is None else "known"
    return _read(Path(path), known, called)


def read_in_tomograms(path: str | Path, known: Known) -> ParticleSet:
    """Read the particles in the known tomograms; of one of several files there may be none.

    Raises
    ------
    InputError
        As `read_particles_star`.
    """
    return _read(Path(path), known, "known")


def read_star(path: str | Path, known: Known) -> ParticleSet:
    """Read particles as `read_particles_star` does, with all that is known beside the file.

    Particles of tomograms that are not known are kept. Centred coordinates become voxels where
    the tomogram's size is known. Tomograms are called by their file's name without folder and
    type; the column as it stands is kept in ``more``.

    Raises
    ------
    InputError
        If columns that are needed are missing, or the pixel size is unknown.
    """
    return _read(Path(path), known, "plain")


def _read(path: Path, known: Known, called: _Called) -> ParticleSet:
    blocks = read_blocks(path)
    placed = [PLAIN_COLUMNS[0], CENTERED_COLUMNS[0], IMAGE_COLUMNS[0]]
    rows = find_table(path, blocks, "particles", placed, may_be_empty=True, alone=True)
    block = next(name for name, table in blocks.items() if table is rows)
    layout = CENTERED_COLUMNS if CENTERED_COLUMNS[0] in rows else PLAIN_COLUMNS
    # RELION needs no positions of images: theirs may be unknown.
    unplaced = IMAGE_COLUMNS[0] in rows and not any(c in rows for c in layout)
    if not unplaced:
        need_columns(path, rows, layout)
    if not any(c in rows for c in NAME_COLUMNS) and _is_told(path, known):
        rows = rows.assign(rlnTomoName=name_of_only_tomogram(path, known))
    rows, said = with_whole_names(path, rows)
    names = said
    if called == "known":
        inside, names = find_known(path, names, known.tomograms, must_fit=not known.one_of_several)
        rows, names = rows[inside].reset_index(drop=True), names[inside]
        said = said[inside]
    elif called == "plain":
        whole = known.one_of_several
        own = tomogram_names(said.tolist(), known.tomograms, path.name, whole=whole)
        names = np.array([own[name] for name in said.tolist()], dtype=str)
    table = with_optics(path, rows, blocks.get("optics"))
    if known.file_pixel_angstrom is None:
        check_labels_agree(path, rows, table)
    if unplaced:
        places, origins = without_places(path, table, names, known)
        rows = rows.assign(**origins)
    elif layout is CENTERED_COLUMNS:
        places = places_from_centre(path, table, names, known)
    else:
        places = places_in_pixels(path, table, names, known)
    same = np.array_equal(said, names) and not known.one_of_several
    keep = [] if same else [name_column(rows)]
    if not np.isfinite(places.center_zyx_px).all():
        keep += ORIGIN_ANGST_COLUMNS
    return ParticleSet(
        names,
        places.center_zyx_px,
        score=_scores(path, table),
        euler_zyz_deg=_euler_zyz_deg(path, table),
        cluster=_clusters(path, table),
        posterior=_posteriors(path, table),
        centered_xyz_angstrom=places.centered_xyz_angstrom,
        box_center_zyx_px=places.box_center_zyx_px,
        tomograms=(dict(known.tomograms) if called == "known" else {})
        | with_paths(places.tomograms, said, names),
        more=_further_columns(rows, keep),
        more_blocks={**_further_blocks(blocks, block), **places.more_blocks},
    )


def _is_told(path: Path, known: Known) -> bool:
    """Whether more than the columns of a file tells of which tomogram it is."""
    return bool(known.tomogram_name or known.tomograms or known.one_of_several)


def _further_columns(rows: pd.DataFrame, keep: list[str]) -> dict[str, np.ndarray]:
    """Columns that have no place of their own and those to keep, text as text."""
    placed = {*PLACED_COLUMNS, name_column(rows)} - set(keep)
    columns = {str(c): rows[c].to_numpy() for c in rows.columns if c not in placed}
    return {c: v.astype(str) if v.dtype == object else v for c, v in columns.items()}


def _further_blocks(blocks: Mapping[str, Block], particles: str) -> dict[str, Any]:
    further: dict[str, Any] = {f"relion:{k}": v for k, v in blocks.items() if k != particles}
    return further | {TABLE_KEY: particles}


def _euler_zyz_deg(path: Path, table: pd.DataFrame) -> np.ndarray | None:
    own = numbers(path, table, ANGLE_COLUMNS) if has_any(table, ANGLE_COLUMNS) else None
    if own is not None:
        check_angles(path, own)
    if not has_any(table, SUBTOMOGRAM_ANGLE_COLUMNS):
        return own
    outer = numbers(path, table, SUBTOMOGRAM_ANGLE_COLUMNS)
    check_angles(path, outer)
    if own is None:
        return outer
    return euler_zyz_deg(rotation_from_euler_zyz_deg(outer) * rotation_from_euler_zyz_deg(own))


def _scores(path: Path, table: pd.DataFrame) -> np.ndarray | None:
    if SCORE_COLUMN not in table:
        return None
    return to_numbers(table[SCORE_COLUMN], path, SCORE_COLUMN, may_be_missing=True)


def _posteriors(path: Path, table: pd.DataFrame) -> np.ndarray | None:
    if POSTERIOR_COLUMN not in table:
        return None
    return to_probabilities(table[POSTERIOR_COLUMN], path, POSTERIOR_COLUMN)


def _clusters(path: Path, table: pd.DataFrame) -> np.ndarray | None:
    return (
        None if CLASS_COLUMN not in table else to_clusters(table[CLASS_COLUMN], path, CLASS_COLUMN)
    )
