"""Tomograms of different tilt ranges in one store: every particle keeps its own wedge."""

from __future__ import annotations

from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest
from few_rotations import QUICK, averaging_quickly
from scipy.spatial.transform import Rotation
from sklearn.metrics import adjusted_rand_score

from aitom_disca.alignment import Coefficients, Slicer, expect, rotation_grid
from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.exhaustive_search import align
from aitom_disca.alignment.expectation import shell_power, whitened
from aitom_disca.alignment.graded_wedge import measure_fall_off
from aitom_disca.alignment.local_search import correlations, refine_poses
from aitom_disca.alignment.search_grids import cross
from aitom_disca.alignment.to_reference import align_to_reference
from aitom_disca.averaging.average_at_poses import average_at_poses
from aitom_disca.averaging.fit_significance import null_test, round_densities
from aitom_disca.averaging.gold_standard import ClusterAverage
from aitom_disca.averaging.tempered_rounds import TemperedRounds
from aitom_disca.bench.crowded import falling_off
from aitom_disca.classification.detail_levels import Look
from aitom_disca.cli.app import main
from aitom_disca.config import MineSettings
from aitom_disca.geometry.fall_off_with_tilt import TILTS_DEG, weighed_by_tilt
from aitom_disca.geometry.wedge import (
    apply_wedge,
    common_tilt_range,
    distinct_tilt_ranges,
    missing_wedge_mask,
    tilt_ranges_of,
)
from aitom_disca.io import StoreWriter, open_store, open_tomogram, write_volume
from aitom_disca.io.formats.relion.star_blocks import read_blocks
from aitom_disca.io.formats.relion.subtomogram_images import export_subtomograms
from aitom_disca.io.result_tables import read_rows_csv, write_labels_csv
from aitom_disca.io.tomograms.wedge_volume import tilt_range_of_wedge, wedge_volume
from aitom_disca.mining import predicting
from aitom_disca.mining.sort_store import sort_source
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.search.references import references_of_maps
from aitom_disca.simulation import load_phantoms
from aitom_disca.simulation.subtomograms import simulate_subtomograms

BOX, VOXEL = 16, 17.5
RANGES = np.array([(-60.0, 40.0), (-50.0, 60.0)])  # neither holds the other


def of_each(wedge: np.ndarray) -> np.ndarray:
    return RANGES[wedge]


@pytest.fixture
def seen(rng):
    """Six particles of noise, their wedges, and all that a level of detail needs."""
    wedge = np.array([0, 1, 1, 0, 1, 0])
    volumes = np.array(
        [apply_wedge(v, tuple(RANGES[t])) for v, t in zip(noise(rng, 6), wedge, strict=True)]
    )
    return volumes, wedge


def noise(rng, n: int, box_px: int = 12) -> np.ndarray:
    return rng.normal(size=(n, *(box_px,) * 3)).astype(np.float32)


# -- the parts, beside a Coefficients for each range alone -------------------------------------


def test_distinct_ranges():
    ranges, wedge = distinct_tilt_ranges(of_each(np.array([1, 0, 1])), 3)
    np.testing.assert_array_equal(ranges[wedge], of_each(np.array([1, 0, 1])))
    one = (-60.0, 60.0)
    for given in (one, np.array([one, one])):  # equal ones are one
        ranges, wedge = distinct_tilt_ranges(given, 2)
        assert wedge is None and ranges.tolist() == [list(one)]
    assert tilt_ranges_of(one, np.array([1, 2])) == one
    assert common_tilt_range(RANGES) == (-50, 40)
    assert common_tilt_range(np.array([(-60, -10), (10, 60)])) == (-60, 60)
    with pytest.raises(ValueError, match="one tilt range, or 3"):
        distinct_tilt_ranges(RANGES, 3)


def test_many_tilt_ranges_are_rounded(rng) -> None:
    given = np.array([-60.0, 58.0]) + rng.uniform(-1.5, 1.5, (200, 2))
    ranges, wedge = distinct_tilt_ranges(given, 200)
    assert len(ranges) <= 16 and np.abs(ranges[wedge] - given).max() <= 0.5
    few, wedge = distinct_tilt_ranges(given[:30], 30)
    np.testing.assert_array_equal(few[wedge], given[:30])


