"""Parts of picking, extraction and prediction for the jobs of an array, and their merging."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from aitom_disca.config import ExtractSettings
from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram
from aitom_disca.io.disk.atomic import replacing, write_text
from aitom_disca.io.disk.npz import read_npz
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.stores.shards import remove_index, shard_files, shard_folder, write_index
from aitom_disca.io.stores.write_store import existing_store
from aitom_disca.particles import ParticleSet

if TYPE_CHECKING:
    from aitom_disca.mining.predicting import Prediction

Item = TypeVar("Item")
_SLURM = "SLURM_ARRAY_TASK_"
_NAME = re.compile(r"(.*)_part_(\d+)_of_(\d+)")


@dataclass(frozen=True)
class Part:
    """One of several equal parts of a job, counted from 1."""

    number: int
    of: int

    @classmethod
    def given(cls, text: str, environment: Mapping[str, str] = os.environ) -> Part:
        """The part that a text such as ``2/10`` names; ``auto``: that of a job of a SLURM array.

        Raises
        ------
        InputError
            If the text names none, or there is no array.
        """
        if text == "auto":
            text = _of_slurm_array(environment)
        match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        number, of = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= of:
            raise InputError(f"--part takes a part of so many, such as 2/10, or auto; got {text}.")
        return cls(number, of)

    def share(self, items: Sequence[Item], what: str) -> list[Item]:
        """The items that are this part: those that follow one another.

        Raises
        ------
        InputError
            If there are more parts than items.
        """
        if self.of > len(items):
            raise InputError(
                f"{self.of} parts are more than the {len(items)} {what} that there are; ask for "
                "fewer."
            )
        edges = np.linspace(0, len(items), self.of + 1).round().astype(int)
        return list(items[edges[self.number - 1] : edges[self.number]])

    def path(self, whole: str | Path) -> Path:
        """Where this part of a file lies: ``picks_part_02_of_10.csv``."""
        whole = Path(whole)
        number = str(self.number).zfill(len(str(self.of)))
        return whole.with_name(f"{whole.stem}_part_{number}_of_{self.of}{whole.suffix}")


def _of_slurm_array(environment: Mapping[str, str]) -> str:
    try:
        task, first, count = (int(environment[_SLURM + name]) for name in ("ID", "MIN", "COUNT"))
        step = int(environment.get(f"{_SLURM}STEP", 1))
    except (KeyError, ValueError) as error:
        raise InputError(
            f"--part auto is for jobs of a SLURM array, which have {error} and its like; give the "
            "part, such as 2/10."
        ) from error
    return f"{(task - first) // step + 1}/{count}"


def parts_of(whole: str | Path) -> list[Path]:
    """All parts of a file, in order.

    Raises
    ------
    InputError
        If there are none, one is missing, or they are of different numbers of parts.
    """
    whole = Path(whole)
    found = {}
    for path in whole.parent.glob(f"*_part_*_of_*{whole.suffix}"):
        match = _NAME.fullmatch(path.stem)
        if match and match[1] == whole.stem:
            found[int(match[2]), int(match[3])] = path
    counts = {of for _, of in found}
    if len(counts) != 1:
        why = f"parts of {' and of '.join(map(str, sorted(counts)))}" if counts else "no part"
        raise InputError(
            f"expected the parts of {whole.name} in {whole.parent}, but found {why}; make all "
            "parts of one number with --part, and remove others."
        )
    of = counts.pop()
    missing = [str(i) for i in range(1, of + 1) if (i, of) not in found]
    if missing:
        raise InputError(
            f"of {of} parts of {whole.name} number {', '.join(missing)} is missing; make it with "
            f"--part {missing[0]}/{of}."
        )
    return [found[i, of] for i in range(1, of + 1)]


# -- picks -------------------------------------------------------------------------------------


def merge_picks(path: Path) -> int:
    """Make the parts of a table of picks one; return how many picks there are."""
    texts = [part.read_text(encoding="utf-8") for part in parts_of(path)]
    heads, bodies = zip(*(text.partition("\n")[::2] for text in texts), strict=True)
    if len(set(heads)) > 1:
        raise InputError(
            f"the parts of {path.name} have different columns; pick all with the same options."
        )
    write_text(path, heads[0] + "\n" + "".join(bodies))
    return sum(body.count("\n") for body in bodies)


# -- subtomograms ------------------------------------------------------------------------------


def extract_part(
    tomograms: Sequence[Tomogram],
    particles: ParticleSet,
    path: str | Path,
    settings: ExtractSettings,
    part: Part,
    *,
    overwrite: bool = False,
) -> int:
    """Cut the subtomograms of a share of the tomograms into shards; return how many there are."""
    from aitom_disca.subtomograms.extract import extract_shards

    record = part.path(shard_folder(path) / "shards.json")
    if record.exists() and not overwrite:
        raise InputError(f"{record} is there already: this part was made; add --overwrite.")
    if Path(path).exists() and not overwrite:
        raise existing_store(path)
    names = [tomogram.name for tomogram in part.share(tomograms, "tomograms")]
    files = shard_files(path, dict.fromkeys(particles.tomogram_name.tolist()))
    own = [file for name, file in files.items() if name in names]
    remove_index(path)
    for stale in (record, *own):
        stale.unlink(missing_ok=True)
    n = extract_shards(tomograms, particles, path, settings, names)
    shards = [file.name for file in own if file.exists()]
    write_text(record, json.dumps({"subtomograms": n, "shards": shards}) + "\n")
    return n


def merge_shards(path: Path, *, overwrite: bool = False) -> int:
    """Make the shards of all parts one store; return how many subtomograms there are."""
    folder = shard_folder(path)
    names = []
    for record in parts_of(folder / "shards.json"):
        names += json.loads(record.read_text(encoding="utf-8"))["shards"]
    if not names:
        raise InputError(f"no part of {path.name} holds a subtomogram; look at the picks.")
    return write_index(path, [folder / name for name in names], overwrite=overwrite)


# -- predictions -------------------------------------------------------------------------------


def write_predicted(path: Path, found: Prediction, about: dict[str, Any]) -> None:
    """Keep a part of a prediction, and of what it is."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, about=json.dumps(about), **found._asdict())


def read_predicted(folder: Path) -> tuple[Prediction, dict[str, Any]]:
    """All parts of a prediction as one.

    Raises
    ------
    InputError
        If parts are missing, or of different predictions.
    """
    from aitom_disca.mining.predicting import Prediction

    parts, abouts = [], []
    for path in parts_of(folder / "predicted.npz"):
        kept = read_npz(path, "a part of a prediction", "make that part again")
        with reading(path, "a part of a prediction", "make that part again"):
            parts.append(Prediction(*(kept[name] for name in Prediction._fields)))
            abouts.append(json.loads(str(kept["about"])))
    if any(about != abouts[0] for about in abouts):
        raise InputError(
            f"the parts in {folder} are of different predictions; make all with the same options."
        )
    return Prediction.joined(parts), abouts[0]
