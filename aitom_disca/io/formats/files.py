"""What readers and writers of particle files share: packages, text, file names."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from aitom_disca.errors import InputError
from aitom_disca.particles import ParticleSet


def library(name: str, title: str) -> Any:
    """A module of a package that not everybody has.

    Raises
    ------
    InputError
        If it is missing.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"{title} needs the package {name.split('.')[0]}; install it with "
            "pip install 'aitom-disca[exports]'."
        ) from error


def head(path: Path, n_bytes: int = 65536) -> str:
    """The beginning of a file as text, empty where it cannot be read: for recognisers."""
    try:
        with open(path, "rb") as file:
            return file.read(n_bytes).decode("utf-8", errors="replace")
    except OSError:
        return ""


def read_text(path: str | Path) -> str:
    """Text of a file.

    Raises
    ------
    InputError
        If it is not there, or no text.
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not a text file; check which file this is.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error


def read_json(path: str | Path) -> Any:
    """Content of a JSON file.

    Raises
    ------
    InputError
        If it is not there, or no JSON.
    """
    return parse_json(read_text(path), Path(path).name)


def parse_json(text: str, where: str) -> Any:
    """Content of JSON text; ``where`` names it in the error.

    Raises
    ------
    InputError
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}); check which file this is.") from error


def one_file_per_tomogram(
    path: str | Path, particles: ParticleSet
) -> list[tuple[Path, str, ParticleSet]]:
    """File, tomogram and its particles: ``OUT`` for one tomogram, else ``OUT_name.suffix``."""
    path = Path(path)
    names = list(dict.fromkeys(particles.tomogram_name.tolist()))
    parts = []
    for name in names:
        own = path
        if len(names) > 1:
            own = path.with_name(f"{path.stem}_{file_part(name)}{path.suffix}")
        parts.append((own, str(name), particles.select(particles.tomogram_name == name)))
    return parts


def file_part(name: str) -> str:
    """A name without what file names cannot hold."""
    return re.sub(r'[<>:"/\\|?*\s]+', "-", str(name)).strip("-") or "tomogram"