def test_coefficients_are_those_of_each_range_and_nothing_else(seen):
    volumes, wedge = seen
    both = Coefficients(12, 5, RANGES)
    values, measured = both.of(volumes, wedge), both.measured_by(wedge)
    for i, t in enumerate(wedge):
        own = Coefficients(12, 5, tuple(RANGES[t]))
        np.testing.assert_array_equal(both.index_zyx[measured[i]], own.index_zyx)
        np.testing.assert_array_equal(values[i, measured[i]], own.of(volumes[[i]])[0])
        assert not values[i, ~measured[i]].any()
    with pytest.raises(ValueError, match="which one each volume has"):
        both.of(volumes)


def test_whitening_knows_what_was_measured(seen):
    """Noise of unit variance stays so, whatever its wedge."""
    wedge = np.arange(400) % 2
    both = Coefficients(12, 5, RANGES)
    volumes = noise(np.random.default_rng(0), 400)
    values, measured = both.of(volumes, wedge), both.measured_by(wedge)
    power = shell_power(values, both.shell, measured)
    np.testing.assert_allclose(power[2:], 12**3, rtol=0.1)
    white = whitened(values, both.shell, power, measured)
    each = np.array([np.mean(np.abs(v[m]) ** 2) for v, m in zip(white, measured, strict=True)])
    np.testing.assert_allclose(each, 2, rtol=1e-5)


@pytest.mark.parametrize("n_classes", [1, 2])
def test_expectation_is_that_of_each_range_alone(seen, rng, n_classes):
    volumes, wedge = seen
    grid, shifts = rotation_grid(9), np.array([[0.0, 0, 0], [1, 0, -1]])
    references = noise(rng, n_classes)
    both = Coefficients(12, 4, RANGES)
    prior = np.log(np.full(n_classes, 1 / n_classes))

    def met(coefficients, rows, of_them):
        slicer = Slicer(coefficients, grid)
        values = coefficients.of(volumes[rows], of_them) / 40
        half = np.arange(len(rows)) % 2
        particles = Particles(coefficients, values, np.zeros((len(rows), 3)), half, of_them)
        slices = np.stack([slicer(one) for one in references]) / 40
        found = expect(particles, slices, prior, shifts)
        pairs = zip(found.sums[0], found.counts[0], strict=True)
        return found, [slicer.insert(*pair) for pair in pairs]

    found, inserted = met(both, np.arange(6), wedge)
    totals = [np.zeros_like(part) for part in inserted[0]]
    for t in (0, 1):
        rows = np.flatnonzero(wedge == t)
        own, _ = met(Coefficients(12, 4, tuple(RANGES[t])), rows, None)
        np.testing.assert_allclose(found.log_likelihood[rows], own.log_likelihood, atol=1e-4)
        np.testing.assert_allclose(found.posterior[rows], own.posterior, atol=1e-4)
        np.testing.assert_array_equal(found.rotation[rows], own.rotation)
        np.testing.assert_array_equal(found.offset_zyx_px[rows], own.offset_zyx_px)
    for t in (0, 1):  # sums and weights of the two, added: those of both, of the first half
        rows = np.flatnonzero((wedge == t) & (np.arange(6) % 2 == 0))
        if not len(rows):
            continue
        coefficients = Coefficients(12, 4, tuple(RANGES[t]))
        particles = Particles(
            coefficients,
            coefficients.of(volumes[rows]) / 40,
            np.zeros((len(rows), 3)),
            np.zeros(len(rows), int),
        )
        slicer = Slicer(coefficients, grid)
        slices = np.stack([slicer(one) for one in references]) / 40
        own = expect(particles, slices, prior, shifts, by_half=False)
        for total, part in zip(
            totals, slicer.insert(own.sums[0, 0], own.counts[0, 0]), strict=True
        ):
            total += part
    for total, part in zip(totals, inserted[0], strict=True):
        np.testing.assert_allclose(part, total, atol=1e-4 * np.abs(total).max())


