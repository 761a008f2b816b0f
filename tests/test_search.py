"""Averages find their particles in tomograms."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aitom_disca.classification.assign_others import LearntAverages
from aitom_disca.cli.app import main
from aitom_disca.clustering.calibration import calibration_error
from aitom_disca.io import open_tomogram, read_labels_csv, read_particles_star, write_volume
from aitom_disca.particles import ParticleSet
from aitom_disca.picking import without_duplicates
from aitom_disca.search import (
    Judge,
    Judged,
    References,
    accepted,
    candidates_of,
    particle_probability,
    q_values,
    q_values_of_bulk,
    references_of_maps,
    search,
    template_peaks,
    template_search,
    without_structure,
)
from aitom_disca.search.candidates import cut_boxes
from aitom_disca.simulation import load_phantoms, simulate_tomogram

VOXEL, DIAMETER, NAMES = 14.0, 200.0, ("two_lobes", "rod")


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder with a tomogram and a map of each of two structures; centres and classes."""
    folder = tmp_path_factory.mktemp("cell")
    phantoms = load_phantoms()
    made = simulate_tomogram([phantoms[n] for n in NAMES], 12, (48, 96, 96), VOXEL, 0.1, seed=3)
    write_volume(folder / "t.mrc", made.volume, VOXEL, tilt_range_deg=(-60, 60))
    for name in NAMES:
        write_volume(folder / f"{name}.mrc", phantoms[name].density(24, VOXEL), VOXEL)
    return folder, made.truth.center_zyx_px, made.truth.cluster


def options(folder: Path, out: Path, *more: str) -> list[str]:
    maps = [text for name in NAMES for text in ("--averages", str(folder / f"{name}.mrc"))]
    given = maps if "--averages" not in more else []
    diameter = [] if "--particle-diameter-angstrom" in more else [str(DIAMETER)]
    diameter = ["--particle-diameter-angstrom", *diameter] if diameter else []
    return ["search", str(folder / "t.mrc"), *given, "--out", str(out), *diameter, *more]


def test_maps_find_their_particles(cell, tmp_path, capsys) -> None:
    folder, centers, classes = cell
    assert main(options(folder, tmp_path / "found")) == 0
    found = read_particles_star(tmp_path / "found" / "particles.star")
    distance, nearest = cKDTree(centers).query(found.center_zyx_px)
    right = distance < 5
    assert right.mean() >= 0.9 and len(set(nearest[right])) >= 10
    assert (found.cluster[right] == classes[nearest[right]]).mean() >= 0.9
    labels, posterior = read_labels_csv(tmp_path / "found" / "labels.csv")
    np.testing.assert_array_equal(labels, found.cluster)
    assert (posterior > 0.5).mean() > 0.8
    assert "candidates left out" in capsys.readouterr().out
    noise = read_particles_star(tmp_path / "found" / "junk" / "noise.star")
    assert (noise.cluster == -1).all() and len(noise) > 20


def test_the_plain_search_finds_the_same(cell) -> None:
    folder, centers, classes = cell
    tomogram = open_tomogram(folder / "t.mrc")
    volume, template = (open_tomogram(folder / n).read() for n in ("t.mrc", "two_lobes.mrc"))
    score, _ = template_search(volume, template, step_deg=60, mask_radius_px=7)
    assert score.shape == tomogram.shape_zyx and score.max() <= 1
    peaks = template_peaks(score, 7, 7).zyx[: (classes == 0).sum()]
    distance, _ = cKDTree(peaks).query(centers[classes == 0])
    assert (distance < 3).mean() >= 0.8


