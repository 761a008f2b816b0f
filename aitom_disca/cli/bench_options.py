"""What `aitom-disca bench` is asked for, and what was meant."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aitom_disca.errors import InputError

if TYPE_CHECKING:
    pass

Cases = Annotated[
    list[str] | None,
    typer.Option("--cases", help="Only this case (repeatable); --list names them."),
]
Methods = Annotated[
    list[str] | None,
    typer.Option("--methods", help="Only this method (repeatable); --list names them."),
]


class What(StrEnum):
    """What can be measured."""

    accuracy = "accuracy"
    speed = "speed"
    size = "size"
    selection = "selection"
    alignment = "alignment"
    averages = "averages"
    refinement = "refinement"
    merges = "merges"
    few = "few"
    cells = "cells"
    device = "device"


class Level(StrEnum):
    """How many electrons a simulated cell was seen with."""

    good = "good"
    mid = "mid"
    raw = "raw"


def split_names(names: list[str] | None) -> list[str]:
    """Names given one by one or joined by commas."""
    return [part for name in names or [] for part in name.split(",") if part]


def parse_seeds(text: str) -> list[int]:
    """Seeds from ``0-4``, ``0,3`` or a mixture of both.

    Raises
    ------
    InputError
        If the text is neither.
    """
    try:
        pairs = [part.strip().partition("-") for part in text.split(",")]
        found = [s for low, dash, high in pairs for s in range(int(low), int(high or low) + 1)]
    except ValueError as error:
        raise InputError(f"--seeds takes numbers such as 0-4 or 0,3; got {text!r}.") from error
    if not found:
        raise InputError(f"--seeds takes numbers such as 0-4, smallest first; got {text!r}.")
    return sorted(set(found))


def parse_sizes(text: str, option: str = "--sizes") -> list[int]:
    """Numbers of subtomograms from ``500,2000``, as an option was given.

    Raises
    ------
    InputError
        If the text is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"{option} takes numbers such as 500,2000,8000; got {text!r}.")
    return [int(part) for part in parts]


def parse_changes(texts: list[str]) -> dict[str, Any]:
    """Settings from ``NAME=VALUE``, the value as in JSON, or a word.

    Raises
    ------
    InputError
        If there is no name or no value.
    """
    changes = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise InputError(f"--set takes NAME=VALUE, such as width=0.25; got {text!r}.")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes
