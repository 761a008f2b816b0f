"""aitom_disca: sort the particles of cryo-electron tomograms without templates or labels.

The public names below load what they need on first use, so that importing the package takes no
time. Volumes are ``float32`` in the order z, y, x with protein bright.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aitom_disca.version import __version__

# Where each name comes from, and what it is called there if that differs.
_HOME = {
    "DISCA": "aitom_disca.mining",
    "AverageSettings": "aitom_disca.config",
    "ExtractSettings": "aitom_disca.config",
    "InputError": "aitom_disca.errors",
    "MineSettings": "aitom_disca.config",
    "OpticsSettings": "aitom_disca.config",
    "ParticleSet": "aitom_disca.particles",
    "PickSettings": "aitom_disca.config",
    "RunSettings": "aitom_disca.config",
    "average": "aitom_disca.pipeline:average_store",
    "convert": "aitom_disca.io.formats.convert",
    "embed": "aitom_disca.reembedding:embed_averages",
    "extract_subtomograms": "aitom_disca.subtomograms",
    "find_candidates": "aitom_disca.picking",
    "open_store": "aitom_disca.io",
    "open_tomogram": "aitom_disca.io",
    "open_tomograms": "aitom_disca.io",
    "pick_particles": "aitom_disca.picking",
    "predict": "aitom_disca.pipeline",
    "refine": "aitom_disca.pipeline",
    "run": "aitom_disca.pipeline",
    "write_particles_star": "aitom_disca.io",
}

__all__ = [*sorted(_HOME), "__version__"]

if TYPE_CHECKING:  # for type checkers and editors; at run time `__getattr__` loads them
    from aitom_disca.config import (
        AverageSettings,
        ExtractSettings,
        MineSettings,
        OpticsSettings,
        PickSettings,
        RunSettings,
    )
    from aitom_disca.errors import InputError
    from aitom_disca.io import open_store, open_tomogram, open_tomograms, write_particles_star
    from aitom_disca.io.formats.convert import convert
    from aitom_disca.mining import DISCA
    from aitom_disca.particles import ParticleSet
    from aitom_disca.picking import find_candidates, pick_particles
    from aitom_disca.pipeline import average_store as average
    from aitom_disca.pipeline import predict, refine, run
    from aitom_disca.reembedding import embed_averages as embed
    from aitom_disca.subtomograms import extract_subtomograms


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, there = _HOME[name].partition(":")
    return getattr(import_module(module), there or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
