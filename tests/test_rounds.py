"""A run whose averages find more particles."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca import pipeline
from aitom_disca.config import ExtractSettings, MineSettings, PickSettings, RunSettings
from aitom_disca.io import open_store, open_tomogram, read_labels_csv, read_picks, write_volume
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.pipeline.search_rounds import joined_with
from aitom_disca.simulation import load_phantoms, match_picks, simulate_tomogram

VOXEL, DIAMETER = 14.0, 200.0


def test_a_second_round_finds_what_picking_missed(tmp_path) -> None:
    phantoms = load_phantoms()
    made = simulate_tomogram([phantoms["two_lobes"]], 24, (52, 120, 120), VOXEL, 0.2, seed=3)
    write_volume(tmp_path / "t.mrc", made.volume, VOXEL, tilt_range_deg=(-60, 60))
    settings = RunSettings(
        pick=PickSettings(particle_diameter_angstrom=DIAMETER, max_picks=16),
        extract=ExtractSettings(particle_diameter_angstrom=DIAMETER, box_px=18),
        mine=MineSettings(
            candidate_k=(1, 2, 3), max_iterations=1, width=0.05, n_convolutions=2, n_features=16,
            alignment_starts=4, alignment_splits=0, pca_dimensions=4,
        ),
        rounds=2,
        until="mine",
    )  # fmt: skip
    tomogram = open_tomogram(tmp_path / "t.mrc")
    folder = pipeline.run([tomogram], tmp_path / "run", settings)
    first, final = (read_picks(path) for path in (folder.first_picks, folder.picks))
    true = made.truth.center_zyx_px
    labels, _ = read_labels_csv(folder.labels)
    particles = final.select(labels >= 0)
    before, after = (match_picks(p.center_zyx_px, true, 5.0) for p in (first, particles))
    assert len(first) == 16
    assert folder.record["stages"]["search"]["rounds"][0]["particles"] == len(final)
    with open_store(folder.store) as store:
        assert len(store) == len(labels) == len(final)
        np.testing.assert_allclose(store.particles().center_zyx_px, final.center_zyx_px)
    assert not (tmp_path / "run" / "subtomograms_found.h5").exists()
    assert after.recall >= before.recall + 0.1 and after.precision >= 0.85


def test_known_particles_stay_beside_those_that_were_found() -> None:
    info = {"t": TomogramInfo("t", 10.0, (100, 100, 100))}

    def at(*z: float) -> ParticleSet:
        centers = np.array([[value, 50.0, 50.0] for value in z])
        return ParticleSet(np.full(len(z), "t"), centers, tomograms=info)

    both = joined_with(at(41, 80), at(20, 40, 60), 100.0)
    np.testing.assert_array_equal(both.center_zyx_px[:, 0], [41, 80, 20, 60])
