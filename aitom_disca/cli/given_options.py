"""What was given on the command line, as tomograms and settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aitom_disca.cli.choices import JobsOf, KCriterion, Precision, Preset, RotatedBy
from aitom_disca.config import MineSettings, OpticsSettings
from aitom_disca.config.sorting import SortingSettings
from aitom_disca.errors import InputError
from aitom_disca.progress import say

if TYPE_CHECKING:
    from aitom_disca.io import Tomogram
    from aitom_disca.pipeline.array_job_parts import Part

_DIAMETER_ANGSTROM = 200.0
_BOX_DIAMETERS = 1.6


def open_given(
    tomograms: Sequence[Path],
    voxel_size_angstrom: float | None,
    tilt_range: tuple[float, float] | None,
    tilt_file: Path | None,
    zarr_level: int,
    dark_protein: bool | None = None,
    optics: OpticsSettings | None = None,
) -> list[Tomogram]:
    """Tomograms, with what the options say of them in place of their headers."""
    from aitom_disca.io import open_tomograms

    return open_tomograms(
        tomograms,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=tilt_range,
        tilt_file=tilt_file,
        zarr_level=zarr_level,
        dark_protein=bool(dark_protein),
        optics=optics,
    )


def chosen_diameter_angstrom(given: float | None, tomograms: Sequence[Tomogram]) -> float:
    """The diameter that was given; else 200 A, or what leaves room for two boxes in the thinnest.

    A guess is said aloud: the diameter decides what is picked.
    """
    if given is not None:
        return given
    thinnest = min(min(t.shape_zyx) * t.voxel_size_angstrom for t in tomograms)
    chosen = min(_DIAMETER_ANGSTROM, round(thinnest / (2 * _BOX_DIAMETERS)))
    say(f"particle diameter: {chosen:g} A (a guess; --particle-diameter-angstrom sets it)")
    return float(chosen)


def chosen_diameters_angstrom(
    given: str | None, tomograms: Sequence[Tomogram]
) -> float | tuple[float, ...]:
    """One diameter or several, such as ``150,270``; where none is given that of a guess.

    Raises
    ------
    InputError
        If the text is no list of numbers.
    """
    if given is None:
        return chosen_diameter_angstrom(None, tomograms)
    try:
        found = tuple(float(part) for part in given.split(","))
    except ValueError as error:
        raise InputError(
            "--particle-diameter-angstrom takes a number of Angstrom, or several such as 150,270; "
            f"got {given!r}."
        ) from error
    return found[0] if len(found) == 1 else found


def kinds_to_keep(given: str | None) -> tuple[str, ...]:
    """The kinds of ``--keep``."""
    return tuple(kind.strip() for kind in (given or "").split(",") if kind.strip())


def parse_candidate_k(text: str) -> tuple[int, ...]:
    """Numbers of clusters from ``2-12``, ``5,10,20`` or a mixture of both.

    Raises
    ------
    InputError
        If the text is neither.
    """
    try:
        found: set[int] = set()
        for part in text.split(","):
            low, dash, high = part.strip().partition("-")
            found |= set(range(int(low), int(high if dash else low) + 1))
    except ValueError as error:
        raise InputError(
            f"--candidate-k takes numbers such as 2-12 or 5,10,20; got {text!r}."
        ) from error
    if not found or min(found) < 1:
        raise InputError(f"--candidate-k takes numbers from 1, smallest first; got {text!r}.")
    return tuple(sorted(found))


def mine_settings(
    preset: Preset,
    candidate_k: str | None,
    max_iterations: int | None,
    width: float | None,
    seed: int,
    k_criterion: KCriterion = KCriterion.bic,
    precision: Precision = Precision.auto,
    n_devices: int = 1,
    rotation: RotatedBy = RotatedBy.own,
    mask_diameter_angstrom: float | None = None,
    graded_wedge: bool = True,
    expert: Sequence[str] | None = None,
) -> MineSettings:
    """Settings of a preset with the options that were given."""
    given = {
        "candidate_k": None if candidate_k is None else parse_candidate_k(candidate_k),
        "max_iterations": max_iterations,
        "width": width,
        "seed": seed,
        "k_criterion": k_criterion.value,
        "precision": precision.value,
        "n_devices": n_devices,
        "rotation": rotation.value,
        "mask_diameter_angstrom": mask_diameter_angstrom,
        "graded_wedge": graded_wedge,
        "sorting": sorting_constants(expert) if expert else None,
    }
    return MineSettings.from_preset(
        preset.value, **{k: v for k, v in given.items() if v is not None}
    )


def sorting_constants(given: Sequence[str]) -> SortingSettings:
    """Constants of the sorting from ``NAME=VALUE``, the value as in JSON.

    Raises
    ------
    InputError
        If a text is something else, or there is no such constant.
    """
    changes: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        *groups, last = name.strip().split(".")
        own = changes
        try:
            for group in groups:
                own = own.setdefault(group, {})
            own[last] = json.loads(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"--expert takes NAME=VALUE, such as merging.one_z=-2; got {text!r}."
            ) from error
    return SortingSettings.checked(**changes)


def workers_given(
    workers: int | None, scheduler: str | None, cluster: JobsOf | None, config: Path | None
) -> AbstractContextManager[Executor | None]:
    """An executor as the options say; None for this process."""
    from aitom_disca.computing.executors import tasks_on

    queue = None if cluster is None else cluster.value
    return tasks_on(workers=workers, scheduler=scheduler, queue=queue, config=config)


def part_given(text: str | None) -> Part | None:
    """The part of ``--part``; None for all."""
    from aitom_disca.pipeline.array_job_parts import Part

    return None if text is None else Part.given(text)
