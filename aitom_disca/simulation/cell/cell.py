"""Simulate a cell as a tomogram, from its recipe to its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aitom_disca.progress import say, track
from aitom_disca.simulation.cell import bilayers as layers
from aitom_disca.simulation.cell import surroundings as around
from aitom_disca.simulation.cell.growing import GrowingCell, Placed, reach_px
from aitom_disca.simulation.cell.imaging import CleanSeries, tilt_series
from aitom_disca.simulation.cell.recipe import CellRecipe, Imaging
from aitom_disca.simulation.phantoms import Template

_SMALLEST_MARGIN_PX = 20
_VESICLE_RADIUS = (0.08, 0.14)  # of the shorter edge across the beam


@dataclass(frozen=True)
class Cell:
    """A cell that has grown.

    Parameters
    ----------
    density_zyx : ndarray of float32, shape (z, y, x)
        Mean of protein 1, gold far above.
    ice_zyx : ndarray of bool, same shape
    surroundings_zyx : ndarray of uint8, same shape
        1 in bilayers, 2 in filaments, 0 elsewhere.
    placed : list of Placed
        The truth.
    filled_fraction : float
        Of the ice on the cell's side of the bounding bilayer.
    """

    density_zyx: np.ndarray
    ice_zyx: np.ndarray
    surroundings_zyx: np.ndarray
    placed: list[Placed]
    filled_fraction: float


def grow_cell(recipe: CellRecipe, templates: Mapping[str, Template], seed: int) -> Cell:
    """Grow a cell: the largest first, as the last ones find room between them."""
    rng = np.random.default_rng((seed, 0))
    size = recipe.voxel_size_angstrom
    margin_px = 1 + max(_SMALLEST_MARGIN_PX, *(reach_px(t, size) for t in templates.values()))
    cell = GrowingCell(recipe.shape_zyx, size, rng, margin_px)
    around.fill_ice(cell, recipe.ice_angstrom, recipe.ice_change)
    bilayers = [layers.add_sheet(cell)] if recipe.sheet else []
    room = cell.free_px()
    _add_surroundings(cell, recipe, templates, bilayers)
    wanted = recipe.abundant_counts(rng)
    _place_all(cell, templates, wanted, "abundant")
    _place_all(cell, templates, dict.fromkeys(recipe.fillers, recipe.n_fillers), "filler")
    globules = around.add_globules(cell, round((1 - recipe.filled_fraction) * room))
    filled = 1 - cell.free_px() / room
    say(f"{len(cell.placed)} particles and {globules} globules fill {filled:.3f} of the cell")
    inside = cell.inside
    return Cell(
        cell.density[inside], cell.ice[inside], cell.surroundings[inside], cell.placed, filled
    )


def image_cell(cell: Cell, recipe: CellRecipe, imaging: Imaging, seed: int) -> CleanSeries:
    """The tilt series of a cell before electrons are counted."""
    rng = np.random.default_rng((seed, 1))
    return tilt_series(cell.density_zyx, cell.ice_zyx, recipe.voxel_size_angstrom, imaging, rng)


def _add_surroundings(
    cell: GrowingCell,
    recipe: CellRecipe,
    templates: Mapping[str, Template],
    bilayers: list[layers.Bilayer],
) -> None:
    """Vesicles and what sits in bilayers, then gold and filaments."""
    edge = min(recipe.shape_zyx[1:]) * recipe.voxel_size_angstrom
    radii = (_VESICLE_RADIUS[0] * edge, _VESICLE_RADIUS[1] * edge)
    made = [layers.add_vesicle(cell, radii) for _ in range(recipe.n_vesicles)]
    bilayers = bilayers + [vesicle for vesicle in made if vesicle is not None]
    if recipe.membrane is not None and bilayers:
        for _ in range(recipe.n_membrane):
            layers.add_membrane_complex(cell, templates[recipe.membrane], bilayers)
    for _ in range(recipe.n_gold):
        around.add_gold(cell)
    for _ in range(recipe.n_microtubules):
        around.add_microtubule(cell)
    for _ in range(recipe.n_actin):
        around.add_actin(cell)


def _place_all(
    cell: GrowingCell, templates: Mapping[str, Template], wanted: Mapping[str, int], role: str
) -> None:
    """Place so many of each kind, the largest kind first; warn where there was no room."""
    for name in sorted(wanted, key=lambda name: -templates[name].radius_angstrom):
        template = templates[name]
        tries = track(range(wanted[name]), f"placing {name}")
        done = sum(cell.place(template, role) for _ in tries)
        if done < wanted[name]:
            say(f"only {done} of {wanted[name]} {name} found room")
