"""Soft spheres: masks round particles."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from aitom_disca.errors import InputError
from aitom_disca.geometry.box import centre_index


def soft_sphere(
    box_px: int,
    radius_px: float,
    edge_px: float,
    falloff: Literal["cosine", "gaussian"] = "cosine",
    centre_zyx_px: ArrayLike = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Spheres that are 1 inside and fall to 0 over an edge.

    Masks of averages, which must end, have a cosine; alignment looks through a Gaussian, which
    ripples less in Fourier space.

    Parameters
    ----------
    box_px : int
    radius_px : float
        Up to which a sphere is 1; infinite for the whole box.
    edge_px : float
        Width of the cosine beyond the radius, or sigma of the Gaussian; 0 for none.
    falloff : {"cosine", "gaussian"}
    centre_zyx_px : array_like of shape (..., 3)
        Of each sphere, from the box centre ``box_px // 2``.

    Returns
    -------
    ndarray of float32, shape (..., z, y, x)

    Raises
    ------
    InputError
        If the box or the radius is not positive, or the edge is negative or infinite.
    """
    if not (box_px > 0 and radius_px > 0 and 0 <= edge_px < np.inf):
        raise InputError(
            "a soft sphere takes a box and a radius above 0 and an edge of 0 or more; got a box of "
            f"{box_px}, a radius of {radius_px:g} and an edge of {edge_px:g} voxels."
        )
    centre = np.asarray(centre_zyx_px, float)[..., None]
    axis = np.arange(box_px) - centre_index(box_px)
    z, y, x = (np.square(axis - centre[..., i, :]) for i in range(3))
    distance = np.sqrt(z[..., :, None, None] + y[..., None, :, None] + x[..., None, None, :])
    if falloff == "cosine" or edge_px == 0:
        return cosine_edge(distance - radius_px, edge_px)
    beyond = np.maximum(distance - radius_px, 0) / edge_px
    return np.exp(-(beyond**2) / 2).astype(np.float32)


def cosine_edge(beyond_px: np.ndarray, edge_px: float) -> np.ndarray:
    """1 up to 0 voxels beyond, falling to 0 over the edge."""
    if edge_px == 0:
        return (beyond_px <= 0).astype(np.float32)
    share = np.clip(beyond_px / edge_px, 0, 1)
    return ((1 + np.cos(np.pi * share)) / 2).astype(np.float32)
