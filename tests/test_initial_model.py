"""Averages of few, noisy subtomograms, begun from an initial model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from few_rotations import averaging_quickly

from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.averaging import average_cluster, tempered_rounds
from aitom_disca.averaging.tempered_rounds import TemperedRounds
from aitom_disca.bench import few_particles
from aitom_disca.simulation import MapTemplate, read_template

N = 30


@pytest.fixture(scope="module")
def ribosome(shared_data: Path) -> MapTemplate:
    return read_template(shared_data / "templates" / "4v4r.mrc.gz")


@pytest.fixture(scope="module")
def truth(ribosome: MapTemplate) -> np.ndarray:
    return ribosome.density(few_particles.BOX_PX, few_particles.VOXEL_ANGSTROM)


@averaging_quickly()
def test_few_noisy_ribosomes_are_found(ribosome: MapTemplate, truth: np.ndarray) -> None:
    """As noisy as in cells."""
    volumes, _, _ = few_particles.simulate_few(ribosome, N, seed=1)
    found = average_cluster(volumes, few_particles.TILT_RANGE_DEG, seed=0)
    assert found.noisy
    correlation, not_radial = few_particles.correlation_with_truth(found.average, truth)
    assert correlation > 0.85 and not_radial > 0.65


@pytest.mark.full
def test_single_ribosomes_as_first_references_mislead(
    ribosome: MapTemplate, truth: np.ndarray
) -> None:
    """All of them together do not, which the quick test above cannot do without."""
    volumes, _, _ = few_particles.simulate_few(ribosome, N, seed=1)
    singles = average_cluster(volumes, few_particles.TILT_RANGE_DEG, noisy=False, seed=0)
    assert not singles.noisy
    assert few_particles.correlation_with_truth(singles.average, truth)[1] < 0.55


def test_what_is_radial_says_nothing_of_the_structure(truth: np.ndarray) -> None:
    blob = few_particles.radial_part(truth, np.zeros(3))
    correlation, not_radial = few_particles.correlation_with_truth(blob, truth)
    assert correlation > 0.7 and not_radial < 0.3
    assert few_particles.correlation_with_truth(truth, truth) == pytest.approx((1, 1), abs=0.02)


def test_noise_has_the_power_that_is_asked_for(ribosome: MapTemplate) -> None:
    volumes, rotations, offset_zyx_px = few_particles.simulate_few(ribosome, N, seed=0, share=0.5)
    clean = [
        ribosome.density(few_particles.BOX_PX, few_particles.VOXEL_ANGSTROM, *pose)
        for pose in zip(rotations, offset_zyx_px, strict=True)
    ]
    coefficients = Coefficients(few_particles.BOX_PX, 10, few_particles.TILT_RANGE_DEG)
    seen, signal = (coefficients.of(np.array(one)) for one in (volumes, clean))
    for angstrom, ssnr in zip(few_particles.AT_ANGSTROM, few_particles.SSNR, strict=True):
        shell = round(few_particles.BOX_PX * few_particles.VOXEL_ANGSTROM / angstrom)
        x, s = (one[:, coefficients.shell == shell] for one in (seen, signal))
        squared = (x * s.conj()).real.sum() ** 2 / (np.abs(x) ** 2).sum() / (np.abs(s) ** 2).sum()
        assert squared / (1 - squared) == pytest.approx(0.5 * ssnr, rel=0.3)


def test_a_device_weighs_as_a_processor_does(rng: np.random.Generator, monkeypatch) -> None:
    volumes = rng.normal(size=(6, 10, 10, 10)).astype(np.float32)
    wedge, tilts = np.arange(6) % 2, np.array([[-60.0, 60.0], [-40.0, 50.0]])
    level = TemperedRounds(volumes, (tilts, None), wedge, np.full(20, 500.0), 3.0, 40)
    volume, rows = rng.normal(size=(10, 10, 10)).astype(np.float32), np.array([0, 2, 3, 5])
    plain = [level.weigh(volume, 0.5), level.weigh(volume, rows=rows)]
    monkeypatch.setattr(tempered_rounds, "accelerator", lambda: "cpu:0")
    found = [level.weigh(volume, 0.5), level.weigh(volume, rows=rows)]
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, atol=1e-4)
        np.testing.assert_array_equal(one.rotation, other.rotation)
        np.testing.assert_array_equal(one.offset_zyx_px, other.offset_zyx_px)
        np.testing.assert_allclose(one.counts, other.counts, atol=1e-4)
        np.testing.assert_allclose(one.sums, other.sums, atol=1e-3)
