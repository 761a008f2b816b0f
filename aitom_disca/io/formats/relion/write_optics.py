"""Optics groups to write: those that particles came with, new ones, those of several sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from aitom_disca.io.formats.format import Known, voxel_sizes
from aitom_disca.io.formats.relion.optics_groups import (
    GROUP_NAME_COLUMN,
    MICROSCOPE,
    ONLY_UNBINNED,
    OPTICS_KEY,
    microscope,
    numbers_of,
    optics_table,
    optics_value,
)
from aitom_disca.io.formats.relion.star_blocks import (
    GROUP_COLUMN,
    IMAGE_PIXEL_COLUMN,
    MICROGRAPH_PIXEL_COLUMNS,
    TILT_SERIES_PIXEL_COLUMN,
)
from aitom_disca.io.pixel_sizes import differs
from aitom_disca.particles import ParticleSet

_OF_IMAGES = ["rlnImageSize", "rlnCtfDataAreCtfPremultiplied"]
_SAME = 1e-6  # pixel sizes that differ by less are written as they were


def build_optics(
    particles: ParticleSet,
    pixel_angstrom: np.ndarray,
    tilt_series_pixel_angstrom: np.ndarray | None = None,
    *,
    micrograph_pixel_angstrom: np.ndarray | None = None,
    images: bool = True,
    box_px: int | None = None,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Optics groups and the group of every particle.

    The table that the particles came with is kept where its groups have one pixel size each;
    columns that the layout has no use for are left out. Otherwise there is a group for every
    pixel size and microscope, with 300 kV, 2.7 mm and 0.1 where nothing is known.

    Parameters
    ----------
    particles : ParticleSet
    pixel_angstrom : ndarray of shape (N,)
        Of the images.
    tilt_series_pixel_angstrom : ndarray of shape (N,), optional
        Unbinned, for the layouts that tell it apart.
    micrograph_pixel_angstrom : ndarray of shape (N,), optional
        What coordinates count in, for the layout that tells it apart.
    images : bool
        Whether the particles keep their images.
    box_px : int, optional
        Edge of an image, where nothing else says it.
    """
    values = {IMAGE_PIXEL_COLUMN: pixel_angstrom}
    if tilt_series_pixel_angstrom is not None:
        values[TILT_SERIES_PIXEL_COLUMN] = tilt_series_pixel_angstrom
        values["rlnTomoSubtomogramBinning"] = pixel_angstrom / tilt_series_pixel_angstrom
    own = optics_table(particles)
    micrograph = micrograph_pixel_angstrom
    if own is not None:
        if micrograph is not None:
            said = [column for column in MICROGRAPH_PIXEL_COLUMNS if column in own]
            if not said and differs(pixel_angstrom, micrograph).any():
                said = [MICROGRAPH_PIXEL_COLUMNS[1]]
            values |= dict.fromkeys(said, micrograph)
        kept = _with_values(own, np.asarray(particles.more[GROUP_COLUMN]), values)
        if kept is not None:
            unbinned = tilt_series_pixel_angstrom is not None
            unused = ([] if unbinned else ONLY_UNBINNED) + ([] if images else _OF_IMAGES)
            if unbinned and TILT_SERIES_PIXEL_COLUMN not in own:  # there it is the voxel's size
                unused = [*unused, *MICROGRAPH_PIXEL_COLUMNS]
            kept = kept.drop(columns=[c for c in unused if c in kept])
            if not images:
                kept["rlnImageDimensionality"] = 3
            return kept, np.asarray(particles.more[GROUP_COLUMN])
    if micrograph is not None:
        values = {MICROGRAPH_PIXEL_COLUMNS[1]: micrograph, **values}
    return _new_optics(particles, values, box_px)


