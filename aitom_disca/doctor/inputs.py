"""What files are, so that they can be given in any order: tomograms, particle files, stores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aitom_disca.io.formats import format_of
from aitom_disca.io.formats.read_particles import is_store


@dataclass(frozen=True)
class Inputs:
    """Paths by what they hold."""

    tomograms: list[Path] = field(default_factory=list)
    picks: list[Path] = field(default_factory=list)
    stores: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Inputs:
        """Sort paths: stores by their names, files of particles by what stands in them.

        Everything else is taken for a tomogram, a list of them, or a folder that holds some.
        """
        found = cls()
        for path in paths:
            if is_store(path):
                found.stores.append(path)
            elif path.suffix.lower() == ".csv" or (path.is_file() and format_of(path)):
                found.picks.append(path)
            else:
                found.tomograms.append(path)
        return found
