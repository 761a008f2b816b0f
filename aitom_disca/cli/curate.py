"""The command that writes down what a person decides about clusters."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Annotated

import typer

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import Relion
from aitom_disca.cli.help_text import RARELY
from aitom_disca.curation.decisions import Action, Decision
from aitom_disca.errors import InputError
from aitom_disca.progress import say


def curate(
    results: Annotated[Path, typer.Argument(help="Folder with labels.csv, such as that of a run.")],
    merge: Annotated[
        list[str] | None,
        typer.Option(
            "--merge", help="Clusters that are one, such as 3+7 (repeatable): all become the first."
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", help="Clusters to leave out, such as 2 or 2,5 (repeatable)."),
    ] = None,
    junk: Annotated[
        list[str] | None,
        typer.Option(
            "--junk",
            help="Clusters that are junk, with the kind, such as 2=gold or 2,5 (repeatable).",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep-only", help="Leave out all but these clusters, such as 1,3."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="What a cluster is called, such as 5=ribosome (repeatable)."),
    ] = None,
    move: Annotated[
        list[str] | None,
        typer.Option(
            "--move",
            help="Particles by their index in labels.csv and where they belong, such as 12,15=3, "
            "or 12=0 for none (repeatable).",
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            help="Clusters whose members are sorted again, such as 4 (repeatable); the largest "
            "part keeps the number.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", help="Random seed of --split and --suggest.", min=0, rich_help_panel=RARELY
        ),
    ] = 0,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last decision back.")] = False,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay", help="curation.json of other results, whose decisions are made here too."
        ),
    ] = None,
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="Propose merges, drops, names and what to sort again, each with its reason and "
            "command; nothing is changed.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print what --suggest proposes as JSON.", rich_help_panel=RARELY
        ),
    ] = False,
    why: Annotated[str, typer.Option("--why", help="The reason, kept with the decisions.")] = "",
    who: Annotated[
        str | None,
        typer.Option(
            "--who",
            help="Whose decisions they are; by default your login name.",
            rich_help_panel=RARELY,
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            help="Store of the subtomograms, for the star files; by default that of the run.",
            rich_help_panel=RARELY,
        ),
    ] = None,
    relion: o.RelionVersion = Relion.v31,
) -> None:
    """Merge, drop, name, split clusters or move particles; labels and star files follow.

    Decisions are added to curation.json, beside labels.csv, in the order of the options here; each
    can be taken back. Without any, those made so far are listed. Clusters keep their numbers.

    Example: aitom-disca curate results --merge 3+7 --drop 2 --name 5=ribosome
    """
    from aitom_disca.pipeline.curate import curate as curate_results
    from aitom_disca.pipeline.curate import describe

    by = _login() if who is None else who
    decisions = [
        *(_of("merge", text, "+", why, by) for text in merge or []),
        *(_of("drop", text, ",", why, by) for text in drop or []),
        *(_with_name("junk", text, why, by) for text in junk or []),
        *([_of("keep", keep, ",", why, by)] if keep is not None else []),
        *(_with_name("name", text, why, by) for text in name or []),
        *(_moved(text, why, by) for text in move or []),
        *(_split(text, seed, why, by) for text in split or []),
        *([Decision("undo", why=why, who=by)] if undo else []),
    ]
    if suggest or as_json:
        if decisions or replay is not None or not suggest:
            raise InputError(
                "--suggest changes nothing; give it without decisions (--json with it)."
            )
        return _suggest(results, store, seed, as_json)
    if decisions or replay is not None:
        summary = curate_results(
            results, decisions, replay=replay, store=store, relion=relion.value
        )
        say(summary)
    for line in describe(results):
        say(line)


def _suggest(results: Path, store: Path | None, seed: int, as_json: bool) -> None:
    from aitom_disca.pipeline.suggest import suggest
    from aitom_disca.progress import muted

    if as_json:
        with muted():
            found = suggest(results, store=store, seed=seed)
        typer.echo(json.dumps(found.record(results), indent=1, ensure_ascii=False))
        return
    for line in suggest(results, store=store, seed=seed).lines(results):
        say(line)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for the user, as in some containers
        return ""


def _of(action: Action, text: str, separator: str, why: str, who: str) -> Decision:
    return Decision(action, _numbers(text, action, separator), why=why, who=who)


def _split(text: str, seed: int, why: str, who: str) -> Decision:
    clusters = _numbers(text, "split", ",")
    if len(clusters) != 1:
        raise InputError(f"--split takes one cluster, and may be given again; got {text!r}.")
    return Decision("split", clusters, seed=seed, why=why, who=who)


def _with_name(action: Action, text: str, why: str, who: str) -> Decision:
    clusters, equals, name = text.partition("=")
    if action == "name" and not equals:
        raise InputError(f"--name takes NUMBER=NAME, such as 5=ribosome; got {text!r}.")
    return Decision(action, _numbers(clusters, action, ","), name=name, why=why, who=who)


def _moved(text: str, why: str, who: str) -> Decision:
    rows, equals, cluster = text.partition("=")
    if not equals:
        raise InputError(
            f"--move takes INDEX,INDEX=CLUSTER, such as 12,15=3 or =0 for none; got {text!r}."
        )
    to = _numbers(cluster, "move", ",")
    if len(to) != 1:
        raise InputError(f"--move takes one cluster, or 0 for none; got {cluster!r}.")
    particles = _numbers(rows, "move", ",")
    return Decision("move", to if to[0] else (), particles, why=why, who=who)


def _numbers(text: str, option: str, separator: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(separator)]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise InputError(
            f"--{option} takes whole numbers joined by {separator!r}, such as 3{separator}7; got "
            f"{text!r}."
        )
    return tuple(map(int, parts))
