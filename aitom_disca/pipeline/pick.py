"""Pick particles in tomograms, one after the other or as tasks, each kept as soon as it is done."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aitom_disca.computing.parallel import in_tasks
from aitom_disca.config import PickSettings
from aitom_disca.io import (
    Tomogram,
    read_mask,
)
from aitom_disca.io.file_names import file_parts
from aitom_disca.number_text import counted
from aitom_disca.particles import ParticleSet
from aitom_disca.progress import say

if TYPE_CHECKING:
    from aitom_disca.picking import Candidates

logger = logging.getLogger(__name__)


def pick_tomograms(
    tomograms: Sequence[Tomogram], settings: PickSettings, *, mask: np.ndarray | None = None
) -> ParticleSet:
    """Pick the particles of several tomograms; parameters and errors as in `find_in_tomograms`."""
    return find_in_tomograms(tomograms, settings, mask=mask).particles


def find_in_tomograms(
    tomograms: Sequence[Tomogram],
    settings: PickSettings,
    *,
    mask: np.ndarray | Path | None = None,
    executor: Executor | None = None,
    keep: Path | None = None,
) -> Candidates:
    """Pick the particles of several tomograms, tomogram by tomogram, and set junk apart.

    Parameters
    ----------
    tomograms : sequence of Tomogram
    settings : PickSettings
    mask : ndarray of bool, axes z, y, x, or path of an MRC file, optional
        Where picks may lie, in every tomogram.
    executor : Executor, optional
        Computes tomograms as its tasks.
    keep : path, optional
        Folder in which each tomogram that is done is kept, and not done again.

    Raises
    ------
    InputError
        If a tomogram or its membranes cannot be used.
    """
    from aitom_disca.picking import join_candidates

    parts = []
    if settings.membranes:  # whose files are read wherever the task is done
        absolute = tuple(str(Path(path).absolute()) for path in settings.membranes)
        settings = settings.model_copy(update={"membranes": absolute})
    file_names = file_parts(tomogram.name for tomogram in tomograms)
    tasks = [
        (one, None if keep is None else keep.absolute() / f"{file_names[one.name]}.npz")
        for one in tomograms
    ]
    find = partial(_find, settings=settings, mask=mask)
    found_in = in_tasks(find, tasks, executor, "picking")
    for tomogram, found in zip(tomograms, found_in, strict=True):
        apart = "".join(f", {len(junk)} {kind}" for kind, junk in found.junk.items())
        say(f"{tomogram.name}: {counted(len(found.particles), 'pick')}{apart}")
        for reason in found.reasons.values():
            logger.warning("%s", reason)
        parts.append(found)
    return join_candidates(parts)


def _find(
    task: tuple[Tomogram, Path | None], settings: PickSettings, mask: np.ndarray | Path | None
) -> Candidates:
    """Pick the particles of a tomogram, unless they are kept in the task's file."""
    from aitom_disca.picking import find_candidates, read_membranes
    from aitom_disca.picking.kept_picks import read_candidates, write_candidates

    tomogram, kept = task
    if kept is not None and kept.exists():
        return read_candidates(kept, tomogram)
    picker = None
    if settings.picker == "aitom":
        from aitom_disca.bridge import aitom_picker

        picker = aitom_picker()
    membranes = read_membranes(tomogram, settings.membranes)
    mask = read_mask(mask) if isinstance(mask, Path) else mask
    found = find_candidates(tomogram, settings, mask=mask, membranes=membranes, picker=picker)
    if kept is not None:
        write_candidates(kept, found)
    return found
