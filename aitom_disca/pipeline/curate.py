"""Decisions about the clusters of a run: its labels and star files follow them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from aitom_disca.config import MineSettings, RelionVersion
from aitom_disca.curation import Curated, Curation, Decision, apply_decisions
from aitom_disca.curation.averages import command_to_average, mark_averages
from aitom_disca.curation.curation_file import read_record
from aitom_disca.curation.replay import apply_one, in_force
from aitom_disca.errors import InputError
from aitom_disca.io import open_store
from aitom_disca.io.disk.reading import reading
from aitom_disca.number_text import counted
from aitom_disca.pipeline.labels_of_store import labels_of_store, particles_digest
from aitom_disca.pipeline.report import store_of
from aitom_disca.pipeline.split_cluster import split_again
from aitom_disca.pipeline.star_files import write_stars
from aitom_disca.runs.run_folder import RunFolder


def curate(
    results: str | Path,
    decisions: Sequence[Decision],
    *,
    replay: str | Path | None = None,
    store: str | Path | None = None,
    relion: RelionVersion = "3.1",
    star_files: bool = True,
) -> str:
    """Add decisions about the clusters in a folder; write its labels and star files anew.

    Parameters
    ----------
    results : path
        Folder with ``labels.csv``.
    decisions : sequence of Decision
        One to split a cluster needs no parts yet: its members are sorted again.
    replay : path, optional
        ``curation.json`` of other results: those of its decisions that count come first. What it
        split is split alike where the members are the same, and sorted again where they are not.
    store : path, optional
        Of the subtomograms; by default the folder's own. Where there is none, no star files are
        written.
    relion : {"3.1", "5"}
    star_files : bool
        Whether they are written, or left as they are until `write_stars` is called.

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
    source = store_of_results(results, store)
    digest = ""
    if source is not None:
        with open_store(source) as opened:
            labels_of_store(opened, curation.labels_file)  # others are refused now
            digest = particles_digest(opened)
    if curation.particles_sha256 and digest and curation.particles_sha256 != digest:
        raise InputError(
            f"{source} holds other particles than those that {curation.file} is about; give the "
            "store that was sorted."
        )
    earlier = [] if replay is None else _replayed(replay, digest)
    made = _fitted(curation, [*earlier, *(("", one) for one in decisions)], source, results)
    curated = curation.add(made, particles_sha256=digest)
    averages = RunFolder(results).averages
    now = mark_averages(averages)
    left = counted(len(curated.clusters()), "cluster")
    said = f"{counted(len(made), 'decision')} added, {left} left"
    if source is None:
        return f"{said}; no store is known, so that no star files were written (--store)"
    if star_files:
        write_stars(source, curation.labels_file, results, relion=relion)
    if now.changed:
        outdated = ", ".join(f"cluster {k}: {why}" for k, why in sorted(now.changed.items()))
        said += f"; averages, and their star files, are of before: {outdated}; make them again: "
        said += command_to_average(now, source, averages)
    return said


def _replayed(path: str | Path, digest: str) -> list[tuple[str, Decision]]:
    """Decisions of other results that count, each with where it stands.

    Of splits what holds for the particles of those results alone is taken out.

    Raises
    ------
    InputError
        If particles were moved, and they are not those of the store with this digest.
    """
    record = read_record(path)
    was, found = record["particles_sha256"], []
    others = bool(was and digest and was != digest)
    for number, one in in_force(record["decisions"]):
        where = f"decision {number} of {path}"
        if others and one.action == "move":
            raise InputError(
                f"{where} ({one}) does not fit: it is about particles of another store."
            )
        anew = others and one.action == "split"
        found.append((where, replace(one, parts=(), particles=()) if anew else one))
    return found


def _fitted(
    curation: Curation,
    given: Sequence[tuple[str, Decision]],
    store: Path | None,
    results: str | Path,
) -> list[Decision]:
    """Decisions that fit one after the other; those to split a cluster get its parts.

    Raises
    ------
    InputError
        If one does not fit; it is said where it stands.
    """
    curated, made = curation.curated(), list[Decision]()
    for where, decision in given:
        number, one = len(curation.decisions) + len(made) + 1, decision
        if one.action == "undo":
            every = [*curation.decisions, *made, one]
            curated = apply_decisions(curation.sorted, every, n_clusters=curation.n_clusters)
            made.append(one)
            continue
        try:
            if one.action == "split" and not _has_its_parts(curated, one):
                one = with_parts(curated, one, store, results)
            apply_one(curated, number, one)
        except InputError as error:
            place = where or f"decision {number}"
            raise InputError(f"{place} ({decision}) does not fit: {error}") from error
        made.append(one)
    return made


def _has_its_parts(curated: Curated, one: Decision) -> bool:
    rows = {*one.particles, *(row for part in one.parts for row in part)}
    members = (curated.labels == one.clusters[0] - 1).nonzero()[0]
    return bool(one.parts) and rows == {*members.tolist()}


def with_parts(
    curated: Curated, one: Decision, store: Path | None, results: str | Path
) -> Decision:
    """The decision to split a cluster of a run, with what sorting its members again gives.

    Parameters
    ----------
    curated : Curated
        After all decisions that come before.
    one : Decision
    store : path, optional
        Of the subtomograms.
    results : path
        Whose settings hold.

    Raises
    ------
    InputError
        If no store is known, or as `split_again`.
    """
    if store is None:
        raise InputError(
            f"cluster {one.clusters[0]} can be split with its subtomograms only, and no store is "
            "known; give it with --store."
        )
    with open_store(store) as opened:
        return split_again(opened, curated, one, settings_of(results))


def settings_of(results: str | Path) -> MineSettings:
    """As a run sorted; as usual, where the folder is none of a run that did."""
    folder = RunFolder(results)
    if folder.record_file.is_file():
        record = RunFolder.open(results).record
        with reading(folder.record_file, "the record of a run"):
            given = record["settings"].get("mine")
            return MineSettings() if given is None else MineSettings(**given)
    return MineSettings()


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
        members = counted(int((curated.labels == cluster - 1).sum()), "subtomogram")
        name = f" {curated.names[cluster]}" if cluster in curated.names else ""
        yield f"cluster {cluster}{name}: {members}"
    yield f"in none: {int((curated.labels < 0).sum())}"


def store_of_results(results: str | Path, store: str | Path | None) -> Path | None:
    """The store that was given, or that a run was made of."""
    if store is not None:
        return Path(store)
    folder = RunFolder(results)
    has_record = folder.record_file.is_file()
    found = store_of(RunFolder.open(results)) if has_record else folder.store
    return found if found.is_file() else None