def optics_of_images(
    particles: ParticleSet, pixel_angstrom: float, box_px: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Optics groups of images that were cut here, and the group of every particle."""
    known = {name for name, info in particles.tomograms.items() if info.voxel_size_angstrom}
    values = {IMAGE_PIXEL_COLUMN: np.full(len(particles), pixel_angstrom)}
    if known >= set(particles.tomogram_name.tolist()):
        values = {MICROGRAPH_PIXEL_COLUMNS[1]: voxel_sizes(particles, Known()), **values}
    earlier = (GROUP_COLUMN, "rlnImageSize")
    blank = replace(
        particles,
        more={k: v for k, v in particles.more.items() if k not in earlier},
        more_blocks={k: v for k, v in particles.more_blocks.items() if k != OPTICS_KEY},
    )
    return _new_optics(blank, values, box_px)


def _with_values(
    table: pd.DataFrame, groups: np.ndarray, values: dict[str, np.ndarray]
) -> pd.DataFrame | None:
    """The table with these values, None if a group would need two."""
    table = table.copy()
    for column, value in values.items():
        old = numbers_of(table[column], column) if column in table else np.full(len(table), np.nan)
        new = old.copy()
        for i, group in enumerate(table[GROUP_COLUMN]):
            of_group = value[groups == group]
            if not len(of_group):
                continue
            if np.ptp(of_group) > _SAME * of_group[0]:
                return None
            if not abs(old[i] / of_group[0] - 1) < _SAME:
                new[i] = of_group[0]
        if not np.array_equal(old, new, equal_nan=True):
            table[column] = new
    return table


def _new_optics(
    particles: ParticleSet, values: dict[str, np.ndarray], box_px: int | None
) -> tuple[pd.DataFrame, np.ndarray]:
    rows = pd.DataFrame(index=range(len(particles)))
    old = particles.more.get(GROUP_COLUMN)
    if old is not None:
        rows["old"] = old
    usual = {name: microscope(info) for name, info in particles.tomograms.items()}
    for column in MICROSCOPE:
        value = optics_value(particles, column)
        known = [usual.get(name, microscope())[column] for name in particles.tomogram_name.tolist()]
        rows[column] = known if value is None else value
    for column, value in values.items():
        rows[column] = [float(f"{v:.10g}") for v in value]
    given = particles.more.get(GROUP_NAME_COLUMN)  # as RELION's micrographs have it
    if given is not None:
        rows[GROUP_NAME_COLUMN] = given
    table = rows.drop_duplicates().reset_index(drop=True)
    key = list(table.columns)
    numbers = np.arange(1, len(table) + 1)
    if old is not None and table["old"].is_unique and table["old"].dtype.kind == "i":
        numbers = table["old"].to_numpy()
    table.insert(0, GROUP_COLUMN, numbers)
    group = rows.merge(table, on=key, how="left")[GROUP_COLUMN].to_numpy()
    size = optics_value(particles, "rlnImageSize")
    if size is not None and np.ptp(size) == 0:
        table["rlnImageSize"] = int(size[0])
    elif box_px is not None:
        table["rlnImageSize"] = box_px
    table["rlnImageDimensionality"] = 3
    named = table.pop(GROUP_NAME_COLUMN) if given is not None else None
    table.insert(
        1,
        GROUP_NAME_COLUMN,
        [_group_name(row) for _, row in table.iterrows()] if named is None else named,
    )
    return _with_own_names(table.drop(columns=["old"], errors="ignore")), group


def _group_name(row: pd.Series) -> str:
    """A name that tells what is in it: RELION joins groups of one name, whatever they hold."""
    name = f"opticsGroup-{row[IMAGE_PIXEL_COLUMN]:.6g}A"
    cut_from = row.get(MICROGRAPH_PIXEL_COLUMNS[1])
    if cut_from is not None and differs(cut_from, row[IMAGE_PIXEL_COLUMN]):
        name += f"-of-{cut_from:.6g}A"
    if "rlnImageSize" in row:
        name += f"-box{row['rlnImageSize']:.0f}"
    if any(row[column] != usual for column, usual in microscope().items()):
        name += "-" + "-".join(f"{row[column]:.6g}" for column in MICROSCOPE)
    return name.replace(".", "p")  # RELION admits letters, numbers, hyphens and underscores


def _with_own_names(table: pd.DataFrame) -> pd.DataFrame:
    """The table with names that differ: a name that is there already gets the group's number."""
    if GROUP_NAME_COLUMN not in table:
        return table
    names: list[str] = []
    for name, number in zip(table[GROUP_NAME_COLUMN].astype(str), table[GROUP_COLUMN], strict=True):
        names.append(f"{name}-{number}" if name in names else name)
    return table.assign(**{GROUP_NAME_COLUMN: names})


def join_optics(sets: list[ParticleSet]) -> list[ParticleSet]:
    """Sets whose optics groups have numbers and names of their own, each with the table of all.

    Groups that are the same in all but their number are one. Without a table in every set none is
    kept, and groups lose their numbers.
    """
    tables = [optics_table(one) for one in sets]
    if all(table is None for table in tables):
        return sets
    if any(table is None for table in tables):
        return [
            replace(
                one,
                more={k: v for k, v in one.more.items() if k != GROUP_COLUMN},
                more_blocks={k: v for k, v in one.more_blocks.items() if k != OPTICS_KEY},
            )
            for one in sets
        ]
    own = [table.drop_duplicates() for table in tables if table is not None]
    every = pd.concat(own, ignore_index=True)
    # what a group is, without its number; a column that only some files hold tells groups apart
    content = [column for column in every if column != GROUP_COLUMN]
    number = every.groupby(content, dropna=False, sort=False).ngroup().to_numpy() + 1
    joined = every.assign(**{GROUP_COLUMN: number}).drop_duplicates(GROUP_COLUMN)
    joined = _with_own_names(joined.reset_index(drop=True))
    renumbered, first = [], 0
    for one, table in zip(sets, own, strict=True):
        new = dict(zip(table[GROUP_COLUMN], number[first : first + len(table)], strict=True))
        first += len(table)
        group = np.array([new[old] for old in np.asarray(one.more[GROUP_COLUMN]).tolist()], int)
        renumbered.append(replace(one, more={**one.more, GROUP_COLUMN: group}))
    return [replace(one, more_blocks={**one.more_blocks, OPTICS_KEY: joined}) for one in renumbered]