def test_boxes_at_the_faces_are_mirrored(cell) -> None:
    tomogram = open_tomogram(cell[0] / "t.mrc")
    whole = np.pad(tomogram.read(), 6, mode="symmetric")
    boxes = cut_boxes(tomogram, np.array([[2.0, 40, 77], [20, 30, 40]]), 12)
    for box, corner in zip(boxes, ((2, 40, 77), (20, 30, 40)), strict=True):
        np.testing.assert_array_equal(box, whole[tuple(slice(c, c + 12) for c in corner)])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--voxel-size-angstrom", "20"), "add --rescale"),
        (("--particle-diameter-angstrom", "400"), "that holds a mask of 400 A"),
        (("--fdr", "0"), "must lie between 0 and 1"),
        (("--averages", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_searched_is_refused(cell, tmp_path, capsys, more, said) -> None:
    assert main(options(cell[0], tmp_path / "out", *more)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_averages_that_are_not_trusted_find_nothing(cell, capsys) -> None:
    learnt = LearntAverages(np.ones((1, 16, 16, 16)), np.zeros(1), np.ones(20), -np.inf, (-60, 60))
    found = search([open_tomogram(cell[0] / "t.mrc")], References(learnt, 224.0, ("1",)), DIAMETER)
    assert len(found.particles) == len(found.noise) == 0


# -- how many are false ----------------------------------------------------------------------


def test_q_values_are_those_of_the_plain_definition(rng) -> None:
    score, null = rng.normal(size=(2, 60))
    found = q_values(score, null)
    best, wins = np.maximum(score, null), score > null
    noisy = q_values(score, null, np.array([3.0]))  # one of one: as many as there are candidates
    assert (noisy[best < 3] == 1).all() and (noisy >= found).all()
    for i in range(60):
        rates = [
            min(1, (1 + ((best >= s) & ~wins).sum()) / max(1, ((best >= s) & wins).sum()))
            for s in best[best <= best[i]]
        ]
        assert found[i] == (pytest.approx(min(rates)) if wins[i] else 1)


def test_stated_rates_hold_where_junk_fits_either_as_well(rng) -> None:
    true = np.arange(4000) < 1000
    score, null = rng.normal(size=(2, 4000)) + np.array([4.0 * true, 0 * true])
    accepted = q_values(score, null) <= 0.1
    assert (~true[accepted]).mean() == pytest.approx(0.1, abs=0.03) and accepted[true].mean() > 0.8
    sure = particle_probability(score, null)
    assert calibration_error(sure[score > null], true[score > null], 10) < 0.05
    assert (sure[score <= null] == 0).all() and not len(particle_probability(score[:0], null[:0]))


def test_what_stands_out_from_the_bulk_is_found(rng) -> None:
    true = np.arange(3000) < 300
    score = rng.normal(-1, 2, 3000) + 12 * true
    accepted = q_values_of_bulk(score) <= 0.1
    assert accepted[true].mean() > 0.95 and (~true[accepted]).mean() < 0.12
    assert (q_values_of_bulk(score[~true]) > 0.1).mean() > 0.99


def test_what_stands_out_but_is_like_noise_is_left_out(rng) -> None:
    score = np.concatenate([rng.normal(-8, 1, 900), np.full(100, -2.0)])
    particles = ParticleSet(np.full(1000, "t"), np.zeros((1000, 3)), score=score)
    judged = Judged(particles, np.full(1000, 5.0))
    for noise, n in ((-3.0, 100), (0.0, 0)):
        found = accepted(judged, np.full(50, noise), 0.1, any_kind=True)
        assert len(found.particles) == n


def test_a_globule_is_the_mean_over_all_directions(rng) -> None:
    volume = rng.normal(size=(20, 20, 20))
    learnt = LearntAverages(volume[None], np.zeros(1), np.ones(20), 0.0, (-60, 60))
    globule = without_structure(learnt).averages[0]
    shell = np.round(np.linalg.norm(np.indices((20, 20, 20)) - 10, axis=0))
    for radius in (0, 3, 8):
        inside = shell == radius
        np.testing.assert_allclose(globule[inside], volume[inside].mean(), atol=1e-6)


@pytest.mark.full
@pytest.mark.parametrize("level", ["good", "raw"])
def test_a_map_in_a_cell_beside_the_plain_search(shared_data, level) -> None:
    """Ribosomes; prints recall of the best so many, and seconds, of both."""
    cell, path = shared_data / "cell", shared_data / "templates" / "4v4r.mrc.gz"
    if not cell.is_dir():
        pytest.skip("the cell is not in ../shared/data")
    tomogram = open_tomogram(
        cell / f"cell_{level}.mrc", voxel_size_angstrom=10.0, dark_protein=True
    )
    with open(cell / "truth.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "4v4r"]
    true = np.array([[float(row[axis]) for axis in "zyx"] for row in rows])
    true = true[((true >= 20) & (true < np.array(tomogram.shape_zyx) - 20)).all(axis=1)]

    def recall(name: str, places: np.ndarray, seconds: float) -> float:
        inside = ((places >= 18) & (places < np.array(tomogram.shape_zyx) - 18)).all(axis=1)
        distance, _ = cKDTree(places[inside][: 2 * len(true)]).query(true)
        print(f"{level}, {name}: recall {np.mean(distance < 8):.3f} in {seconds:.0f} s")
        return float(np.mean(distance < 8))

    start = time.process_time()
    centers = candidates_of(tomogram, 270.0).center_zyx_px
    references = references_of_maps([path], [tomogram], [centers], 270.0)
    judged = Judge(references, tomogram.tilt_range_deg)(tomogram, centers).particles
    judged = judged.select(np.argsort(-judged.score))
    judged = judged.select(np.flatnonzero(without_duplicates(judged, 135.0)))
    own = recall("likelihood", judged.center_zyx_px, time.process_time() - start)
    start = time.process_time()
    halved, template = (_halved(one.read()) for one in (tomogram, open_tomogram(path)))
    score, _ = template_search(halved, template[4:28, 4:28, 4:28], step_deg=30, mask_radius_px=6.75)
    places = 2 * template_peaks(score, 6.75, 9).zyx + 0.5
    plain = recall("plain, 30 degrees, 20 A voxels", places, time.process_time() - start)
    assert own > 0.9 and own > plain - 0.05


def _halved(volume: np.ndarray) -> np.ndarray:
    shape = [m for n in volume.shape for m in (n // 2, 2)]
    return (volume - volume.mean()).reshape(shape).mean(axis=(1, 3, 5))
