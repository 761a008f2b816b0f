"""How options are declared: a group of the help, names, and a text."""

from __future__ import annotations

from typing import Any

import typer


def option(group: str, *names: str, text: str, **rest: Any) -> Any:
    """An option in a group of `aitom_disca.cli.help_text`."""
    return typer.Option(*names, help=text, rich_help_panel=group, **rest)


def described(settings: type, name: str) -> str:
    """What a setting says of itself."""
    return settings.model_fields[name].description or ""  # type: ignore[attr-defined]
