"""The main job on a simulated tomogram of known content."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

from aitom_disca.config import PickSettings, RunSettings
from aitom_disca.io import (
    open_store,
    open_tomogram,
    read_labels_csv,
    read_picks_csv,
    write_particles_star,
    write_volume,
)
from aitom_disca.io.disk.outputs import refuse_existing
from aitom_disca.pipeline import run
from aitom_disca.progress import say
from aitom_disca.runs.run_folder import RunFolder
from aitom_disca.simulation import PickScore, load_phantoms, match_picks, simulate_tomogram

PHANTOMS = ("two_lobes", "ring", "rod", "chaperone")
SHAPE_ZYX = (96, 256, 256)
VOXEL_SIZE_ANGSTROM = 13.5
SNR = 0.1
DIAMETER_ANGSTROM = 200.0


@dataclass(frozen=True)
class DemoResult:
    """A run on the simulated tomogram and how near to the truth it came.

    Parameters
    ----------
    folder : RunFolder
    tomogram_file : Path
    score : PickScore
        Picks against planted particles, half a particle diameter apart at most.
    k_found, k_true : int
    ari : float
        Adjusted Rand index of clusters and true classes, over the subtomograms that lie on a
        planted particle.
    simulate_seconds : float
    """

    folder: RunFolder
    tomogram_file: Path
    score: PickScore
    k_found: int
    k_true: int
    ari: float
    simulate_seconds: float


def run_demo(
    out: str | Path,
    *,
    n_particles: int = 200,
    seed: int = 0,
    settings: RunSettings | None = None,
    overwrite: bool = False,
) -> DemoResult:
    """Plant phantoms in a tomogram, run all stages on it, and score the result.

    Parameters
    ----------
    out : path
        The run's folder; the tomogram and the truth (``truth.star``) are written into it.
    n_particles : int
        Of all four structures together.
    seed : int
        Of the simulation and of the mining.
    settings : RunSettings, optional
        By default those of ``aitom-disca run`` with the demo's particle diameter.
    overwrite : bool
        Replace an earlier run.

    Raises
    ------
    InputError
        If the folder holds another run.
    """
    out = Path(out)
    settings = settings or default_settings(seed)
    RunFolder(out).check_free(overwrite=overwrite)
    tomogram_file, truth_file = out / "demo.mrc", out / "truth.star"
    refuse_existing([tomogram_file, truth_file], overwrite)
    start = time.perf_counter()
    say("simulating a tomogram of four structures")
    phantoms = load_phantoms()
    simulated = simulate_tomogram(
        [phantoms[name] for name in PHANTOMS],
        n_particles,
        SHAPE_ZYX,
        VOXEL_SIZE_ANGSTROM,
        SNR,
        seed=seed,
        gap_px=4,
        border_px=3,
        name="demo",
    )
    write_volume(tomogram_file, simulated.volume, VOXEL_SIZE_ANGSTROM, tilt_range_deg=(-60, 60))
    write_particles_star(truth_file, simulated.truth)
    seconds = time.perf_counter() - start
    folder = run([open_tomogram(tomogram_file)], out, settings, overwrite=overwrite)
    tolerance_px = DIAMETER_ANGSTROM / 2 / VOXEL_SIZE_ANGSTROM
    truth = simulated.truth
    picks = read_picks_csv(folder.picks)
    score = match_picks(picks.center_zyx_px, truth.center_zyx_px, tolerance_px)
    labels, _ = read_labels_csv(folder.labels)
    with open_store(folder.store) as store:
        sorted_particles = store.particles()
    pairs = match_picks(sorted_particles.center_zyx_px, truth.center_zyx_px, tolerance_px).pairs
    true_class = np.asarray(truth.cluster)[pairs[:, 1]]
    return DemoResult(
        folder=folder,
        tomogram_file=tomogram_file,
        score=score,
        k_found=int(labels.max()) + 1,
        k_true=len(PHANTOMS),
        ari=float(adjusted_rand_score(true_class, labels[pairs[:, 0]])),
        simulate_seconds=seconds,
    )


def default_settings(seed: int) -> RunSettings:
    """Settings of the demo: the defaults, and its seed."""
    settings = RunSettings(pick=PickSettings(particle_diameter_angstrom=DIAMETER_ANGSTROM))
    return settings.model_copy(update={"mine": settings.mine.model_copy(update={"seed": seed})})
