"""Slices as PNG, and surfaces as bytes that the browser draws."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from aitom_disca.geometry import centre_index
from aitom_disca.report.isosurface import surface_mesh

_GAP_PX = 2
_TURN_RADIUS = 30_000  # of positions, which are sent as whole numbers of 16 bits


def as_png(image: np.ndarray) -> bytes:
    """A PNG of bytes (y, x) or (y, x, 3 or 4)."""
    held = BytesIO()
    Image.fromarray(image).save(held, "PNG", compress_level=1)
    return held.getvalue()


def to_grey(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    """Bytes: black at ``low`` and below, white at ``high``."""
    scaled = (np.asarray(plane, np.float32) - low) * (255 / max(high - low, 1e-12))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def three_slices(volume_zyx: np.ndarray) -> bytes:
    """The central slices x–y, x–z and y–z side by side, protein bright; a PNG."""
    low, high = np.percentile(volume_zyx, (1, 99.8))
    n = max(volume_zyx.shape)
    strip = np.zeros((n, 3 * n + 2 * _GAP_PX, 4), np.uint8)
    for axis in range(3):
        plane = volume_zyx.take(centre_index(volume_zyx.shape[axis]), axis=axis)
        grey = to_grey(plane[::-1], low, high)  # y, or z, upwards
        left = axis * (n + _GAP_PX)
        part = strip[: grey.shape[0], left : left + grey.shape[1]]
        part[..., :3], part[..., 3] = grey[..., None], 255
    return as_png(strip)


def surface_bytes(volume_zyx: np.ndarray) -> bytes:
    """The surface of what stands out in a volume, for ``surface.js``.

    Little-endian: two numbers of 32 bits (corners, triangles), three of 32 bits for each triangle,
    three of 16 bits for each corner (x, y, z from the centre), three of 8 bits for each normal.

    Raises
    ------
    InputError
        If the volume has no surface.
    """
    corners_xyz, faces, normals_xyz = surface_mesh(volume_zyx)
    reach = float(np.linalg.norm(corners_xyz, axis=1).max(initial=1e-6))
    length = np.maximum(np.linalg.norm(normals_xyz, axis=1, keepdims=True), 1e-12)
    parts = (
        np.array([len(corners_xyz), len(faces)], "<u4"),
        faces.astype("<u4"),
        (corners_xyz * (_TURN_RADIUS / reach)).astype("<i2"),
        (normals_xyz * (127 / length)).astype("i1"),
    )
    return b"".join(part.tobytes() for part in parts)
