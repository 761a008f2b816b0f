"""Where the picks of a run come from: tomograms, other versions of them, or files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aitom_disca.config import RunSettings
from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram, open_tomograms, read_picks
from aitom_disca.io.file_names import versions_of
from aitom_disca.io.pixel_sizes import differs
from aitom_disca.io.tomogram_names import series_name
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet, concatenate
from aitom_disca.pipeline.pick import find_in_tomograms
from aitom_disca.progress import say

if TYPE_CHECKING:
    from aitom_disca.picking import Candidates

logger = logging.getLogger(__name__)


def tomograms_to_pick_on(settings: RunSettings) -> list[Tomogram]:
    """The other versions of tomograms that a run picks on; none unless the settings name some."""
    if not settings.pick_on:
        return []
    return open_tomograms(
        settings.pick_on,
        voxel_size_angstrom=settings.voxel_size_angstrom,
        tilt_range_deg=settings.tilt_range_deg,
        dark_protein=settings.dark_protein,
    )


def files_of_picks(settings: RunSettings, out: Path) -> list[Path]:
    """The files that a run reads beside its tomograms: picks, what they refer to, and membranes.

    Parameters
    ----------
    settings : RunSettings
    out : path
        The run's own folder, whose files are not counted.

    Raises
    ------
    InputError
        If a file is missing, or of no format that is known.
    """
    from aitom_disca.io.formats.format import Known  # the formats take time to import
    from aitom_disca.io.formats.read_particles import is_store, readable
    from aitom_disca.io.formats.relion.generations import optimisation_set

    found = [Path(path) for path in settings.pick.membranes]
    for path in map(Path, settings.picks):
        files = [path] if is_store(path) else [file for file, _ in readable(path, None, Known())]
        found += files
        found += [named for file in files for named in optimisation_set(file).values()]
    return [path for path in found if out.resolve() not in path.resolve().parents]


def picks_of_run(
    tomograms: Sequence[Tomogram],
    settings: RunSettings,
    pick_on: Sequence[Tomogram] = (),
    executor: Executor | None = None,
    keep: Path | None = None,
) -> Candidates:
    """Pick the particles of tomograms, or read them, as the settings say.

    Parameters
    ----------
    tomograms : sequence of Tomogram
    settings : RunSettings
    pick_on : sequence of Tomogram
        Other versions of the tomograms, see `tomograms_to_pick_on`.
    executor : Executor, optional
        Tomograms are its tasks.
    keep : path, optional
        As in `find_in_tomograms`.

    Raises
    ------
    InputError
        If a file or a tomogram cannot be used.
    """
    from aitom_disca.picking import Candidates

    if settings.picks:
        nearest = settings.pick.diameters_angstrom[0] / 2
        found = read_all_picks(
            settings.picks,
            tomograms,
            nearest,
            file_pixel_angstrom=settings.file_pixel_angstrom,
            tomogram_name=settings.tomogram_name,
        )
        return Candidates(found)
    others = matched(tomograms, pick_on) if pick_on else tomograms
    return find_in_tomograms(others, settings.pick, executor=executor, keep=keep)


def read_all_picks(
    paths: Sequence[str | Path],
    tomograms: Sequence[Tomogram],
    min_distance_angstrom: float,
    *,
    file_pixel_angstrom: float | None = None,
    tomogram_name: str | None = None,
) -> ParticleSet:
    """Picks of one or several files, of any format; a particle that several hold counts once.

    Parameters
    ----------
    paths : sequence of path
        What the first holds stays where a later one has the same particle.
    tomograms : sequence of Tomogram
        Picks in others are left out.
    min_distance_angstrom : float
        Picks of different files that are nearer to one another are one particle.
    file_pixel_angstrom : float, optional
        In which the files count; overrides what they say.
    tomogram_name : str, optional
        Tomogram of files that do not name it.

    Raises
    ------
    InputError
        If a file cannot be read, or no tomogram fits.
    """
    from aitom_disca.picking import without_duplicates

    infos = {tomogram.name: tomogram.info for tomogram in tomograms}
    sets = [
        read_picks(
            path,
            voxel_size_angstrom=file_pixel_angstrom,
            tomograms=infos,
            tomogram_name=tomogram_name,
        )
        for path in paths
    ]
    sets = [one for one in sets if len(one)] or sets[:1]
    if len(sets) == 1:
        return sets[0]
    scored = all(one.score is not None for one in sets)
    places = [
        ParticleSet(
            one.tomogram_name,
            one.center_zyx_px,
            one.score if scored else None,
            tomograms=infos,
        )
        for one in sets
    ]
    together = concatenate(places)
    stays = without_duplicates(replace(together, score=None), min_distance_angstrom)
    files = counted(len(sets), "file")
    twice = int((~stays).sum())
    say(f"{counted(len(together), 'pick')} of {files}, {twice} of them found twice")
    return together.select(stays)


def matched(raw: Sequence[Tomogram], others: Sequence[Tomogram]) -> list[Tomogram]:
    """Other versions of tomograms, such as denoised ones, under the names of these.

    One fits if its name is the same, or goes on behind it (``TS_01`` and ``TS_01_denoised``, but
    not ``TS_010``), see `aitom_disca.io.file_names.versions_of`; or, where there is one alone, if
    it is of the same tilt series (``TS_01_rec`` and ``TS_01_denoised``).

    Raises
    ------
    InputError
        If a tomogram has none, or one of another size or voxel size.
    """
    found = []
    names, other_names = [one.name for one in raw], [one.name for one in others]
    for tomogram in raw:
        fits = versions_of(tomogram.name, names, other_names)
        fits = fits or _of_same_series(tomogram.name, names, other_names)
        fitting = [one for one in others if one.name in fits]
        if not fitting:
            raise InputError(
                f"--pick-on has no tomogram of the name {tomogram.name} (there are "
                f"{', '.join(one.name for one in others[:3])}); its name must begin with that."
            )
        one = min(fitting, key=lambda other: len(other.name))
        other_size = differs(one.voxel_size_angstrom, tomogram.voxel_size_angstrom)
        if one.shape_zyx != tomogram.shape_zyx or other_size:
            raise InputError(
                f"the tomogram {one.name} to pick on has {one.shape_zyx} voxels (z, y, x) of "
                f"{one.voxel_size_angstrom:g} A, but {tomogram.name} has {tomogram.shape_zyx} of "
                f"{tomogram.voxel_size_angstrom:g} A; give one of the same."
            )
        found.append(replace(one, name=tomogram.name))
    return found


def _of_same_series(name: str, names: Sequence[str], others: Sequence[str]) -> list[str]:
    """The only other of a tomogram's tilt series, if that tomogram is its only one, too."""
    series = series_name(name)
    fitting = [other for other in others if series_name(other) == series]
    alone = [one for one in names if series_name(one) == series] == [name]
    return fitting if alone and len(fitting) == 1 else []
