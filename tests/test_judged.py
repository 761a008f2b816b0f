"""How far an average can be trusted: null test, known maps, masks, sharpening."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from few_rotations import averaging_quickly
from scipy.stats import binom

from aitom_disca.averaging import sharpening, validation
from aitom_disca.averaging.fit_significance import (
    _p_among_all,
    _p_among_copies,
    null_test,
    round_densities,
    with_random_phases,
)
from aitom_disca.averaging.validation import JudgedAverage, KnownMap, judged_average
from aitom_disca.bench.false_alarms import measure_false_alarms
from aitom_disca.cli.app import main
from aitom_disca.config import AverageSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry import apply_wedge
from aitom_disca.io import StoreWriter, read_rows_csv, write_volume
from aitom_disca.particles import ParticleSet
from aitom_disca.pipeline.average_tables import Averaged
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

TILT = (-60.0, 60.0)
BOX, VOXEL, N = 16, 19.0, 20
NO_TEST = AverageSettings(null_test="none")


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    with averaging_quickly():
        yield


@pytest.fixture(scope="module")
def volumes() -> np.ndarray:
    phantom = load_phantoms()["letter_l"]
    return simulate_subtomograms([phantom], N, BOX, VOXEL, 0.3, TILT, 1.0, seed=1).volumes


@pytest.fixture(scope="module")
def done(volumes: np.ndarray) -> JudgedAverage:
    known = {
        name: KnownMap(load_phantoms()[name].density(BOX, VOXEL), VOXEL)
        for name in ("letter_l", "ring")
    }
    settings = AverageSettings(b_factor_angstrom2=-20_000)
    return judged_average(volumes, TILT, VOXEL, settings, known=known)


def test_a_structure_is_far_from_noise(done: JudgedAverage) -> None:
    assert done.null is not None and done.null.made_from == "noise"
    assert done.null.p_value < 1e-4 and done.null.p_round < 0.01
    assert done.null.fit_better > 0.9
    assert done.verdict == "more than noise" and not done.doubtful


def test_noise_is_not_told_from_noise(volumes: np.ndarray) -> None:
    noise = with_random_phases(volumes, np.random.default_rng(7))
    of_noise = judged_average(noise, TILT, VOXEL)
    assert of_noise.null is not None and of_noise.null.p_value > 0.01
    assert of_noise.doubtful and of_noise.verdict.startswith("doubtful")


def test_the_same_bright_middle_in_noise_is_called_round(volumes: np.ndarray, done) -> None:
    """Picks of noise share what they were picked for, and nothing else."""
    grid = np.indices((BOX,) * 3) - BOX // 2
    middle = apply_wedge(np.exp(-(grid**2).sum(axis=0) / 8).astype(np.float32), TILT)
    noise = with_random_phases(volumes, np.random.default_rng(3)) + 2 * middle
    first, second = (noise[done.found.half == h].mean(axis=0) for h in (0, 1))
    test = null_test(noise, replace(done.found, half1=first, half2=second), TILT)
    assert test.p_value < 1e-3 and test.p_round > 0.01
    (kept,) = round_densities(noise, np.array([TILT]), None)
    assert np.corrcoef(kept.ravel(), middle.ravel())[0, 1] > 0.9


def test_noise_has_the_amplitudes_of_its_member(volumes: np.ndarray) -> None:
    kept = volumes[0] * 0.1
    copies = with_random_phases(volumes, np.random.default_rng(0), kept)
    for copy, volume in zip(copies[:3], volumes[:3], strict=True):
        ours, theirs = (np.abs(np.fft.rfftn(v - kept)) for v in (copy, volume))
        np.testing.assert_allclose(ours, theirs, atol=1e-3 * theirs.max())
        assert abs(np.corrcoef(copy.ravel(), volume.ravel())[0, 1]) < 0.2


def test_the_sums_of_ranks_have_the_spread_that_is_reckoned_with(rng) -> None:
    m, n, sets = 5, 12, 4000
    groups = np.array([0, 0, 0, *range(1, n - 2)])
    scores = rng.normal(size=(sets, m + 1, n))
    scores[:, :, 1:3] = scores[:, :, :1]  # the members of one group have all in common
    ranks = (scores[:, 1:] < scores[:, :1]).mean(axis=1)
    p = np.array([_p_among_copies(one, groups, m) for one in ranks])
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.015)
    noise = np.sort(rng.normal(size=(sets, 40)), axis=1)
    shares = [np.searchsorted(a, b) / 40 for a, b in zip(noise, scores[:, 0, 2:], strict=True)]
    p = np.array([_p_among_all(one, np.arange(n - 2), 40) for one in shares])
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.015)


def test_the_verdict_is_withheld_where_too_few_can_be_judged(volumes: np.ndarray, done) -> None:
    few = judged_average(volumes[:8], TILT, VOXEL)
    assert few.null is not None and np.isnan(few.null.p_value)
    assert few.verdict.startswith("not judged: fewer than 10 members") and not few.doubtful
    touching = null_test(volumes, done.found, TILT, groups=np.arange(N) // 5)
    assert "independent of one another" in touching.withheld


@pytest.mark.full
def test_averages_of_noise_are_called_structures_as_rarely_as_is_said() -> None:
    """About ten minutes."""
    rows = list(measure_false_alarms(60, seed=1))
    alarms = [row["p_value"] < 0.05 for row in rows if row["noise"] != "picked"]
    assert sum(alarms) <= binom.isf(0.001, len(alarms), 0.05)
    alarms = [row["p_round"] < 0.05 for row in rows]
    assert sum(alarms) <= binom.isf(0.001, len(alarms), 0.05)


def test_known_maps_are_told_apart(done: JudgedAverage) -> None:
    assert done.compared["letter_l"].correlation > 0.9
    assert done.compared["letter_l"].correlation > done.compared["ring"].correlation + 0.1


def test_other_volumes_serve_if_there_are_enough(volumes: np.ndarray, done) -> None:
    settings = AverageSettings(null_test="others")
    made_from, instead, tilts = validation._of_nothing(
        settings, lambda n: (volumes[:n], TILT), None
    )
    assert made_from == "members of other clusters" and np.array_equal(instead, volumes)
    assert tilts == TILT
    assert validation._of_nothing(settings, lambda n: (volumes[:5], TILT), None)[:2] == (
        "noise",
        None,
    )
    empty = with_random_phases(volumes, np.random.default_rng(1))
    made_from, instead, _ = validation._of_nothing(AverageSettings(), None, empty)
    assert made_from == "empty places" and instead is empty
    test = null_test(volumes, done.found, TILT, null_volumes=empty)
    assert test.p_value < 1e-3 and test.n_noise == len(empty)


def test_a_mask_larger_than_the_box_is_refused(volumes: np.ndarray) -> None:
    with pytest.raises(InputError, match="a mask of 400 A does not fit into a box of 304 A"):
        judged_average(volumes, TILT, VOXEL, AverageSettings(mask_diameter_angstrom=400))


def test_halves_that_share_nothing_do_not_end_the_work(done: JudgedAverage, monkeypatch) -> None:
    nothing = replace(done.found, half2=-done.found.half2)
    monkeypatch.setattr(validation, "average_cluster", lambda *_, **__: nothing)
    of_nothing = judged_average(np.zeros((N, BOX, BOX, BOX)), TILT, VOXEL, NO_TEST)
    assert np.isinf(of_nothing.resolution_angstrom) and np.isfinite(of_nothing.filtered).all()
    assert of_nothing.doubtful and of_nothing.verdict == "doubtful: its halves share nothing"
    assert done.null is not None
    withheld = replace(of_nothing, null=replace(done.null, p_value=np.nan, withheld="too few"))
    first, *_ = Averaged(0, np.arange(N), withheld).warnings
    assert first == "The average of cluster 1 is doubtful: its halves share nothing."


def test_a_negative_b_factor_raises_fine_detail(done: JudgedAverage) -> None:
    def fine_over_coarse(volume: np.ndarray) -> float:
        amplitude = np.abs(np.fft.fftn(volume))
        radius = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(BOX)] * 3)))
        fine = (radius > 0.12) & (radius < 0.2)
        return float(amplitude[fine].mean() / amplitude[(radius > 0) & (radius < 0.08)].mean())

    assert done.b_factor_angstrom2 == -20_000
    plain = judged_average_again(done)
    assert fine_over_coarse(done.filtered) > 1.2 * fine_over_coarse(plain)


def judged_average_again(done: JudgedAverage) -> np.ndarray:
    """The same average, filtered without a B factor."""
    from aitom_disca.averaging.sharpening import sharpen

    return sharpen(
        done.found.average,
        VOXEL,
        b_factor_angstrom2=0.0,
        resolution_angstrom=done.resolution_angstrom,
        curve=done.fsc.corrected,
    )


def test_coarse_averages_are_not_sharpened_automatically(done: JudgedAverage) -> None:
    settings = AverageSettings(b_factor_angstrom2="auto")
    assert sharpening.b_factor_of(settings, done.found.average, VOXEL, 60.0) == 0.0


def test_the_verdict_follows_the_p_values(done: JudgedAverage) -> None:
    assert done.null is not None
    noise = replace(done, null=replace(done.null, p_value=0.2))
    assert noise.verdict == "doubtful: not told from noise" and noise.doubtful
    round_ = replace(done, null=replace(done.null, p_round=0.2))
    assert round_.verdict == "more than noise, but no more than a round density"
    assert replace(done, null=None).verdict == ""


# -- the command -----------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, volumes: np.ndarray) -> Path:
    nowhere = ParticleSet(np.array([""] * N), np.full((N, 3), np.nan))
    with StoreWriter.create(tmp_path / "s.h5", (BOX,) * 3, VOXEL, TILT, {}) as writer:
        writer.append(volumes, nowhere)
    return tmp_path / "s.h5"


def test_the_command_compares_masks_and_tests(tmp_path: Path, store: Path) -> None:
    write_volume(tmp_path / "l.mrc", load_phantoms()["letter_l"].density(27, 12.0), 12.0)
    mask = np.zeros((BOX,) * 3, np.float32)
    mask[3:-3, 3:-3, 3:-3] = 1
    write_volume(tmp_path / "mask.mrc", mask, VOXEL)
    out = tmp_path / "out"
    options = ["--compare", str(tmp_path / "l.mrc"), "--rescale", "--null-test", "noise"]
    options += ["--mask", str(tmp_path / "mask.mrc"), "--b-factor", "auto"]
    assert main(["average", str(store), "--out", str(out), *options]) == 0
    row = read_rows_csv(out / "averages.csv")[0]
    assert float(row["correlation_l"]) > 0.9 and float(row["p_value"]) < 1e-3
    assert row["null_test_of"] == "noise" and row["verdict"] == "more than noise"
    folder = out / "cluster_01"
    assert {"compared_l.mrc", "filtered.mrc"} <= {p.name for p in folder.iterdir()}
    assert not (folder / "particles.star").exists()  # the store holds no positions
    with mrcfile.open(folder / "mask.mrc") as file:
        np.testing.assert_allclose(file.data, mask)
    curves = read_rows_csv(folder / "fsc.csv")
    assert {"corrected", "along", "across", "with_l"} <= set(curves[0])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--compare", "fine.mrc"], "add --rescale to have it resampled"),
        (["--mask", "small.mrc"], "give a mask of the map's box"),
        (["--mask", "empty.mrc"], "the mask is empty"),
        (["--mask", "nowhere"], "expected sphere, density or a map as the mask"),
        (["--mask-diameter-angstrom", "400"], "a mask of 400 A does not fit into a box of 304 A"),
        (["--symmetry", "Q7"], "symmetry is C or D"),
        (["--b-factor", "much"], "expected auto or a number as --b-factor"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_work(
    tmp_path, store, capsys, monkeypatch, options, match
) -> None:
    monkeypatch.chdir(tmp_path)
    write_volume("fine.mrc", np.random.default_rng(0).normal(size=(BOX,) * 3), VOXEL / 2)
    write_volume("small.mrc", np.ones((9, 9, 9), np.float32), VOXEL)
    write_volume("empty.mrc", np.zeros((BOX,) * 3, np.float32), VOXEL)
    assert main(["average", str(store), "--out", "out", *options]) == 2
    assert match in capsys.readouterr().err
    assert not Path("out").exists()
