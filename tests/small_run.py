"""Two small tomograms and a run of them, which test files of many processes compare with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_settings import MINE

from aitom_disca import pipeline
from aitom_disca.config import ExtractSettings, PickSettings, RunSettings
from aitom_disca.io import Tomogram, open_store, open_tomograms, write_volume
from aitom_disca.runs.run_folder import RunFolder
from aitom_disca.simulation import load_phantoms, simulate_tomogram

VOXEL_SIZE, DIAMETER = 20.0, 220.0
SETTINGS = RunSettings(
    pick=PickSettings(particle_diameter_angstrom=DIAMETER),
    extract=ExtractSettings(particle_diameter_angstrom=DIAMETER, box_px=14),
    mine=MINE.model_copy(update={"candidate_k": (2,)}),
    until="mine",
)


def make_tomograms(folder: Path) -> list[Tomogram]:
    """Two, with names that only a file name must not hold, and tilt ranges of their own."""
    phantoms = load_phantoms()
    for seed, name in enumerate(("TS_2", "TS 10%b")):
        made = simulate_tomogram(
            [phantoms["ring"], phantoms["rod"]],
            14,
            (36, 80, 80),
            VOXEL_SIZE,
            snr=2.0,
            seed=seed,
            gap_px=3,
            border_px=5,
        )
        write_volume(
            folder / f"{name}.mrc", made.volume, VOXEL_SIZE, tilt_range_deg=(-60, 54 + seed)
        )
    return open_tomograms(sorted(folder.iterdir()))


def make_run(tomograms: list[Tomogram], out: Path) -> RunFolder:
    """A run in one process."""
    return pipeline.run(tomograms, out, SETTINGS)


def check_same_store(one: Path, other: Path) -> None:
    """Whether two stores hold the same, however they are kept."""
    with open_store(one) as a, open_store(other) as b:
        np.testing.assert_array_equal(a.read(), b.read())
        np.testing.assert_array_equal(a.tilt_range_deg, b.tilt_range_deg)
        assert np.shape(a.tilt_range_deg) == (len(a), 2)
        for name in ("raw_mean", "raw_std", "diameter_angstrom"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        particles, others = a.particles(), b.particles()
        assert particles.tomograms == others.tomograms and {*particles.more} == {*others.more}
        np.testing.assert_array_equal(particles.tomogram_name, others.tomogram_name)
        np.testing.assert_array_equal(particles.center_zyx_px, others.center_zyx_px)
