"""Phantoms: made-up complexes of balls and rods, drawn analytically at any pose and scale."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import ndtr

from aitom_disca.geometry import centre_index
from aitom_disca.io.disk.reading import reading

EDGE_SIGMA_ANGSTROM = 5.0  # softness of a surface before it is sampled


class Template(Protocol):
    """A structure that can be drawn at any pose: a ``Phantom`` or a ``MapTemplate``."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def radius_angstrom(self) -> float: ...  # noqa: D102

    def density(  # noqa: D102
        self,
        box_px: int,
        voxel_size_angstrom: float,
        rotation: Rotation | None = None,
        shift_zyx_px: Sequence[float] | np.ndarray = (0, 0, 0),
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Phantom:
    """A union of rods with round ends (a ball is a rod of length 0), of density 1.

    Parameters
    ----------
    name, description : str
    starts_xyz_angstrom, ends_xyz_angstrom : ndarray of shape (M, 3)
        Ends of the rods' axes, from the centre of the phantom.
    radii_angstrom : ndarray of shape (M,)
    """

    name: str
    description: str
    starts_xyz_angstrom: np.ndarray
    ends_xyz_angstrom: np.ndarray
    radii_angstrom: np.ndarray

    @property
    def radius_angstrom(self) -> float:
        """Radius of the sphere round the centre that holds every solid."""
        reach = np.maximum(
            np.linalg.norm(self.starts_xyz_angstrom, axis=1),
            np.linalg.norm(self.ends_xyz_angstrom, axis=1),
        )
        return float((reach + self.radii_angstrom).max())

    def density(
        self,
        box_px: int,
        voxel_size_angstrom: float,
        rotation: Rotation | None = None,
        shift_zyx_px: Sequence[float] | np.ndarray = (0, 0, 0),
    ) -> np.ndarray:
        """Draw the phantom; exact at every pose, as nothing is interpolated.

        Parameters
        ----------
        box_px : int
            Edge of the box; the phantom's centre is at voxel ``box_px // 2`` plus the shift.
        voxel_size_angstrom : float
        rotation : Rotation, optional
            A of (x, y, z) vectors: ``r_tomogram = A @ r_reference``.
        shift_zyx_px : sequence of 3 floats
            Applied after the rotation.

        Returns
        -------
        ndarray of float32, shape (box_px, box_px, box_px)
            Axes z, y, x; 1 inside, 0 outside.
        """
        turn = Rotation.identity() if rotation is None else rotation
        starts = turn.apply(self.starts_xyz_angstrom)[:, ::-1]
        ends = turn.apply(self.ends_xyz_angstrom)[:, ::-1]
        from_centre = np.arange(box_px) - centre_index(box_px)
        axes = [(from_centre - s) * voxel_size_angstrom for s in np.asarray(shift_zyx_px, float)]
        sigma = np.hypot(EDGE_SIGMA_ANGSTROM, voxel_size_angstrom / 2)  # half a voxel: no aliases
        volume = np.zeros((box_px,) * 3, np.float32)
        for start, end, radius in zip(starts, ends, self.radii_angstrom, strict=True):
            draw_rod(volume, axes, start, end, radius, sigma)
        return volume


def draw_rod(
    volume: np.ndarray,
    axes: list[np.ndarray],
    start: np.ndarray,
    end: np.ndarray,
    radius: float,
    sigma: float,
) -> None:
    """Unite ``volume`` in place with one rod with a soft (error function) surface."""
    reach = radius + 4 * sigma
    where = tuple(
        slice(*np.searchsorted(axis, (min(a, b) - reach, max(a, b) + reach)))
        for axis, a, b in zip(axes, start, end, strict=True)
    )
    offsets = np.ix_(*(axis[w] for axis, w in zip(axes, where, strict=True)))
    along = end - start
    length_squared = along @ along
    nearest: Any = 0.0  # position of each voxel's nearest axis point, 0 at start and 1 at end
    if length_squared > 0:
        dot = sum((o - a) * d for o, a, d in zip(offsets, start, along, strict=True))
        nearest = np.clip(dot / length_squared, 0, 1)
    squares = sum((o - a - nearest * d) ** 2 for o, a, d in zip(offsets, start, along, strict=True))
    solid = ndtr((radius - np.sqrt(squares)) / sigma)
    np.maximum(volume[where], solid, out=volume[where], casting="same_kind")


def load_phantoms(path: str | Path | None = None) -> dict[str, Phantom]:
    """Read named phantoms from a JSON file.

    Parameters
    ----------
    path : str or Path, optional
        The package's own ``data/phantoms.json``, unless given. Its README tells the layout.

    Raises
    ------
    InputError
        If the file cannot be read as phantoms.
    """
    path = data_file("phantoms.json") if path is None else Path(path)
    with reading(path, "phantoms", "see data/README.md for the layout"):
        entries = json.loads(path.read_text(encoding="utf-8"))["phantoms"]
        return {name: _phantom(name, entry) for name, entry in entries.items()}


def data_file(name: str) -> Path:
    """Path of a file of the ``data`` folder: of the installed package, or of the repository.

    Raises
    ------
    FileNotFoundError
        If the file is in neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "data", package.parent / "data"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{name} is neither in {package / 'data'} nor beside the package")


def _phantom(name: str, entry: dict[str, Any]) -> Phantom:
    """One phantom with its solids repeated by its symmetry."""
    solids = entry["solids"]
    starts = np.array([solid["from"] for solid in solids], float).reshape(-1, 3)
    ends = np.array([solid.get("to", solid["from"]) for solid in solids], float).reshape(-1, 3)
    radii = np.array([solid["radius"] for solid in solids], float)
    turns = _symmetry(entry.get("symmetry", "C1"))
    return Phantom(
        name=name,
        description=entry.get("description", ""),
        starts_xyz_angstrom=np.concatenate([turn.apply(starts) for turn in turns]),
        ends_xyz_angstrom=np.concatenate([turn.apply(ends) for turn in turns]),
        radii_angstrom=np.tile(radii, len(turns)),
    )


def _symmetry(group: str) -> list[Rotation]:
    """The rotations of Cn (about z) or Dn (and the two-fold about x)."""
    kind, order = group[:1], int(group[1:])
    if kind not in ("C", "D") or order < 1:
        raise ValueError(f"symmetry must be Cn or Dn; got {group!r}")
    turns = [Rotation.from_euler("z", 360 * i / order, degrees=True) for i in range(order)]
    if kind == "D":
        flip = Rotation.from_euler("x", 180, degrees=True)
        turns += [turn * flip for turn in turns]
    return turns
