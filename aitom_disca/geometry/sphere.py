"""Soft spheres: masks round particles."""

from __future__ import annotations

import numpy as np

from aitom_disca.geometry.box import centre_index


def soft_spheres(
    box_px: int, centre_zyx_px: np.ndarray, radius_px: float, edge_px: float
) -> np.ndarray:
    """Spheres whose edge falls off as a Gaussian.

    Parameters
    ----------
    box_px : int
    centre_zyx_px : ndarray of shape (n, 3)
        From the box centre ``box_px // 2``.
    radius_px : float
        Up to which they are 1; infinite for the whole box.
    edge_px : float
        Sigma of the edge.

    Returns
    -------
    ndarray of float32, shape (n, z, y, x)
    """
    axis = np.arange(box_px) - centre_index(box_px)
    z, y, x = (np.square(axis - centre[:, None]) for centre in np.asarray(centre_zyx_px).T)
    distance = np.sqrt(z[:, :, None, None] + y[:, None, :, None] + x[:, None, None, :])
    beyond = np.maximum(distance - radius_px, 0) / edge_px
    return np.exp(-(beyond**2) / 2).astype(np.float32)
