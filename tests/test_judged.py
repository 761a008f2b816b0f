"""How far an average can be trusted: null test, known maps, masks, sharpening."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from aitom_disca.averaging import judged
from aitom_disca.averaging.judged import JudgedAverage, KnownMap, judged_average
from aitom_disca.averaging.null_test import noise_like
from aitom_disca.cli.app import main
from aitom_disca.config import AverageSettings
from aitom_disca.io import StoreWriter, read_rows_csv, write_volume
from aitom_disca.particles import ParticleSet
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

TILT = (-60.0, 60.0)
BOX, VOXEL, N = 16, 19.0, 20


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
    settings = AverageSettings(null_test="noise", b_factor_angstrom2=-20_000)
    return judged_average(volumes, TILT, VOXEL, settings, known=known)


def test_a_structure_is_far_from_what_comes_of_noise(done: JudgedAverage) -> None:
    assert done.null is not None and done.null.made_from == "noise"
    assert done.null.n_members == N
    assert done.margin is not None and done.margin > 0.5
    assert done.verdict.startswith("more than")


def test_noise_is_not_told_from_noise(volumes: np.ndarray) -> None:
    noise = noise_like(volumes, np.random.default_rng(7))
    of_noise = judged_average(noise, TILT, VOXEL, AverageSettings(null_test="noise"))
    assert not (of_noise.margin or 0) > 0.35
    assert of_noise.resolution_angstrom > 2 * 2 * VOXEL


def test_noise_has_the_spectrum_of_the_volumes(volumes: np.ndarray) -> None:
    noise = noise_like(volumes, np.random.default_rng(0))
    spectra = [
        np.mean(np.abs(np.fft.rfftn(v, axes=(1, 2, 3))) ** 2, axis=0) for v in (volumes, noise)
    ]
    correlation = np.corrcoef(np.log(spectra[0].ravel() + 1e-3), np.log(spectra[1].ravel() + 1e-3))
    assert correlation[0, 1] > 0.95
    assert noise.std() == pytest.approx(volumes.std(), rel=0.05)
    assert abs(np.corrcoef(noise[0].ravel(), volumes[0].ravel())[0, 1]) < 0.1


def test_known_maps_are_told_apart(done: JudgedAverage) -> None:
    assert done.compared["letter_l"].correlation > 0.9
    assert done.compared["letter_l"].correlation > done.compared["ring"].correlation + 0.1


def test_members_of_other_clusters_serve_if_there_are_enough(volumes: np.ndarray) -> None:
    settings = AverageSettings(null_test="others")
    made_from, instead = judged._of_nothing(volumes[:8], settings, lambda n: volumes[8 : 8 + n])
    assert made_from == "members of other clusters" and np.array_equal(instead, volumes[8:16])
    made_from, instead = judged._of_nothing(volumes[:8], settings, lambda n: volumes[8:10])
    assert made_from == "noise" and instead.shape == volumes[:8].shape


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
    assert judged._b_factor(settings, done.found.average, VOXEL, 60.0) == 0.0


def test_the_verdict_says_so_where_nothing_was_gained(done: JudgedAverage) -> None:
    assert done.null is not None
    same = replace(done, fsc=done.null.fsc)
    assert same.verdict.startswith("not told from")
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
    assert float(row["correlation_l"]) > 0.9 and float(row["margin"]) > 0.4
    assert row["null_test_of"] == "noise"
    folder = out / "cluster_01"
    assert {"null.mrc", "compared_l.mrc", "filtered.mrc"} <= {p.name for p in folder.iterdir()}
    assert not (folder / "particles.star").exists()  # the store holds no positions
    with mrcfile.open(folder / "mask.mrc") as file:
        np.testing.assert_allclose(file.data, mask)
    curves = read_rows_csv(folder / "fsc.csv")
    assert {"corrected", "null_test", "with_l"} <= set(curves[0])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--compare", "fine.mrc"], "add --rescale to have it resampled"),
        (["--mask", "small.mrc"], "give a mask of the map's box"),
        (["--mask", "empty.mrc"], "the mask is empty"),
        (["--mask", "nowhere"], "expected sphere, density or a map as the mask"),
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
