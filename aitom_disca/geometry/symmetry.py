"""Point groups: the rotations that leave a symmetric particle as it is, on RELION's axes."""

from __future__ import annotations

import re

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError

_Axes = tuple[tuple[int, tuple[float, float, float]], ...]

_MOST_FOLD = 99
_GOLDEN = (1 + np.sqrt(5)) / 2
_Z = (0.0, 0.0, 1.0)
# Fold and axis (x, y, z) of rotations that make up the whole group.
_AXES: dict[str, _Axes] = {
    "T": ((3, _Z), (2, (0.0, np.sqrt(2), 1.0))),
    "O": ((4, _Z), (3, (1.0, 1.0, 1.0))),
    "I1": ((5, (_GOLDEN, 0.0, -1.0)), (3, (_GOLDEN**2, 1.0, 0.0))),
    "I2": ((5, (1.0, 0.0, _GOLDEN)), (3, (0.0, 1.0, _GOLDEN**2))),
    "I3": ((5, _Z), (3, (2.0, 0.0, _GOLDEN**2))),
    "I4": ((5, _Z), (3, (-2.0, 0.0, _GOLDEN**2))),
}
_SAME = 1e-6  # quaternions closer than this are one rotation


def point_group(name: str) -> Rotation:
    """All rotations of a point group, the identity first, as RELION lays their axes.

    ========= ========= =========================================================
    name      rotations axes
    ========= ========= =========================================================
    C1, C2, … n         n-fold on z
    D1, D2, … 2n        n-fold on z, 2-fold on x
    T         12        3-fold on z, a 2-fold in the plane of y and z
    O         24        4-fold on x, y and z
    I, I2     60        2-fold on x, y and z, a 5-fold in the plane of x and z
    I1        60        2-fold on x, y and z, a 5-fold in the plane of y and z
    I3        60        5-fold on z, another at negative x in the plane of x and z
    I4        60        5-fold on z, another at positive x in the plane of x and z
    ========= ========= =========================================================

    Parameters
    ----------
    name : str
        Capitals or not.

    Returns
    -------
    Rotation
        Of (x, y, z) vectors about the centre: a symmetric volume has ``volume(g r) = volume(r)``
        for each.

    Raises
    ------
    InputError
        If there is no such group.

    References
    ----------
    .. [1] Heymann, Chagoyen & Belnap (2005), J. Struct. Biol. 151, 196-207.
    """
    return _closed(_generators(name))


def _generators(name: str) -> Rotation:
    found = re.fullmatch(r"([CD])([1-9]\d*)|T|O|I[1-4]?", str(name).strip().upper())
    if found is None or int(found[2] or 1) > _MOST_FOLD:
        raise InputError(
            f"a symmetry is C or D with a fold from 1 to {_MOST_FOLD}, T, O, I, I1, I2, I3 or I4, "
            f"but {str(name)!r} came; C1 stands for none."
        )
    if found[1]:
        axes: _Axes = ((int(found[2]), _Z), (2, (1.0, 0.0, 0.0)))
        axes = axes if found[1] == "D" else axes[:1]
    else:
        axes = _AXES["I2" if found[0] == "I" else found[0]]
    turns = [2 * np.pi / fold * np.array(axis) / np.linalg.norm(axis) for fold, axis in axes]
    return Rotation.from_rotvec(np.array(turns))


def _closed(generators: Rotation) -> Rotation:
    """All products: what is new is multiplied until nothing new comes."""
    known = np.array([[0.0, 0.0, 0.0, 1.0]])
    new = known
    while len(new):
        products = [(Rotation.from_quat(new) * g).as_quat() for g in generators]
        new = np.zeros((0, 4))
        for quaternion in np.concatenate(products):
            so_far = np.concatenate([known, new])
            if np.abs(so_far @ quaternion).max() < 1 - _SAME:  # q and -q are one rotation
                new = np.concatenate([new, quaternion[None]])
        known = np.concatenate([known, new])
    return Rotation.from_quat(known)
