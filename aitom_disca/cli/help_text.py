"""What ``--help`` shows: whole names within 80 columns, and first what is needed most."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

ALWAYS, OFTEN = "Always", "Often"
RARELY = "Rarely"


def rarely(subject: str) -> str:
    """Heading of the options of a subject that few need."""
    return f"{RARELY}: {subject}"


class Command(TyperCommand):
    """A command whose options stand in groups by how often they are needed.

    Arguments and required options are always needed; others say their group as
    ``rich_help_panel``, and are often needed if they say none.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section a group."""
        groups: dict[str, list[tuple[str, str]]] = {ALWAYS: [], OFTEN: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(group_of(parameter), []).append(_plain(*record))
        _write(formatter, groups)


class Commands(TyperGroup):
    """The program, whose commands stand in groups by what they are for."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section a group, with the first sentence of every command whole."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            sentence = " ".join((command.help or "").partition("\n\n")[0].split())
            groups.setdefault(command.rich_help_panel or "Commands", []).append((name, sentence))
        _write(formatter, groups)


def group_of(parameter: Any) -> str:
    """The group of the help in which an argument or an option stands."""
    if parameter.required or parameter.param_type_name == "argument":
        return ALWAYS
    return getattr(parameter, "rich_help_panel", None) or OFTEN


def _plain(name: str, text: str) -> tuple[str, str]:
    """A name with what kind of value follows in one word, and a text as older Typers write it."""
    kind = re.sub(r"<(?:list\[)?(\w+)(?: range)?\]?>", lambda found: f"<{found[1].lower()}>", name)
    return kind, text.replace(r"\[", "[")


def _write(formatter: Any, groups: dict[str, list[tuple[str, str]]]) -> None:
    """Write sections of names, bold where that can be seen, and texts; long names stand alone."""
    for heading, rows in groups.items():
        if rows:
            with formatter.section(heading):
                formatter.write_dl([(typer.style(name, bold=True), text) for name, text in rows])