def test_poses_and_correlations_are_those_of_each_range_alone(seen, rng):
    volumes, wedge = seen
    (reference,) = noise(rng, 1)
    turns, nowhere = Rotation.random(6, random_state=3), np.zeros((6, 3))
    both = Coefficients(12, 5, RANGES)
    values = both.of(volumes, wedge)
    fit = correlations(values, both, reference, turns, nowhere, wedge)
    climbed = refine_poses(values, both, reference, turns, nowhere, [(8.0, 0.5)], wedge)
    laid = align_to_reference(volumes, reference, of_each(wedge), first_step_deg=40)
    slicer, shifts = Slicer(both, rotation_grid(50)), np.array([[0.0, 0, 0], [0, 1, 0]])
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    best = align(values / norm, both, slicer(reference), shifts, nowhere, wedge)
    for t in (0, 1):
        rows, tilts = np.flatnonzero(wedge == t), tuple(RANGES[t])
        own = Coefficients(12, 5, tilts)
        seen_alone, place = own.of(volumes[rows]), np.zeros((len(rows), 3))
        alone = correlations(seen_alone, own, reference, turns[rows], place)
        np.testing.assert_allclose(fit[rows], alone, atol=1e-5)
        one = refine_poses(seen_alone, own, reference, turns[rows], place, [(8.0, 0.5)])
        np.testing.assert_allclose(climbed[2][rows], one[2], atol=1e-5)
        np.testing.assert_allclose(climbed[1][rows], one[1])
        there = align_to_reference(volumes[rows], reference, tilts, first_step_deg=40)
        np.testing.assert_allclose(laid.score[rows], there.score, atol=1e-5)
        columns = Slicer(own, rotation_grid(50))(reference)
        seen_alone /= np.linalg.norm(seen_alone, axis=1, keepdims=True)
        found = align(seen_alone, own, columns, shifts, place)
        np.testing.assert_allclose(best.score[rows], found.score, atol=1e-5)
        np.testing.assert_array_equal(best.rotation[rows], found.rotation)


def test_an_average_is_the_sum_over_the_sum_of_wedges(seen):
    """Beside a plain one: every member turned back by itself, with its wedge."""
    volumes, wedge = seen
    turns, nowhere = Rotation.random(6, random_state=1), np.zeros((6, 3))
    own = average_at_poses(volumes, turns, nowhere, of_each(wedge))
    total, weight = 0, 0
    for i, t in enumerate(wedge):
        coefficients = Coefficients(12, 5, tuple(RANGES[t]))
        slicer = Slicer(coefficients, turns[[i]])
        more, heavier = slicer.insert(coefficients.of(volumes[[i]]), np.ones(1))
        total, weight = total + more, weight + heavier
    both = Coefficients(12, 5, RANGES)
    slicer = Slicer(both, turns)
    found = slicer.insert(both.of(volumes, wedge), np.eye(2)[wedge])
    np.testing.assert_allclose(found[0], total, atol=1e-4 * np.abs(total).max())
    np.testing.assert_allclose(found[1], weight, atol=1e-5)
    equal = average_at_poses(volumes, turns, nowhere, np.array([RANGES[0]] * 6))
    np.testing.assert_array_equal(
        equal, average_at_poses(volumes, turns, nowhere, tuple(RANGES[0]))
    )
    assert np.abs(own - equal).max() > 1e-3


def test_the_first_model_weighs_poses_by_each_range_alone(seen, rng):
    volumes, wedge = seen
    power, (model,) = np.full(12, 1e3), noise(rng, 1)
    met = TemperedRounds(volumes, (RANGES, None), wedge, power, 4.0, 60).weigh(model)
    for t in (0, 1):
        rows = np.flatnonzero(wedge == t)
        alone = TemperedRounds(volumes[rows], (RANGES[[t]], None), None, power, 4.0, 60).weigh(
            model
        )
        np.testing.assert_allclose(met.log_likelihood[rows], alone.log_likelihood, rtol=1e-4)
        np.testing.assert_array_equal(met.rotation[rows], alone.rotation)
        np.testing.assert_allclose(met.counts[:, t], alone.counts, atol=1e-4)


def test_a_round_density_lies_behind_each_wedge():
    grid = np.indices((16,) * 3) - 8
    ball = np.exp(-(grid**2).sum(axis=0) / 8).astype(np.float32)
    wedge = np.arange(6) % 2
    volumes = np.array([apply_wedge(ball, tuple(RANGES[t])) for t in wedge])
    found = round_densities(volumes, RANGES, wedge)
    for t in (0, 1):
        (alone,) = round_densities(volumes[wedge == t], RANGES[[t]], None)
        assert np.corrcoef(found[t].ravel(), alone.ravel())[0, 1] > 0.998
        assert np.corrcoef(found[t].ravel(), found[1 - t].ravel())[0, 1] < 0.995


