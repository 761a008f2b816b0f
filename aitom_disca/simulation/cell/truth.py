"""The truth of a cell as a table: class, role, place, pose and radius of every particle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation
from aitom_disca.io.numbers_in_files import to_numbers
from aitom_disca.io.result_tables import read_rows_csv, write_rows_csv
from aitom_disca.simulation.cell.growing import Placed

COLUMNS = ("tomogram", "class", "role", "x", "y", "z", "rot", "tilt", "psi", "radius_px")


@dataclass(frozen=True)
class CellTruth:
    """Particles of one or several tomograms.

    Parameters
    ----------
    tomogram, kind, role : ndarray of str, shape (n,)
    center_zyx_px : ndarray of shape (n, 3)
        Voxels from 0.
    euler_zyz_deg : ndarray of shape (n, 3)
        RELION's rot, tilt, psi.
    radius_px : ndarray of shape (n,)
    """

    tomogram: np.ndarray
    kind: np.ndarray
    role: np.ndarray
    center_zyx_px: np.ndarray
    euler_zyz_deg: np.ndarray
    radius_px: np.ndarray


def write_truth(path: str | Path, placed: Mapping[str, Sequence[Placed]]) -> None:
    """Write the particles of tomograms by their names; x, y, z in voxels from 0."""
    rows = []
    for tomogram, particles in placed.items():
        for particle in particles:
            z, y, x = particle.center_zyx_px
            angles = np.zeros(3)  # of what looks the same from everywhere
            if particle.rotation.magnitude() > 0:
                angles = euler_zyz_deg_from_rotation(particle.rotation)
            text = [f"{number:.3f}" for number in (x, y, z, *angles, particle.radius_px)]
            values = (tomogram, particle.kind, particle.role, *text)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    write_rows_csv(path, rows)


def read_truth(*paths: str | Path) -> CellTruth:
    """Read tables that `write_truth` wrote, or others with their columns, into one.

    Raises
    ------
    InputError
        If a column is missing, a value is no number, or there are no particles.
    """
    rows: list[dict[str, str]] = []
    for path in paths:
        found = read_rows_csv(path)
        missing = [name for name in COLUMNS if name not in found[0]]
        if missing:
            raise InputError(
                f"{path} must have the columns {', '.join(COLUMNS)} to be the truth of a cell; it "
                f"lacks {', '.join(missing)}."
            )
        rows += found
    text = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
    number = {name: to_numbers(text[name], paths[0], name) for name in COLUMNS[3:]}
    return CellTruth(
        tomogram=text["tomogram"],
        kind=text["class"],
        role=text["role"],
        center_zyx_px=np.stack([number[axis] for axis in "zyx"], axis=1),
        euler_zyz_deg=np.stack([number[name] for name in ("rot", "tilt", "psi")], axis=1),
        radius_px=number["radius_px"],
    )
