"""The report of a run, and of a run that was finished before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram, open_store, open_tomogram
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.disk.reading import reading
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder


def make_report(
    folder: RunFolder,
    store: str | Path,
    tomograms: Sequence[Tomogram] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Write ``report.html`` from what the run has written so far."""
    from aitom_disca.report.collect import collect
    from aitom_disca.report.html import render_report

    with _results(folder):
        text = render_report(collect(folder, store, tomograms, notes))
    write_text(folder.report, text)
    return {}


def _results(folder: RunFolder) -> AbstractContextManager[None]:
    todo = f"its {folder.record_file.name} may be damaged"
    return reading(folder.path, "the results of a run", todo)


def report_again(path: str | Path) -> Path:
    """Write the report of a finished run again; return where it lies.

    Raises
    ------
    InputError
        If the folder holds no finished run, or its store is gone.
    """
    folder = finished_run(path)
    store = store_of(folder)
    tomograms: list[Tomogram] = []
    notes: list[str] = []
    if folder.record["command"] == "run":
        with _results(folder):
            dark = bool(folder.record["settings"]["dark_protein"])
            now_at = dict(zip(folder.record["inputs"], folder.inputs(), strict=True))
        tomograms, notes = tomograms_of(store, dark, now_at)
    for note in notes:
        say(note)
    make_report(folder, store, tomograms, notes)
    return folder.report


def finished_run(path: str | Path) -> RunFolder:
    """The folder of a run that has clusters.

    Raises
    ------
    InputError
        If there is none.
    """
    folder = RunFolder.open(path)
    if "mine" not in folder.record["stages"]:
        raise InputError(f"the run in {path} has no clusters yet; finish it with --resume.")
    return folder


def store_of(folder: RunFolder) -> Path:
    """Where the store lies that a run sorted.

    Raises
    ------
    InputError
        If another one lies there now.
    """
    own = folder.record["command"] == "run"
    with _results(folder):
        store = folder.store if own else folder.inputs()[0]
    if store.exists():  # what is missing is said where it is opened
        folder.check_unchanged([] if own else [store])
    return store


def tomograms_of(
    store: str | Path, dark_protein: bool, now_at: Mapping[str, Path] | None = None
) -> tuple[list[Tomogram], list[str]]:
    """Open the tomograms that a store was cut from; and what is to be said of those that fail.

    ``now_at`` says where those lie now that have moved.
    """
    with open_store(store) as source:
        infos = source.particles().tomograms.values()
    opened, notes = [], []
    for info in infos:
        if info.path is None:
            continue
        try:
            tomogram = open_tomogram(
                (now_at or {}).get(str(info.path), info.path),
                voxel_size_angstrom=info.voxel_size_angstrom,
                tilt_range_deg=info.tilt_range_deg,
                dark_protein=dark_protein,
                name=info.name,
            )
        except InputError as error:
            notes.append(f"Tomogram {info.name} is not where it was, and not drawn: {error}")
            continue
        opened.append(tomogram)
    return opened, notes
