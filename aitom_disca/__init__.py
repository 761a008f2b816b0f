"""aitom_disca: sort the particles of cryo-electron tomograms without templates or labels.

The public names below load what they need on first use, so that importing the package takes no
time. Volumes are ``float32`` in the order z, y, x with protein bright.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "DISCA": "aitom_disca.mining",
    "ExtractSettings": "aitom_disca.config",
    "InputError": "aitom_disca.errors",
    "MineSettings": "aitom_disca.config",
    "ParticleSet": "aitom_disca.particles",
    "PickSettings": "aitom_disca.config",
    "RunSettings": "aitom_disca.config",
    "extract_subtomograms": "aitom_disca.subtomograms",
    "find_candidates": "aitom_disca.picking",
    "open_store": "aitom_disca.io",
    "open_tomogram": "aitom_disca.io",
    "open_tomograms": "aitom_disca.io",
    "pick_particles": "aitom_disca.picking",
    "run": "aitom_disca.pipeline",
    "write_particles_star": "aitom_disca.io",
}

__all__ = [*sorted(_HOME), "__version__"]

if TYPE_CHECKING:  # for type checkers and editors; at run time `__getattr__` loads them
    from aitom_disca.config import ExtractSettings, MineSettings, PickSettings, RunSettings
    from aitom_disca.errors import InputError
    from aitom_disca.io import open_store, open_tomogram, open_tomograms, write_particles_star
    from aitom_disca.mining import DISCA
    from aitom_disca.particles import ParticleSet
    from aitom_disca.picking import find_candidates, pick_particles
    from aitom_disca.pipeline import run
    from aitom_disca.subtomograms import extract_subtomograms


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
