"""What a run is going to do, about how long that may take, and how much disk it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aitom_disca.computing.cores import n_cores
from aitom_disca.config import RunSettings
from aitom_disca.io import Tomogram
from aitom_disca.io.disk.free_space import in_words, need_space
from aitom_disca.number_text import between, counted
from aitom_disca.progress import say
from aitom_disca.reembedding.embedded_files import bytes_of_maps

# Seconds of one core, least and most, of the preset fast. Measured in November 2026 on two cores
# (AMD EPYC): the demo (6.3 million voxels, 195 particles in boxes of 24) and simulated cells
# (13.5 million voxels, 851 to 1065 particles in boxes of 44, from clear to raw) by `run`, 1000 to
# 20,000 subtomograms of 32 voxels by `bench --what size` (docs/benchmark.md).
_PICK = (2.0, 5.0)  # for a million voxels
_SORT = (0.2, 1.2)  # for each subtomogram that is sorted thoroughly
_SORT_OTHERS = (0.05, 0.15)  # for each of the others
_AVERAGE = (2e-4, 8e-4)  # for each subtomogram and squared edge of the box in voxels
_EMBED = (0.2, 1.0)  # for a million voxels
# More cores than that were not measured: they may help as much as they are, or not at all.
_SURE_CORES = 4
# Particles in a cube of the diameter's edge: from a thinly filled tomogram to the fullest cell.
_FILLED = (0.05, 1.4)

_WORDS = {
    "pick": "pick particles",
    "extract": "cut subtomograms",
    "mine": "sort them",
    "refine": "sort them again by their averages",
    "search": "search for those that were missed and sort again",
    "average": "average every cluster",
    "embed": "put the averages back",
    "report": "write star files and a report",
}


def say_plan(
    folder: Path,
    tomograms: Sequence[Tomogram],
    settings: RunSettings,
    stages: Sequence[str],
    *,
    elsewhere: bool = False,
) -> None:
    """Say what a run will do; refuse a disk that cannot hold its maps.

    Parameters
    ----------
    folder : path
        Of the run.
    tomograms : sequence of Tomogram
    settings : RunSettings
    stages : sequence of str
        That are to be done.
    elsewhere : bool
        Whether other machines compute, of which nothing is known.

    Raises
    ------
    InputError
        If there is too little room.
    """
    from aitom_disca.subtomograms.box_plan import plan_box

    million = sum(math.prod(one.shape_zyx) for one in tomograms) / 1e6
    words = [_WORDS[name] for name in stages if name in _WORDS]
    if settings.picks and "pick" in stages:
        words[0] = "take the picks that were given"
    say(f"{counted(len(tomograms), 'tomogram')} of {million:.3g} million voxels: {_listed(words)}")
    box_px = plan_box(settings.extract, tomograms[0].voxel_size_angstrom).box_px
    least, most = _n_particles(tomograms, settings)
    if not elsewhere and _known(settings):
        if settings.picks:
            text = "how long it takes is said once the picks are read"
        else:
            shortest = _rest_s(least, box_px, million, settings, stages)[0]
            longest = _rest_s(most, box_px, million, settings, stages)[1]
            text = (
                f"picking takes {_on_cores(million * _PICK[0], million * _PICK[1])}, the rest "
                f"{_on_cores(shortest, longest)} for {least} to {most} particles that may be there"
            )
        say(f"{text} ({counted(n_cores(), 'core')})")
    what = f"subtomograms of {box_px} voxels, {in_words(4000 * box_px**3)} for every 1000 of them"
    n_bytes = 0
    if "embed" in stages:
        what += f", and maps of {counted(len(tomograms), 'tomogram')}"
        n_bytes = sum(bytes_of_maps(math.prod(one.shape_zyx)) for one in tomograms)
    need_space(folder, n_bytes, what)


def say_rest(
    n_particles: int,
    tomograms: Sequence[Tomogram],
    settings: RunSettings,
    stages: Sequence[str],
) -> None:
    """Say how long what comes after picking may take, now that the number is known."""
    from aitom_disca.subtomograms.box_plan import plan_box

    if not _known(settings):
        return
    box_px = plan_box(settings.extract, tomograms[0].voxel_size_angstrom).box_px
    million = sum(math.prod(one.shape_zyx) for one in tomograms) / 1e6
    seconds = _rest_s(n_particles, box_px, million, settings, stages)
    text = counted(n_particles, "particle")
    say(f"{text}: the rest takes {_on_cores(*seconds)} ({counted(n_cores(), 'core')})")


def _known(settings: RunSettings) -> bool:
    """Whether anything like it was measured: sorting by alignment."""
    return settings.mine.alignment


def _n_particles(tomograms: Sequence[Tomogram], settings: RunSettings) -> tuple[int, int]:
    """How many particles there may be, from few to as many as fit in."""
    diameter_angstrom = float(np.min(settings.pick.particle_diameter_angstrom))
    cubes = sum(
        math.prod(one.shape_zyx) * (one.voxel_size_angstrom / diameter_angstrom) ** 3
        for one in tomograms
    )
    most = _rounded(cubes * _FILLED[1])
    if settings.pick.max_picks is not None:
        most = min(most, settings.pick.max_picks * len(tomograms))
    return min(_rounded(cubes * _FILLED[0]), most), most


def _rest_s(
    n: int, box_px: int, million: float, settings: RunSettings, stages: Sequence[str]
) -> tuple[float, float]:
    """Seconds of one core, least and most, of all stages after picking."""
    thoroughly = min(n, settings.mine.alignment_most)
    found = []
    for k, repeats in enumerate((settings.runs, settings.runs * settings.n_rounds)):
        seconds = repeats * (thoroughly * _SORT[k] + (n - thoroughly) * _SORT_OTHERS[k])
        if "average" in stages:
            seconds += n * box_px**2 * _AVERAGE[k]
        if "embed" in stages:
            seconds += million * _EMBED[k]
        found.append(seconds)
    return found[0], found[1]


def _on_cores(least_s: float, most_s: float) -> str:
    """Seconds of one core as a range of time on the cores that there are."""
    return between(least_s / n_cores(), most_s / min(n_cores(), _SURE_CORES))


def _rounded(number: float) -> int:
    """To two digits: no more is known."""
    digits = max(0, math.floor(math.log10(max(number, 1))) - 1)
    return max(1, int(round(number, -digits)))


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else words[0]
