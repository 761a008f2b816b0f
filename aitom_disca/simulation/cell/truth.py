"""The truth of a cell as a table: class, role, place, pose and radius of every particle."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.geometry import euler_zyz_deg_from_rotation
from aitom_disca.io.tables import write_rows_csv
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
            angles = (0.0, 0.0, 0.0)  # of what looks the same from everywhere
            if particle.rotation.magnitude() > 0:
                angles = euler_zyz_deg_from_rotation(particle.rotation)
            text = [f"{number:.3f}" for number in (x, y, z, *angles, particle.radius_px)]
            values = (tomogram, particle.kind, particle.role, *text)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    write_rows_csv(path, rows)


def read_truth(path: str | Path) -> CellTruth:
    """Read a table that `write_truth` wrote, or another with its columns.

    Raises
    ------
    InputError
        If a column is missing or a value is no number.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        text = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
        number = {name: text[name].astype(float) for name in COLUMNS[3:]}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} cannot be read as the truth of a cell ({type(error).__name__}: {error}); it "
            f"must be a table with the columns {', '.join(COLUMNS)}."
        ) from error
    return CellTruth(
        tomogram=text["tomogram"],
        kind=text["class"],
        role=text["role"],
        center_zyx_px=np.stack([number[axis] for axis in "zyx"], axis=1),
        euler_zyz_deg=np.stack([number[name] for name in ("rot", "tilt", "psi")], axis=1),
        radius_px=number["radius_px"],
    )
