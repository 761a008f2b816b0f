"""From a tomogram to clusters, in Python: simulate one, pick, extract, sort, write, look.

Run it as it is: python tutorials/001_mine_a_tomogram.py
It takes less than two minutes on 2 cores and writes into ./tutorial_001.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console

import aitom_disca
from aitom_disca import progress
from aitom_disca.io import write_volume
from aitom_disca.simulation import load_phantoms, match_picks, simulate_tomogram


def main(out: Path = Path("tutorial_001"), n_particles: int = 150) -> None:
    # 1. A tomogram. With your own, start at step 2.
    phantoms = load_phantoms()
    simulated = simulate_tomogram(
        [phantoms[name] for name in ("two_lobes", "rod", "chaperone")],
        n_particles,
        shape_zyx=(80, 220, 220),
        voxel_size_angstrom=13.5,
        snr=0.1,
        gap_px=4,
    )
    write_volume(out / "cell.mrc", simulated.volume, 13.5, tilt_range_deg=(-60, 60))

    # 2. Read: the file is mapped, not loaded. dark_protein=True where protein is dark.
    tomogram = aitom_disca.open_tomogram(out / "cell.mrc")

    # 3. Pick everything of about this size that stands out.
    picks = aitom_disca.pick_particles(
        tomogram, aitom_disca.PickSettings(particle_diameter_angstrom=200)
    )
    found = match_picks(picks.center_zyx_px, simulated.truth.center_zyx_px, tolerance_px=7)
    print(f"{len(picks)} picks: precision {found.precision:.2f}, recall {found.recall:.2f}")

    # 4. Cut subtomograms into a store.
    summary = aitom_disca.extract_subtomograms(
        [tomogram], picks, out / "subtomograms.h5", overwrite=True
    )
    print(f"{summary.n_extracted} subtomograms of {summary.box_px} voxels")

    # 5. Sort them. K is chosen between 2 and 8.
    with aitom_disca.open_store(summary.path) as store:
        disca = aitom_disca.DISCA(candidate_k=range(2, 9), max_iterations=2, seed=0).fit(store)
        particles = store.particles().with_clusters(disca.labels_, disca.posterior_)
    print(f"{disca.n_clusters_} clusters of sizes {np.bincount(disca.labels_[disca.labels_ >= 0])}")
    for row in disca.history_:
        print(f"  iteration {row['iteration']}: K = {row['k']}, DDBI = {row['ddbi']:.3f}")

    # 6. Hand over to RELION, and keep the model for the next tomogram.
    aitom_disca.write_particles_star(out / "particles.star", particles)
    disca.save(out / "model.h5")
    print(f"written: {out / 'particles.star'}, {out / 'model.h5'}")


if __name__ == "__main__":
    with progress.shown(Console()):
        main(*(Path(name) for name in sys.argv[1:2]))