@averaging_quickly()
def test_noise_of_another_tilt_range_makes_no_structure():
    """Fewer coefficients correlate better by chance: no member gains by a narrow range."""
    volumes = noise(np.random.default_rng(0), 200, BOX)
    narrow = apply_wedge(volumes[:40], (-35.0, 35.0))
    wide = apply_wedge(volumes[40:], (-70.0, 70.0))
    model = noise(np.random.default_rng(1), 2, BOX)
    found = ClusterAverage(
        model.mean(axis=0),
        *model,
        Rotation.identity(40),
        np.zeros((40, 3)),
        np.arange(40) % 2,
        np.zeros(40),
        np.ones((2, BOX)),
    )
    options = {"null_volumes": wide, "null_tilt_range_deg": (-70.0, 70.0)}
    for own in ((-35.0, 35.0), np.array([(-35.0, 35.0)] * 20 + [(-30.0, 40.0)] * 20)):
        assert null_test(narrow, found, own, **options).p_value > 0.01  # 1e-22 over own wedges


# -- what it is good for -----------------------------------------------------------------------

WIDE, SKEW = (-60.0, 60.0), (-40.0, 50.0)  # the second is also what both tomograms measured


def mixed(names, n: int, snr: float, seed: int = 0):
    """Copies in two tomograms: volumes, tilt range of each, labels, rotations and shifts."""
    every = load_phantoms()
    templates = [every[name] for name in names]
    parts = [
        simulate_subtomograms(templates, n, BOX, VOXEL, snr, tilts, 1.0, seed=seed + i)
        for i, tilts in enumerate((WIDE, SKEW))
    ]
    tilts = np.repeat([WIDE, SKEW], [len(part.volumes) for part in parts], axis=0)
    volumes, labels, shifts = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("volumes", "labels", "shifts_zyx_px")
    )
    turns = Rotation.concatenate([part.rotations for part in parts])
    return volumes, tilts, labels, turns, shifts


