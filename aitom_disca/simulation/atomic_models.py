"""Atomic models as density maps: PDB and mmCIF files, read by gemmi."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from aitom_disca.errors import InputError
from aitom_disca.geometry.box import centre_index
from aitom_disca.simulation.templates import MapTemplate

STRUCTURE_ENDINGS = (".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".ent.gz", ".cif.gz", ".mmcif.gz")
_MARGIN_PX = 4
_SIGMA_SHARE = 0.225  # of the resolution: the usual width of a Gaussian that stands for it
_LARGEST_PX = 512


def is_structure(path: str | Path) -> bool:
    """Whether a file's name is that of an atomic model."""
    return Path(path).name.lower().endswith(STRUCTURE_ENDINGS)


def read_structure(
    path: str | Path, voxel_size_angstrom: float, resolution_angstrom: float
) -> MapTemplate:
    """A density map of an atomic model: its first biological assembly, or the model as it is.

    Every atom but hydrogen and water counts by its number of electrons, and is blurred by a
    Gaussian of 0.225 times the resolution. The centre of mass lies in the middle of the box.

    Parameters
    ----------
    path : path
        PDB or mmCIF, also gzipped.
    voxel_size_angstrom, resolution_angstrom : float

    Raises
    ------
    InputError
        If gemmi is not installed, the file is none of these, or it holds no atoms.
    """
    try:
        import gemmi
    except ImportError as error:
        raise InputError(
            f"{Path(path).name} is an atomic model, which gemmi reads: pip install "
            "'aitom-disca[pdb]', or give a density map (.mrc)."
        ) from error
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as an atomic model ({error}).") from error
    places, weights = _atoms(structure, gemmi)
    if not len(places):
        raise InputError(f"{path} holds no atoms; give another model.")
    places -= np.average(places, axis=0, weights=weights)
    reach = np.abs(places).max() / voxel_size_angstrom
    box_px = 2 * int(np.ceil(reach + _MARGIN_PX + resolution_angstrom / voxel_size_angstrom))
    if box_px > _LARGEST_PX:
        raise InputError(
            f"{Path(path).name} is {2 * reach * voxel_size_angstrom:.0f} A wide, more than "
            f"{_LARGEST_PX} voxels of {voxel_size_angstrom:g} A; leave it out."
        )
    name = Path(path).name.split(".")[0]
    density = drawn(places, weights, box_px, voxel_size_angstrom, resolution_angstrom)
    return MapTemplate(name, density, voxel_size_angstrom)


def drawn(
    places_xyz_angstrom: np.ndarray,
    weights: np.ndarray,
    box_px: int,
    voxel_size_angstrom: float,
    resolution_angstrom: float,
) -> np.ndarray:
    """Points (n, 3) about the box centre, shared out among the eight nearest voxels and blurred."""
    density = np.zeros((box_px,) * 3)
    place = places_xyz_angstrom[:, ::-1] / voxel_size_angstrom + centre_index(box_px)
    corner = np.floor(place).astype(int)
    for step in np.indices((2, 2, 2)).reshape(3, -1).T:
        share = np.prod(np.where(step, place - corner, 1 - (place - corner)), axis=1)
        np.add.at(density, tuple((corner + step).T), weights * share)
    return np.asarray(
        gaussian_filter(density, _SIGMA_SHARE * resolution_angstrom / voxel_size_angstrom)
    )


def _atoms(structure: Any, gemmi: Any) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 3) in Angstrom and numbers of electrons (n,) of the atoms that count."""
    structure.remove_waters()
    structure.remove_hydrogens()
    if not len(structure):
        return np.zeros((0, 3)), np.zeros(0)
    model = structure[0]
    if structure.assemblies:
        how = gemmi.HowToNameCopiedChain.AddNumber
        model = gemmi.make_assembly(structure.assemblies[0], model, how)
    atoms = [(a.atom.pos.tolist(), a.atom.element.atomic_number * a.atom.occ) for a in model.all()]
    if not atoms:
        return np.zeros((0, 3)), np.zeros(0)
    places, weights = zip(*atoms, strict=True)
    return np.array(places, float), np.array(weights, float)
