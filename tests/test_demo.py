"""The demo finds what it planted, and a random answer does not pass for that."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import starfile
from sklearn.metrics import adjusted_rand_score

pytest.importorskip("keras")

from aitom_disca.averaging import compare_with_map
from aitom_disca.cli import main
from aitom_disca.demo import (
    DIAMETER_ANGSTROM,
    PHANTOMS,
    VOXEL_SIZE_ANGSTROM,
    default_settings,
    run_demo,
)
from aitom_disca.errors import InputError
from aitom_disca.io import open_store, open_tomogram, read_labels_csv, read_rows_csv
from aitom_disca.simulation import load_phantoms, match_picks

N_PARTICLES = 45
STRUCTURES = ("two_lobes", "ring", "rod")
ARI_FLOOR = 0.8


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A demo of a fifth of its size: three structures, fewer tries, and no null test."""
    usual = default_settings(0)
    mine = usual.mine.changed(alignment_starts=4, alignment_splits=0)
    settings = usual.model_copy(
        update={"mine": mine, "average": usual.average.changed(null_test="none")}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aitom_disca.demo.SHAPE_ZYX", (64, 135, 135))
        patch.setattr("aitom_disca.demo.PHANTOMS", STRUCTURES)
        out = tmp_path_factory.mktemp("demo") / "out"
        return run_demo(out, n_particles=N_PARTICLES, settings=settings)


@pytest.mark.full
def test_the_demo_as_it_is_finds_what_it_planted(tmp_path):
    result = run_demo(tmp_path / "out")
    assert result.score.recall >= 0.9 and result.score.precision >= 0.8
    assert result.k_found == result.k_true == len(PHANTOMS)
    assert result.ari >= 0.95


def test_the_demo_finds_what_it_planted(result):
    assert result.score.n_true == N_PARTICLES
    assert result.score.recall >= 0.9
    assert result.score.precision >= 0.8
    assert result.k_true == len(STRUCTURES)
    assert abs(result.k_found - result.k_true) <= 1
    assert result.ari >= ARI_FLOOR


def test_a_random_labelling_stays_far_below_the_floor(result):
    labels, _ = read_labels_csv(result.folder.labels)
    truth = starfile.read(result.folder.path / "truth.star", always_dict=True)["particles"]
    columns = ["rlnCoordinateZ", "rlnCoordinateY", "rlnCoordinateX"]
    with open_store(result.folder.store) as store:
        found = store.particles().center_zyx_px
    tolerance = DIAMETER_ANGSTROM / 2 / VOXEL_SIZE_ANGSTROM
    pairs = match_picks(found, truth[columns].to_numpy(), tolerance).pairs
    true_class = truth["rlnClassNumber"].to_numpy()[pairs[:, 1]]
    # The score that the demo gives, from the files that it wrote.
    ari = adjusted_rand_score(true_class, labels[pairs[:, 0]])
    assert ari == pytest.approx(result.ari)
    rng = np.random.default_rng(0)
    shuffled = [
        adjusted_rand_score(true_class, rng.permutation(labels[pairs[:, 0]])) for _ in range(200)
    ]
    assert max(shuffled) < ARI_FLOOR / 4


def test_the_demo_leaves_tomogram_truth_and_results(result):
    assert result.folder.report.exists() and result.folder.star.exists()
    tomogram = open_tomogram(result.tomogram_file)
    assert tomogram.voxel_size_angstrom == VOXEL_SIZE_ANGSTROM
    assert tomogram.tilt_range_deg == (-60, 60)
    assert (result.folder.path / "truth.star").exists()
    assert result.simulate_seconds > 0


def test_its_averages_are_the_structures(result):
    phantoms = load_phantoms()
    rows = read_rows_csv(result.folder.averages / "averages.csv")
    alike = []
    for row in rows[: len(STRUCTURES)]:
        path = result.folder.averages / f"cluster_{int(row['cluster']):02d}" / "average.mrc"
        average = open_tomogram(path, tilt_range_deg=(-90, 90))
        voxel = average.voxel_size_angstrom
        sizes = {"voxel_size_angstrom": voxel, "known_voxel_size_angstrom": voxel}
        maps = [phantoms[name].density(average.shape_zyx[0], voxel) for name in STRUCTURES]
        alike.append([compare_with_map(average.read(), m, **sizes).correlation for m in maps])
    assert len({*np.argmax(alike, axis=1)}) == len(alike) == 3  # none mistaken for another
    assert np.max(alike, axis=1).min() > 0.75


def test_star_files_say_where_the_particles_are(result):
    written = starfile.read(result.folder.star)["particles"]
    box, moved = (
        written[[name.format(axis) for axis in "ZYX"]].to_numpy()
        for name in ("rlnCoordinate{}", "rlnOrigin{}Angst")
    )
    labels, _ = read_labels_csv(result.folder.labels)
    with open_store(result.folder.store) as store:
        found = store.particles().center_zyx_px[labels >= 0]
    np.testing.assert_allclose(box - moved / VOXEL_SIZE_ANGSTROM, found, atol=1e-4)


def test_the_demo_refuses_a_folder_in_use(result):
    before = result.tomogram_file.stat().st_mtime_ns
    with pytest.raises(InputError, match="already holds a run"):
        run_demo(result.folder.path)
    assert result.tomogram_file.stat().st_mtime_ns == before


def test_settings_are_those_of_a_run_but_for_diameter_and_seed():
    settings = default_settings(7)
    assert settings.mine.seed == 7
    assert settings.pick.particle_diameter_angstrom == DIAMETER_ANGSTROM
    assert settings.mine.model_dump(exclude={"seed"}) == default_settings(0).mine.model_dump(
        exclude={"seed"}
    )


def test_the_command_prints_its_score(result, monkeypatch, capsys):
    logging.getLogger("aitom_disca").handlers.clear()
    monkeypatch.setattr("aitom_disca.demo.run_demo", lambda *_, **__: result)
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    for text in (
        "precision",
        "recall",
        "in no cluster",
        "adjusted Rand index",
        "3 true",
        "seconds: total",
    ):
        assert text in out
