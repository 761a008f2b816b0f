"""Decisions about the clusters of a run: its labels and star files follow them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from aitom_disca.config import RelionVersion
from aitom_disca.curation import Curation, Decision
from aitom_disca.curation.apply import in_force
from aitom_disca.curation.averages import mark_averages
from aitom_disca.curation.record import read_record
from aitom_disca.pipeline.reports import store_of
from aitom_disca.pipeline.stages import write_stars
from aitom_disca.run_folder import RunFolder


def curate(
    results: str | Path,
    decisions: Sequence[Decision],
    *,
    replay: str | Path | None = None,
    store: str | Path | None = None,
    relion: RelionVersion = "3.1",
) -> str:
    """Add decisions about the clusters in a folder; write its labels and star files anew.

    Parameters
    ----------
    results : path
        Folder with ``labels.csv``.
    decisions : sequence of Decision
    replay : path, optional
        ``curation.json`` of other results: those of its decisions that count come first.
    store : path, optional
        Of the subtomograms; by default the folder's own. Where there is none, no star files are
        written.
    relion : {"3.1", "5"}

    Returns
    -------
    str
        What was done, in a sentence.

    Raises
    ------
    InputError
        If a decision does not fit, or the run's store has changed; then nothing is written.
    """
    curation = Curation(results)
    earlier: list[Decision] = []
    if replay is not None:
        earlier = [one for _, one in in_force(read_record(replay)["decisions"])]
    source = _store_of(results, store)
    curated = curation.add([*earlier, *decisions])
    outdated = mark_averages(RunFolder(results).averages)
    said = f"decisions: {len(earlier) + len(decisions)}, clusters left: {len(curated.clusters())}"
    if source is None:
        return f"{said}; no store is known, so that no star files were written (--store)"
    write_stars(source, curation.labels_file, results, relion=relion)
    if outdated:
        said += f"; averages made before them: {', '.join(outdated)}; average these again"
    return said


def describe(results: str | Path) -> Iterator[str]:
    """Lines that say what was decided, and what clusters there are."""
    curation = Curation(results)
    counting = {number for number, _ in in_force(curation.decisions)}
    for number, one in enumerate(curation.decisions, 1):
        undone = "" if number in counting or one.action == "undo" else " (undone)"
        why = f": {one.why}" if one.why else ""
        yield f"{number}. {one.date[:10]} {one.who} {one}{why}{undone}"
    curated = curation.curated()
    for cluster in curated.clusters():
        n = int((curated.labels == cluster - 1).sum())
        yield f"cluster {cluster} {curated.names.get(cluster, '')}: {n} subtomograms".replace(
            " :", ":"
        )
    yield f"in none: {int((curated.labels < 0).sum())}"


def _store_of(results: str | Path, store: str | Path | None) -> Path | None:
    """The store that was given, or that a run was made of."""
    if store is not None:
        return Path(store)
    folder = RunFolder(results)
    has_record = folder.record_file.is_file()
    found = store_of(RunFolder.open(results)) if has_record else folder.store
    return found if found.is_file() else None
