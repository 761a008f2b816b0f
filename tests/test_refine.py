"""Clusters sorted again by their averages, and asked whether they are real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.expectation import shell_power, whitened
from aitom_disca.alignment.search_grids import cross
from aitom_disca.classification import AlignmentSorter
from aitom_disca.classification.cluster_posterior import held_out_gain
from aitom_disca.classification.expectation_maximisation import Search
from aitom_disca.classification.first_references import singles
from aitom_disca.cli.app import main
from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, read_labels_csv, read_rows_csv, write_labels_csv
from aitom_disca.mining import DISCA
from aitom_disca.mining.sort_store import drawn_rows
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.simulation import (
    SimulatedSubtomograms,
    load_phantoms,
    simulate_subtomograms,
)

TILT = (-60.0, 60.0)
BOX, VOXEL, EACH, N_NOISE = 16, 19.0, 24, 6


def structures(
    each: int, snr: float = 0.5, seed: int = 1, box_px: int = BOX, voxel_angstrom: float = VOXEL
) -> SimulatedSubtomograms:
    """So many of each of two."""
    templates = [load_phantoms()[name] for name in ("two_lobes", "ring")]
    return simulate_subtomograms(templates, each, box_px, voxel_angstrom, snr, TILT, 1.0, seed=seed)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Two structures and noise; the truth."""
    made, noise = structures(EACH), structures(N_NOISE, snr=1e-6, seed=2).volumes
    volumes = np.concatenate([made.volumes, noise[:N_NOISE]])
    return volumes, np.concatenate([made.labels, np.full(N_NOISE, -1)])


@pytest.fixture(scope="module")
def poor(data) -> np.ndarray:
    """The truth with a quarter of the labels wrong, a cluster cut in two, and noise in one."""
    labels = data[1].copy()
    rng = np.random.default_rng(0)
    wrong = rng.choice(2 * EACH, EACH // 2, replace=False)
    labels[wrong] = 1 - labels[wrong]
    labels[np.flatnonzero(labels == 1)[::2]] = 2
    labels[labels < 0] = 0
    return labels


def test_two_clusters_of_one_structure_are_split_again_if_they_were_given_as_one(data) -> None:
    volumes, truth = data
    kept = truth >= 0
    labels = AlignmentSorter(volumes[kept], TILT).refine(np.zeros(kept.sum(), int))
    assert labels.max() == 1  # not one, and the other called noise
    assert adjusted_rand_score(truth[kept], labels) > 0.9


@pytest.mark.parametrize("of_noise", [True, False])
def test_held_out_coefficients_see_through_clusters_of_noise(of_noise: bool) -> None:
    """Two clusters round two subtomograms, one of each structure or of noise."""
    rng = np.random.default_rng(4)
    volumes = structures(36, 0.3, box_px=18, voxel_angstrom=17.0).volumes
    if of_noise:
        volumes = rng.normal(size=volumes.shape).astype(np.float32)
    search = Search(18, 6.0, TILT, 300, cross(1.0), 4)
    coefficients = search.coefficients
    values = coefficients.of(volumes)
    values = whitened(values, coefficients.shell, shell_power(values, coefficients.shell))
    half = rng.permutation(len(volumes)) % 2
    particles = Particles(coefficients, values, np.zeros((len(volumes), 3)), half)
    classes = singles(particles, np.array([0, -1]))
    found = search.weigh(particles, classes)
    classes = replace(classes, labels=found.posterior.argmax(axis=1))
    assert min(np.bincount(classes.labels, minlength=2)) >= 10
    verdicts = held_out_gain(search, particles, classes, rng)
    assert sum(verdict.n_members for verdict in verdicts) == len(volumes)
    for verdict in verdicts:
        assert (abs(verdict.z) < 3) if of_noise else verdict.z > 5


def test_every_cluster_takes_part_when_some_are_drawn() -> None:
    labels = np.repeat([0, 1], [5000, 60])
    rows = drawn_rows(len(labels), 500, np.random.default_rng(0), labels)
    assert len(np.unique(rows)) == 500 and (labels[rows] == 1).sum() >= 50
    assert (np.diff(rows) > 0).all()
    plain = drawn_rows(len(labels), 500, np.random.default_rng(0))
    assert (labels[plain] == 1).sum() < 30


# -- the command -----------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, data, poor) -> Path:
    volumes = data[0]
    info = TomogramInfo("t", VOXEL, (100, 100, 100), TILT)
    centres = np.random.default_rng(3).uniform(20, 80, (len(volumes), 3))
    particles = ParticleSet(np.array(["t"] * len(volumes)), centres, tomograms={"t": info})
    with StoreWriter.create(tmp_path / "s.h5", (BOX,) * 3, VOXEL, TILT, {"t": info}) as writer:
        writer.append(volumes, particles)
    write_labels_csv(tmp_path / "labels.csv", poor)
    return tmp_path / "s.h5"


def test_clusters_merge_lose_noise_become_right_and_are_learnt(store, tmp_path, data, poor):
    truth = data[1]
    assert adjusted_rand_score(truth, poor) < 0.4
    out = tmp_path / "out"
    command = ["refine", str(store), "--labels", str(tmp_path / "labels.csv"), "--out", str(out)]
    assert main([*command, "--teach"]) == 0
    labels, posterior = read_labels_csv(out / "labels.csv")
    assert labels.max() == 1
    assert adjusted_rand_score(truth, labels) > 0.9
    assert (labels[truth < 0] == -1).mean() > 0.7
    assert posterior is not None and (posterior[labels < 0] == 0).all()
    sizes = np.bincount(labels[labels >= 0])
    assert (np.diff(sizes) <= 0).all()
    rows = read_rows_csv(out / "refinement.csv")
    assert [int(row["members"]) for row in rows] == sizes.tolist()
    assert all(float(row["held_out_z"]) > 5 for row in rows)
    came = [int(part.split("(")[1].rstrip(")")) for part in rows[0]["came_from"].split(", ")]
    assert sum(came) == sizes[0]
    assert (out / "clusters" / "cluster_02.star").exists()
    predicted = DISCA.load(out / "model.h5").predict(data[0])
    kept = labels >= 0
    assert (predicted[kept] == labels[kept]).mean() > 0.8
    stages = json.loads((out / "run.json").read_text())["stages"]
    assert stages["refine"]["n_clusters"] == 2 and not stages["refine"]["warnings"]
    assert main(command) == 2  # what is there is kept


def test_labels_of_another_store_are_refused(store, tmp_path, capsys) -> None:
    write_labels_csv(tmp_path / "short.csv", np.zeros(5, int))
    out = tmp_path / "out"
    command = ["refine", str(store), "--labels", str(tmp_path / "short.csv"), "--out", str(out)]
    assert main(command) == 2
    assert "has 5 and" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("labels", [[0, 1, 3, 3], [0, 1], [-1, -1, -1, -1]])
def test_labels_that_cannot_be_taught_are_refused(labels) -> None:
    volumes = np.random.default_rng(0).normal(size=(4, 12, 12, 12)).astype(np.float32)
    with pytest.raises(InputError, match="without gaps"):
        DISCA(candidate_k=(2,)).teach(volumes, np.array(labels))
