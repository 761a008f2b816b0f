"""Tomograms that a file only numbers, and the list beside it that names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.formats.file_text import read_text, warn_of_end
from aitom_disca.io.formats.format import Known, tomogram_numbers
from aitom_disca.io.numbers_in_files import to_whole_numbers
from aitom_disca.io.tomogram_names import is_called
from aitom_disca.particles import ParticleSet


def numbers_of_tomograms(particles: ParticleSet, column: str) -> dict[str, int]:
    """Number of every tomogram: of a further column if that tells them apart, else from 1."""
    names = particles.tomogram_name.tolist()
    if column in particles.more:
        pairs = set(zip(names, _integers(particles.more[column]), strict=True))
        numbers = dict(pairs)
        if (
            len(pairs) == len(numbers) == len(set(numbers.values()))
            and None not in numbers.values()
        ):
            return {str(name): int(numbers[name]) for name in dict.fromkeys(names)}
    return tomogram_numbers(particles)


def _integers(column: np.ndarray) -> list[int | None]:
    values = pd.to_numeric(pd.Series(column), errors="coerce")
    return [int(v) if np.isfinite(v) else None for v in values]


def _read_number_map(path: Path) -> dict[int, str]:
    """Lines of a number and the name or file of a tomogram; empty if there is no such file.

    Raises
    ------
    InputError
    """
    if not path.is_file():
        return {}
    found: dict[int, str] = {}
    text = read_text(path)
    warn_of_end(path, text)
    for line in text.splitlines():
        words = line.split(maxsplit=1)
        if not words:
            continue
        if len(words) < 2 or not re.fullmatch(r"-?\d+", words[0], re.ASCII):
            raise InputError(
                f"{path.name} needs lines of a number and the file of a tomogram; found: {line!r}."
            )
        number, name = int(words[0]), words[1].strip()
        if found.setdefault(number, name) != name:
            raise InputError(
                f"{path.name} gives two tomograms the number {number} ({found[number]}, {name}); "
                "give each a number of its own."
            )
    return found


def number_map_text(
    numbers: Mapping[str, int], particles: ParticleSet, known: Known, block: str
) -> str:
    """Lines of a number and a tomogram: its file, where that is known, else its name.

    ``block`` is the one of `files_of_numbers`.
    """
    before = dict(particles.more_blocks.get(block, ()))
    lines = []
    for name, number in numbers.items():
        info = known.tomograms.get(name) or particles.tomograms.get(name)
        choices = [str(info.path) if info and info.path else None, before.get(name)]
        # a file of another name would be read as another tomogram
        fitting = [path for path in choices if path and is_called(path, name)]
        lines.append(f"{number} {fitting[0] if fitting else name}\n")
    return "".join(lines)


def files_of_numbers(names: np.ndarray, files: Iterable[str]) -> list[tuple[str, str]]:
    """Names of tomograms and their files as `names_of_numbers` gave them, to be kept as a block."""
    return list(dict.fromkeys(zip(names.tolist(), files, strict=True)))


def names_of_numbers(
    values: Any, path: str | Path, column: str, beside: Path, known: Known
) -> list[str]:
    """Names of tomograms that a file only numbers: from the list beside it, else as given.

    Else they are called by their numbers.

    Parameters
    ----------
    values : array_like of shape (N,)
        Number of the tomogram of every particle.
    path, column : path, str
        Where the numbers stand, for errors.
    beside : Path
        Lines of a number and the name or file of a tomogram; it need not be there.
    known : Known

    Raises
    ------
    InputError
        If a number is none, is the name of a tomogram of another number, or one name is given for
        several.
    """
    names = _read_number_map(beside)
    numbers = to_whole_numbers(values, path, column)
    unnamed = sorted({int(n) for n in numbers.tolist()} - set(names))
    own = {n: str(n) for n in unnamed}
    if known.tomogram_name is not None and len(unnamed) > 1:
        raise InputError(
            f"there are particles in tomograms of the numbers {', '.join(own.values())}, which "
            f"--tomogram-name calls {known.tomogram_name} all; give the names in a list beside the "
            "file."
        )
    if known.tomogram_name is not None:
        own = dict.fromkeys(own, known.tomogram_name)
    taken = sorted(set(own.values()) & set(names.values()))
    if taken:
        raise InputError(
            f"there are particles in a tomogram of the number {taken[0]}, but the list of "
            "tomograms calls another so; name them all there."
        )
    return [names.get(int(n)) or own[int(n)] for n in numbers.tolist()]
