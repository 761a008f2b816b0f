"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from aitom_disca.doctor import (
    gold_beads,
    machine,
    measured_wedge,
    picks_and_stores,
    polarity,
    voxel_values,
)
from aitom_disca.doctor.outcome import Check, judged
from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram
from aitom_disca.io.pixel_sizes import differs
from aitom_disca.progress import track

_PLAUSIBLE_ANGSTROM = (1.0, 30.0)


def examine(
    tomograms: Sequence[Tomogram],
    diameter_angstrom: float,
    *,
    picks: Sequence[str | Path] = (),
    file_pixel_angstrom: float | None = None,
    tomogram_name: str | None = None,
    stores: Sequence[str | Path] = (),
    out: str | Path = ".",
    is_guess: bool = False,
) -> list[tuple[str, Check]]:
    """Look at the inputs of a run and at the machine.

    Parameters
    ----------
    tomograms : sequence of Tomogram
        Read slab by slab, and searched for gold block by block; some blocks are looked at more
        closely.
    diameter_angstrom : float
        Of the particles.
    picks : sequence of path
        Particle files of any format; without tomograms it is only said what is in them.
    stores : sequence of path
    file_pixel_angstrom, tomogram_name : optional
        As for `read_picks`.
    out : path
        Where the run is to write.
    is_guess : bool
        Whether the diameter is one; picks are not judged by it then.

    Returns
    -------
    list of (str, Check)
        Of what each check is: a tomogram's name, a file's name, or "machine".
    """
    rows: list[tuple[str, Check]] = []
    for tomogram in track(list(tomograms), "reading tomograms") if tomograms else ():
        rows += [(tomogram.name, check) for check in _of_tomogram(tomogram, diameter_angstrom)]
    n_picks = 0
    if len(tomograms) > 1:
        rows.append(("tomograms", _same_voxels(tomograms)))
    check_picks = partial(
        picks_and_stores.check_picks,
        tomograms=tomograms,
        diameter_angstrom=None if is_guess else diameter_angstrom,
        file_pixel_angstrom=file_pixel_angstrom,
        tomogram_name=tomogram_name,
    )
    for path in map(Path, picks):
        found, n = _or_error("picks", partial(check_picks, path))
        n_picks += n
        rows += [(path.name, check) for check in found]
    for path in map(Path, stores):
        found, _ = _or_error("store", partial(picks_and_stores.check_store, path))
        rows += [(path.name, check) for check in found]
    of_machine = [machine.check_backend(), *machine.check_packages(), machine.check_relion()]
    of_machine += machine.check_aitom()
    if tomograms:
        room = machine.check_room(tomograms, diameter_angstrom, n_picks, Path(out))
        of_machine = [*room, *of_machine]
    return rows + [("machine", check) for check in of_machine]


def _of_tomogram(tomogram: Tomogram, diameter_angstrom: float) -> list[Check]:
    low, high = _PLAUSIBLE_ANGSTROM
    voxel = tomogram.voxel_size_angstrom
    checks = [
        judged(
            "voxel size",
            low <= voxel <= high,
            f"{voxel:g} A; size {' x '.join(map(str, tomogram.shape_zyx[::-1]))} (x, y, z)",
            "tomograms are mostly at 5 to 20 A: correct it with --voxel-size-angstrom",
        )
    ]
    checks += voxel_values.check_values(tomogram)
    if checks[1].state == "error":  # voxels that are no numbers, or all the same
        return checks
    return [
        *checks,
        *gold_beads.check_gold(tomogram),
        polarity.check_polarity(tomogram, diameter_angstrom),
        measured_wedge.check_wedge(tomogram),
    ]


def _same_voxels(tomograms: Sequence[Tomogram]) -> Check:
    sizes = [t.voxel_size_angstrom for t in tomograms]
    return judged(
        "voxel sizes",
        not differs(max(sizes), min(sizes)),
        f"{min(sizes):g} to {max(sizes):g} A",
        "one run takes tomograms of one voxel size: run them apart, or resample",
        else_="error",
    )


def _or_error(name: str, look: Callable[[], tuple[list[Check], int]]) -> tuple[list[Check], int]:
    """What a check of a file finds; that it cannot be read is a finding."""
    try:
        return look()
    except InputError as error:
        text, _, remedy = str(error).partition("; ")
        return [Check(name, "error", text, remedy)], 0
