"""AITom's picking: its own functions where it is at hand, and ours that give the same."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from aitom_disca.bridge.aitom_availability import need_aitom
from aitom_disca.errors import InputError
from aitom_disca.picking.other_picker import Picker
from aitom_disca.picking.peaks import Peaks

# The 18 neighbours that share a face or an edge, and the voxel itself: three planes.
_PLANES = ((3, 3, 1), (3, 1, 3), (1, 3, 3))
_SERVES = "leave out --picker aitom: this package's own picker finds the same blobs"


def dog_peaks(
    volume_xyz: np.ndarray, s1: float, s2: float | None = None, *, find_maxima: bool = True
) -> list[dict[str, Any]]:
    """Extrema of a Difference of Gaussians, as AITom's ``peak__partition`` lists them.

    Narrow minus wide Gaussian, mirrored borders. An extremum is at least as high (low) as its 18
    neighbours across faces and edges; of a plateau every voxel counts, except inside of one at
    the lowest (highest) value. Extrema of either sign are listed.

    Parameters
    ----------
    volume_xyz : ndarray of shape (x, y, z)
        Floating-point; integers are taken as float32, where AITom would round what it smooths.
    s1, s2 : float
        Sigmas in voxels, ``s1 < s2``; 1.1 ``s1`` if left out.
    find_maxima : bool
        False for minima: dark particles.

    Returns
    -------
    list of dict
        ``val`` (height in the filtered volume), ``x`` (voxel x, y, z from 0) and ``uuid``; best
        first, equal ones in the order of x, then y, then z.

    Raises
    ------
    InputError
        If the sigmas are not ``0 < s1 < s2``.
    """
    s2 = s1 * 1.1 if s2 is None else s2
    if not 0 < s1 < s2:
        raise InputError(f"expected sigmas 0 < s1 < s2 in voxels; got {s1} and {s2}.")
    volume = np.asarray(volume_xyz)
    if volume.dtype.kind != "f":
        volume = volume.astype(np.float32)
    filtered = ndimage.gaussian_filter(volume, s1) - ndimage.gaussian_filter(volume, s2)
    places = _maxima(filtered if find_maxima else -filtered)
    values = filtered[tuple(places.T)].astype(float)
    order = np.argsort(-values if find_maxima else values, kind="stable")
    return [
        {"val": float(values[row]), "x": list(places[row]), "uuid": str(uuid.uuid4())}
        for row in order
    ]


def _maxima(filtered: np.ndarray) -> np.ndarray:
    """Voxels (N, 3), in the order of the axes."""
    highest = ndimage.maximum_filter(filtered, _PLANES[0])
    for plane in _PLANES[1:]:
        np.maximum(highest, ndimage.maximum_filter(filtered, plane), out=highest)
    neighbours = ndimage.generate_binary_structure(3, 2)
    lowest = filtered == filtered.min()
    inside = ndimage.binary_erosion(lowest, structure=neighbours, border_value=1)
    return np.argwhere((filtered == highest) & ~inside)


def filter_peaks(peaks: Sequence[dict[str, Any]], min_distance: float) -> list[dict[str, Any]]:
    """Peaks that AITom's ``do_filter`` keeps: greedy, in the order of the list.

    Parameters
    ----------
    peaks : sequence of dict
        With ``x``; the best first.
    min_distance : float
        In voxels; peaks exactly this far apart both stay.
    """
    if not peaks:
        return []
    places = np.array([peak["x"] for peak in peaks], float)
    tree = cKDTree(places)
    stays = np.ones(len(peaks), bool)
    for row in range(len(peaks)):
        if not stays[row]:
            continue
        near = np.array(tree.query_ball_point(places[row], max(min_distance, 0) * (1 + 1e-9)))
        near = near[near > row]
        if len(near):
            stays[near[cdist(places[near], places[row : row + 1])[:, 0] < min_distance]] = False
    return [peak for peak, kept in zip(peaks, stays, strict=True) if kept]


def aitom_picker() -> Picker:
    """AITom's own extrema and choice among close ones, for `pick_particles`.

    Its steps are called one by one, since its function that joins them keeps one peak too many at
    the threshold, ignores the threshold for minima, and returns the list with the duplicates.

    Raises
    ------
    InputError
        If AITom cannot be imported.
    """
    util = need_aitom("aitom.pick.dog.particle_picking_dog__util", _SERVES)
    choose = need_aitom("aitom.pick.dog.particle_picking_dog__filter", _SERVES).do_filter

    def extrema(volume_zyx: np.ndarray, sigma_px: float, ratio: float) -> tuple[Peaks, Peaks]:
        volume_xyz = np.asarray(volume_zyx, np.float32).transpose(2, 1, 0)
        with redirect_stdout(StringIO()):
            bright, dark = (
                util.peak__partition(
                    volume_xyz, s1=sigma_px, s2=sigma_px * ratio, find_maxima=maxima
                )
                for maxima in (True, False)
            )
        return as_peaks(bright, sign=1), as_peaks(dark, sign=-1)

    def apart(peaks: Peaks, min_distance_px: float) -> Peaks:
        if not len(peaks):
            return peaks
        listed = [{"x": zyx[::-1], "row": row} for row, zyx in enumerate(peaks.zyx)]
        with redirect_stdout(StringIO()):
            kept = choose(listed, min_distance_px)
        return peaks.select(np.array([peak["row"] for peak in kept], int))

    return Picker(extrema, apart)


def as_peaks(listed: Sequence[dict[str, Any]], *, sign: int) -> Peaks:
    """A list of AITom's as `Peaks`, in its order: (z, y, x), and height times ``sign``."""
    xyz = np.array([peak["x"] for peak in listed], int).reshape(-1, 3)
    return Peaks(xyz[:, ::-1], sign * np.array([peak["val"] for peak in listed], float))
