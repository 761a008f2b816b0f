"""Simulated cells as files: tomograms of int8, protein dark, their tilts and their truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import mrcfile
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import replacing, write_text
from aitom_disca.progress import say
from aitom_disca.simulation.cell.cell import grow_cell, image_cell
from aitom_disca.simulation.cell.imaging import reconstruct
from aitom_disca.simulation.cell.recipe import LEVELS, CellRecipe, Imaging
from aitom_disca.simulation.cell.truth import write_truth
from aitom_disca.simulation.phantoms import Template

_DEVIATION = 25  # grey values of one standard deviation


def write_cell(
    folder: str | Path,
    name: str,
    recipe: CellRecipe,
    imaging: Imaging,
    templates: Mapping[str, Template],
    seed: int,
    levels: Sequence[str] = tuple(LEVELS),
) -> list[Path]:
    """Simulate one cell and write ``NAME_LEVEL.mrc``, ``.tlt`` and ``truth_NAME.csv``.

    ``surroundings_NAME.mrc.gz`` marks bilayers (1) and filaments (2).

    The truth is written first; a tomogram that is there is whole. All levels show the same cell
    through the same lens; only the electrons that are counted differ.

    Parameters
    ----------
    folder : path
    name : str
        The tomogram's name in the truth.
    recipe : CellRecipe
    imaging : Imaging
    templates : mapping of str to Template
    seed : int
    levels : sequence of str
        Of `LEVELS`.

    Returns
    -------
    list of Path
        The tomograms.

    Raises
    ------
    InputError
        If there is no such level.
    """
    _check(levels)
    folder = Path(folder)
    paths = [folder / f"{name}_{level}.mrc" for level in levels]
    cell = grow_cell(recipe, templates, seed)
    write_truth(folder / f"truth_{name}.csv", {name: cell.placed})
    voxel = recipe.voxel_size_angstrom
    _write_int8(folder / f"surroundings_{name}.mrc.gz", cell.surroundings_zyx, voxel)
    series = image_cell(cell, recipe, imaging, seed)
    for path, level in zip(paths, levels, strict=True):
        electrons = LEVELS[level] * imaging.counted_part
        say(f"{path.stem}: {electrons:g} electrons per square angstrom and tilt")
        images = series.counted(electrons, np.random.default_rng((seed, 2)))
        write_text(path.with_suffix(".tlt"), _lines(f"{t:.2f}" for t in imaging.tilts_deg))
        volume = reconstruct(images, imaging, recipe.shape_zyx[0])
        _write_int8(path, _grey(volume), voxel)
    return paths


def _check(levels: Sequence[str]) -> None:
    for level in levels:
        if level not in LEVELS:
            raise InputError(f"there is no level {level!r}; choose from {', '.join(LEVELS)}.")


def _lines(texts: Iterable[str]) -> str:
    return "".join(text + "\n" for text in texts)


def _grey(volume_zyx: np.ndarray) -> np.ndarray:
    """Zero mean and a standard deviation of 25, cut at 127."""
    scaled = (volume_zyx - volume_zyx.mean()) * (_DEVIATION / volume_zyx.std())
    return np.clip(np.rint(scaled), -127, 127)


def _write_int8(path: Path, volume_zyx: np.ndarray, voxel_size_angstrom: float) -> None:
    compression = "gzip" if path.suffix == ".gz" else None
    with (
        replacing(path) as temporary,
        mrcfile.new(temporary, compression=compression, overwrite=True) as mrc,
    ):
        mrc.set_data(volume_zyx.astype(np.int8))
        mrc.set_volume()
        mrc.voxel_size = voxel_size_angstrom


def surroundings_of(truth_file: str | Path) -> dict[str, np.ndarray]:
    """The surroundings, (z, y, x) as in `Cell`, that lie beside ``truth_NAME.csv``, by that name.

    Empty where there are none.
    """
    truth_file = Path(truth_file)
    name = truth_file.stem.removeprefix("truth_")
    path = truth_file.with_name(f"surroundings_{name}.mrc.gz")
    if not path.is_file():
        return {}
    with mrcfile.open(path) as mrc:
        return {name: np.array(mrc.data)}
