"""What was found in one tomogram, kept in a file until all tomograms are done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from aitom_disca.io.disk.atomic import replacing
from aitom_disca.io.disk.npz import read_npz
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.tomograms.tomogram import Tomogram
from aitom_disca.particles import ParticleSet
from aitom_disca.picking.pick_result import Candidates, particle_set

_PARTICLES = "particles"
_WHAT = "the picks of a tomogram", "remove it, and they are picked again"


def write_candidates(path: Path, found: Candidates) -> None:
    """Keep the candidates of a tomogram, but for their heights, as they are."""
    arrays: dict[str, np.ndarray] = {}
    for name, particles in {_PARTICLES: found.particles, **found.junk}.items():
        arrays[f"{name}/zyx"] = particles.center_zyx_px
        arrays[f"{name}/score"] = np.asarray(particles.score)
        arrays[f"{name}/diameter"] = particles.more["diameter_angstrom"]
        arrays[f"{name}/kind"] = np.asarray(particles.more["kind"], str)
    about = {"junk": list(found.junk), "reasons": dict(found.reasons)}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, about=json.dumps(about), **arrays)  # type: ignore[arg-type]


def read_candidates(path: Path, tomogram: Tomogram) -> Candidates:
    """What `write_candidates` kept of this tomogram.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    kept = read_npz(path, *_WHAT)
    with reading(path, *_WHAT):
        about = json.loads(str(kept["about"]))

        def of(name: str) -> ParticleSet:
            columns = ("zyx", "score", "diameter", "kind")
            return particle_set(tomogram, *(kept[f"{name}/{column}"] for column in columns))

        junk = {name: of(name) for name in about["junk"]}
        return Candidates(of(_PARTICLES), junk, reasons=about["reasons"])
