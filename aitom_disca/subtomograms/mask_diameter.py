"""How wide the mask round particles is: as was asked, else as the particles are."""

from __future__ import annotations

import numpy as np

from aitom_disca.subtomograms.dataset import Source


def mask_diameter_angstrom(
    source: Source,
    asked_angstrom: float | None,
    rows: np.ndarray | None = None,
    margin: float = 1.0,
) -> float:
    """Diameter of the mask round the particles of a source.

    Parameters
    ----------
    source : Source
    asked_angstrom : float, optional
        What the settings say; it holds as it is.
    rows : ndarray of int, shape (n,), optional
        The particles in question, whose median counts where the source knows each one's diameter;
        else that which the subtomograms were cut for.
    margin : float
        Mask over particle, where nothing was asked.

    Returns
    -------
    float
        0 for no mask: asked, or nothing is known. It may be wider than the box.
    """
    if asked_angstrom is not None:
        return asked_angstrom
    each = None if rows is None else getattr(source, "diameter_angstrom", None)
    if each is not None:
        return margin * float(np.median(each[rows]))
    return margin * (getattr(source, "particle_diameter_angstrom", None) or 0.0)
