"""Tomograms that a file only numbers, and the list beside it that names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.formats.files import read_text
from aitom_disca.io.formats.format import Known, tomogram_numbers
from aitom_disca.io.mrc import tomogram_name
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


def read_number_map(path: Path) -> dict[int, str]:
    """Lines of a number and the name or file of a tomogram; empty if there is no such file.

    Raises
    ------
    InputError
    """
    if not path.is_file():
        return {}
    found = {}
    for line in read_text(path).splitlines():
        number, _, name = line.strip().partition(" ")
        if not number:
            continue
        if not number.lstrip("-").isdigit() or not name.strip():
            raise InputError(
                f"{path.name} needs lines of a number and the file of a tomogram; found: {line!r}."
            )
        found[int(number)] = name.strip()
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
        fitting = [path for path in choices if path and tomogram_name(path) == name]
        lines.append(f"{number} {fitting[0] if fitting else name}\n")
    return "".join(lines)


def files_of_numbers(numbers: Mapping[int, str]) -> list[tuple[str, str]]:
    """Names and files of tomograms from a map of numbers, to be kept as a further block."""
    return [(tomogram_name(path), path) for path in numbers.values()]


def names_of_numbers(numbers: np.ndarray, names: Mapping[int, str], known: Known) -> list[str]:
    """Names of tomograms that a file only numbers: from a map, the one given, or the number."""
    unique = set(numbers.tolist())
    if known.tomogram_name is not None and len(unique) == 1:
        return [known.tomogram_name] * len(numbers)
    return [names.get(int(n), str(int(n))) for n in numbers]