def test_averages_with_own_wedges_are_better_than_with_a_common_one():
    true = load_phantoms()["tripod"].density(BOX, VOXEL)
    inside = ((np.indices((BOX,) * 3) - BOX // 2) ** 2).sum(axis=0) < (0.4 * BOX) ** 2
    for seed in range(3):
        volumes, tilts, _, *poses = mixed(["tripod"], 24, 0.1, 10 * seed)
        own, common = (
            np.corrcoef(average_at_poses(volumes, *poses, t)[inside], true[inside])[0, 1]
            for t in (tilts, SKEW)
        )
        assert own > common + 0.003  # 0.006 each time


def test_sorting_with_own_wedges_is_better_than_with_a_common_one():
    """To which of two references each of 240 subtomograms fits better; three pairs."""
    every, right = load_phantoms(), {"own": 0.0, "common": 0.0}
    for names in (["tripod", "two_lobes"], ["tripod", "cross"], ["barrel", "letter_l"]):
        volumes, tilts, labels, *_ = mixed(names, 60, 0.01)
        for name, t in (("own", tilts), ("common", SKEW)):
            ranges, wedge = distinct_tilt_ranges(t, len(volumes))
            coefficients = Coefficients(BOX, 5, ranges)
            slicer, nowhere = Slicer(coefficients, rotation_grid(600)), np.zeros((len(volumes), 3))
            values = coefficients.of(volumes, wedge)
            values /= np.linalg.norm(values, axis=1, keepdims=True)
            fit = [
                align(
                    values,
                    coefficients,
                    slicer(every[one].density(BOX, VOXEL)),
                    cross(1.0),
                    nowhere,
                    wedge,
                ).score
                for one in names
            ]
            right[name] += np.mean(np.argmax(fit, axis=0) == labels) / 3
    assert right["own"] > right["common"] + 0.01, right


def test_a_fall_off_is_measured_whatever_the_ranges():
    """As behind one range; none is seen behind binary wedges that differ."""
    volumes, tilts, *_ = mixed(["shell"], 100, 0.2)
    assert measure_fall_off(volumes, tilts) is None
    white = noise(np.random.default_rng(0), 200, BOX)
    falls = falling_off(0.3, 0.55).noise
    one, both = (
        weighed_by_tilt(
            np.array([apply_wedge(v, t) for v, t in zip(white, own, strict=True)]), falls
        )
        for own in (np.array([WIDE] * 200), tilts)
    )
    inside = np.abs(TILTS_DEG) < 57
    expected = measure_fall_off(one, WIDE).noise[inside]
    np.testing.assert_allclose(measure_fall_off(both, tilts).noise[inside], expected, atol=0.05)
    assert np.abs(measure_fall_off(both, SKEW).noise[inside] - expected).max() > 0.2


def test_the_order_of_tomograms_does_not_count_in_a_search_by_maps(tmp_path):
    """The range of the first one was taken for all."""
    phantom, n = load_phantoms()["tripod"], 12
    turns, edge = Rotation.random(n, random_state=0), 24
    copies = [phantom.density(edge, VOXEL, turn) for turn in turns]
    whole = np.concatenate(copies, axis=2)
    whole += whole.std() * np.random.default_rng(1).normal(size=whole.shape).astype(np.float32)
    write_volume(tmp_path / "map.mrc", phantom.density(edge, VOXEL), VOXEL)
    opened = []
    for name, tilts in (("wide", WIDE), ("skew", SKEW)):
        path = tmp_path / f"{name}.mrc"
        write_volume(path, apply_wedge(whole, tilts), VOXEL, tilt_range_deg=tilts)
        opened.append(open_tomogram(path))
    centers = [np.array([[12.0, 12.0, edge * i + 12.0] for i in range(n)])] * 2
    one, other = (
        references_of_maps([tmp_path / "map.mrc"], tomograms, centers, 200.0).learnt
        for tomograms in (opened, opened[::-1])
    )
    assert one.tilt_range_deg == other.tilt_range_deg == SKEW
    np.testing.assert_allclose(one.averages, other.averages, atol=1e-3 * one.averages.max())


# -- from tomograms to files, and back -----------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two structures in two tomograms, as `extract` keeps them."""
    folder = tmp_path_factory.mktemp("own")
    volumes, tilts, labels, *_ = mixed(["tripod", "barrel"], 16, 2.0)
    names = np.where(tilts[:, 0] == WIDE[0], "TS_a", "TS_b")
    angles = {"TS_a": tuple(np.arange(-60.0, 61, 3)), "TS_b": tuple(np.arange(-40.0, 51, 3))}
    infos = {
        name: TomogramInfo(name, VOXEL, (90, 90, 2700), ends, tilts_deg=angles[name])
        for name, ends in (("TS_a", WIDE), ("TS_b", SKEW))
    }
    centres = np.full((len(names), 3), 40.0)
    centres[:, 2] += 40 * np.arange(len(names))  # no two share voxels
    particles = ParticleSet(names, centres, tomograms=infos)
    ranges = {name: info.tilt_range_deg for name, info in infos.items()}
    with StoreWriter.create(folder / "s.h5", (BOX,) * 3, VOXEL, ranges, infos) as writer:
        for rows in np.array_split(np.random.default_rng(0).permutation(len(names)), 3):
            writer.append(volumes[rows], particles.select(rows), labels=labels[rows])
    return folder / "s.h5"


def test_a_store_keeps_the_tilts_of_every_tomogram(store):
    with open_store(store) as one:
        names = one.particles().tomogram_name
        expected = np.where((names == "TS_a")[:, None], WIDE, SKEW)
        np.testing.assert_array_equal(one.tilt_range_deg, expected)
        assert one.common_tilt_range_deg == SKEW
        assert one.particles().tomograms["TS_a"].tilts_deg == tuple(np.arange(-60.0, 61, 3))


def test_tilt_files_beside_tomograms_reach_the_store(tmp_path, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = []
    for name, tilts in (("TS_1", np.arange(-60, 61, 3)), ("TS_10", np.arange(-40, 51, 2))):
        write_volume(f"{name}.mrc", rng.normal(size=(40, 50, 50)).astype(np.float32), VOXEL)
        (tmp_path / f"{name}.tlt").write_text("\n".join(map(str, tilts)))
        rows += [f"{name},20,{y},25,1" for y in (15, 25)]
    (tmp_path / "p.csv").write_text("\n".join(["tomogram,z,y,x,score", *rows]))
    command = ["extract", "TS_1.mrc", "TS_10.mrc", "--picks", "p.csv", "--out", "s.h5"]
    assert main([*command, "--box-px", "16", "-d", "150"]) == 0
    with open_store("s.h5") as one:
        assert one.tilt_range_deg.tolist() == [list(WIDE)] * 2 + [list(SKEW)] * 2
        tomograms = one.particles().tomograms
    assert tomograms["TS_10"].tilts_deg == tuple(np.arange(-40, 51, 2))
    assert main([*command, "--box-px", "16", "-d", "150", "--tilt-range", "-50", "50"]) == 2
    command[-1] = "t.h5"
    assert main([*command, "--box-px", "16", "-d", "150", "--tilt-range", "-50", "50"]) == 0
    with open_store("t.h5") as one:
        assert one.tilt_range_deg == (-50, 50)
        assert one.particles().tomograms["TS_10"].tilts_deg == ()


def test_every_ctf_image_shows_the_particles_own_wedge_and_is_read_back(
    store, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with open_store(store) as one:
        names = one.particles().tomogram_name.tolist()
        export_subtomograms(one, "images", one.particles(), "a.star")
    table = next(b for b in read_blocks("a.star").values() if "rlnCtfImage" in b)
    for name, image in zip(names, table["rlnCtfImage"], strict=True):
        own = missing_wedge_mask((BOX,) * 3, WIDE if name == "TS_a" else SKEW)
        shown = np.fft.ifftshift(mrcfile.read(image))[:, :, : BOX // 2]
        expected = np.broadcast_to(own[:, :, : BOX // 2], shown.shape)
        inside = np.arange(BOX) != BOX // 2  # the Nyquist plane is its own mirror
        np.testing.assert_array_equal(shown[inside] > 0.5, expected[inside])
    assert main(["import-subtomograms", "a.star", "--out", "b.h5"]) == 0
    assert "a guess" not in capsys.readouterr().out
    with open_store("b.h5") as again, open_store(store) as one:
        np.testing.assert_array_equal(again.tilt_range_deg, one.tilt_range_deg)
    (tmp_path / "a.tlt").write_text("-51\n0\n57\n")
    assert main(["import-subtomograms", "a.star", "--out", "c.h5", "--tilt-file", "a.tlt"]) == 0
    with open_store("c.h5") as again:
        assert again.tilt_range_deg == (-51, 57)


@pytest.mark.parametrize("tilts", [WIDE, SKEW, (-48.0, 66.0)])
@pytest.mark.parametrize("n", [24, 48])
def test_a_wedge_that_another_program_wrote_is_measured(tilts, n):
    found = tilt_range_of_wedge(wedge_volume(n, tilts))
    np.testing.assert_allclose(found, tilts, atol=1.5 if n == 24 else 0.8)
    assert tilt_range_of_wedge(np.ones((n,) * 3)) is None
    assert tilt_range_of_wedge(wedge_volume(n, (10.0, 60.0))) is None
    for axes in ((0, 2, 1), (1, 0, 2), (2, 1, 0)):  # the wedge about x, the beam along y or x
        assert tilt_range_of_wedge(wedge_volume(n, tilts).transpose(axes)) is None
    assert tilt_range_of_wedge(np.fft.ifftshift(wedge_volume(n, tilts))) is None


def test_a_store_is_sorted_and_assigned_by_the_wedges_of_its_particles(store, monkeypatch):
    """Three quarters are sorted, then all by what was found."""
    seen, whole = [], Look.particles
    monkeypatch.setattr(
        Look,
        "particles",
        lambda self, search, *args, **options: (
            seen.append(len(search.coefficients.measured)) or whole(self, search, *args, **options)
        ),
    )
    with open_store(store) as one:
        true, rows = one.labels, np.flatnonzero(np.arange(len(one)) % 4)
        begun = true[rows].copy()
        begun[::9] = 1 - begun[::9]
        found = sort_source(
            one,
            rows,
            lambda sorter: sorter.refine(begun, splits=0),
            one.tilt_range_deg,
            looks=0,
            settings=QUICK,
        )
    assert set(seen) == {2} and found.sorter.learnt().tilt_range_deg == SKEW
    assert adjusted_rand_score(true, found.labels) == 1
    model = SimpleNamespace(learnt=found.sorter.learnt(), settings=MineSettings(sorting=QUICK))
    with open_store(store) as one:
        assert adjusted_rand_score(true, predicting._aligned(model, one)[0]) == 1


@averaging_quickly()
def test_a_store_is_averaged_by_the_wedges_of_its_particles(store, tmp_path):
    with open_store(store) as one:
        write_labels_csv(tmp_path / "labels.csv", one.labels)
    command = ["average", str(store), "--labels", str(tmp_path / "labels.csv")]
    assert main([*command, "--out", str(tmp_path / "a"), "--null-test", "others"]) == 0
    rows = read_rows_csv(tmp_path / "a" / "averages.csv")
    assert len(rows) == 2 and all(float(row["p_value"]) < 0.01 for row in rows)
