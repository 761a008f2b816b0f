"""Rigid motion of volumes, and what fills their missing wedge; differentiable, on any backend.

Arrays are (batch, x, y, z), coordinates count from the middle ``(n - 1) / 2``, as in AITom:
``out(g) = v(R (g - t))`` with ``R = (Rz(phi) Ry(theta) Rz(psi))^T``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


def rotation_matrices(angles: Any) -> Any:
    """R of angles (batch, 3): phi, theta, psi in radians; shape (batch, 3, 3)."""
    (c1, s1), (c2, s2), (c3, s3) = (
        (ops.cos(angles[:, i]), ops.sin(angles[:, i])) for i in range(3)
    )
    rows = (
        (c1 * c2 * c3 - s1 * s3, s1 * c2 * c3 + c1 * s3, -s2 * c3),
        (-c1 * c2 * s3 - s1 * c3, -s1 * c2 * s3 + c1 * c3, s2 * s3),
        (c1 * s2, s1 * s2, c2),
    )
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


def shift_in_voxels(shift: Any, n: int) -> Any:
    """Voxels by which the network's shifts (-1 to 1) move a volume of n voxels.

    Published layers pad the volume by a voxel on every side and measure in half edges of the
    padded box.
    """
    return shift * (n / (n + 2) * (n + 1) / 2)


def moved(volumes: Any, matrices: Any, shifts_px: Any, *, outside: str = "zero") -> Any:
    """``v(R (g - t))``, trilinear.

    Parameters
    ----------
    volumes : tensor of shape (batch, n, n, n)
    matrices : tensor of shape (batch, 3, 3)
    shifts_px : tensor of shape (batch, 3)
        Of x, y and z.
    outside : {"zero", "nearest"}
        What lies outside: nothing, or the nearest voxel of the border.
    """
    n = volumes.shape[1]
    middle = (n - 1) / 2
    grid = ops.convert_to_tensor(np.indices((n, n, n)).reshape(3, -1).astype(np.float32) - middle)
    source = ops.matmul(matrices, grid[None] - shifts_px[:, :, None]) + middle
    if outside == "nearest":
        source = ops.clip(source, 0, n - 1)
    lower = ops.floor(source)
    above = source - lower
    lower = ops.cast(lower, "int32")
    flat = ops.reshape(volumes, (-1, n**3))
    total = ops.zeros_like(flat)
    for corner in np.ndindex(2, 2, 2):
        index, weight = 0, 1.0
        for axis, step in enumerate(corner):
            place = lower[:, axis] + step
            inside = ops.cast((place >= 0) & (place < n), "float32")
            part = above[:, axis] if step else 1 - above[:, axis]
            index = index * n + ops.clip(place, 0, n - 1)
            weight = weight * part * inside
        total = total + weight * ops.take_along_axis(flat, index, axis=1)
    return ops.reshape(total, ops.shape(volumes))


def imputed(moving: Any, target: Any, observed: Any, missing: Any) -> Any:
    """A moved volume whose missing coefficients are the target's: ``Re F^-1(F(x) O + F(y) M)``.

    Parameters
    ----------
    moving, target : tensors of shape (batch, n, n, n)
    observed, missing : tensors of same shape
        Masks that were turned like the moving volume; zero frequency at ``n // 2``.
    """
    n = moving.shape[1]
    observed, missing = (_zero_first(mask, n) for mask in (observed, missing))
    parts = [_fourier((volume, ops.zeros_like(volume)), n) for volume in (moving, target)]
    mixed = tuple(x * observed + y * missing for x, y in zip(parts[0], parts[1], strict=True))
    return _fourier(mixed, n, inverse=True)[0]


def _zero_first(mask: Any, n: int) -> Any:
    return ops.roll(mask, (-(n // 2),) * 3, axis=(1, 2, 3))


def _fourier(parts: tuple[Any, Any], n: int, *, inverse: bool = False) -> tuple[Any, Any]:
    """Fourier transform of real and imaginary parts, one axis after the other."""
    turns = np.outer(np.arange(n), np.arange(n)) * 2 * np.pi / n
    scale = 1 / n if inverse else 1.0
    cosine = ops.convert_to_tensor((scale * np.cos(turns)).astype(np.float32))
    sine = ops.convert_to_tensor(
        (scale * np.sin(turns) * (1 if inverse else -1)).astype(np.float32)
    )
    real, imaginary = parts
    for equation in ("bxyz,ix->biyz", "bxyz,iy->bxiz", "bxyz,iz->bxyi"):
        real, imaginary = (
            ops.einsum(equation, real, cosine) - ops.einsum(equation, imaginary, sine),
            ops.einsum(equation, real, sine) + ops.einsum(equation, imaginary, cosine),
        )
    return real, imaginary
