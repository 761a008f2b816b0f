"""The expectation step agrees with one that goes through subtomograms one by one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from plain_expectation import plain_expect

from aitom_disca.alignment import (
    expectation,
    expectation_on_device,
    expectation_on_processor,
    slices,
    slices_on_device,
)
from aitom_disca.alignment.coefficients import Coefficients, Particles
from aitom_disca.alignment.expectation import expect
from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.alignment.search_grids import rotation_grid
from aitom_disca.alignment.slices import Slicer

SHIFTS = np.array([[0.0, 0, 0], [0, 0.7, 0], [0, -0.7, 0], [1, 0, 0]])
ONE, TWO = (-60.0, 60.0), np.array([[-60.0, 60.0], [-40.0, 50.0]])


def complex_values(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def agree(found: Expectation, plain: Expectation) -> None:
    np.testing.assert_allclose(found.log_likelihood, plain.log_likelihood, atol=1e-4)
    np.testing.assert_allclose(found.posterior, plain.posterior, atol=1e-4)
    np.testing.assert_array_equal(found.rotation, plain.rotation)
    np.testing.assert_allclose(found.offset_zyx_px, plain.offset_zyx_px, atol=1e-6)
    np.testing.assert_allclose(found.sums, plain.sums, atol=1e-3)
    np.testing.assert_allclose(found.counts, plain.counts.reshape(found.counts.shape), atol=1e-4)


@pytest.fixture(params=[ONE, TWO], ids=["one tilt range", "two tilt ranges"])
def case(request: pytest.FixtureRequest, rng: np.random.Generator) -> tuple:
    """Nine subtomograms, references of three clusters in five rotations, even priors."""
    coefficients = Coefficients(10, 3, request.param)
    wedge = None if request.param is ONE else np.arange(9) % 2
    values = complex_values(rng, 9, len(coefficients))
    if (measured := coefficients.measured_by(wedge)) is not None:
        values *= measured
    particles = Particles(
        coefficients, values, rng.uniform(-1, 1, (9, 3)), np.arange(9) // 2 % 2, wedge
    )
    references = 0.3 * complex_values(rng, 3, 5, len(coefficients))
    return particles, references, np.log([0.2, 0.3, 0.5]), SHIFTS


@pytest.mark.parametrize("how", ["all", "some compared", "shells weighed"])
def test_it_is_that_of_one_subtomogram_after_the_other(case, rng, monkeypatch, how):
    options: dict = {"by_half": how != "all"}
    if how == "some compared":
        options["compared"] = rng.random((9, 3)) < 0.5
        options["compared"][~options["compared"].any(axis=1), 1] = True
    if how == "shells weighed":
        options["shell_weight"] = rng.uniform(0.2, 1, (3, 10))
    plain = plain_expect(*case, **options)
    agree(expect(*case, **options), plain)
    monkeypatch.setattr(expectation_on_processor, "_SCORES_AT_ONCE", 50)  # in blocks of two
    agree(expect(*case, **options), plain)


def test_blocks_are_halved_where_a_device_runs_out_of_memory(case, monkeypatch):
    real, sizes = expectation_on_device._weigh, []

    def weigh(values, *rest, **how):
        sizes.append(len(values))
        if len(values) > 2:
            raise MemoryError("RESOURCE_EXHAUSTED: no room for the scores")
        return real(values, *rest, **how)

    monkeypatch.setattr(expectation, "accelerator", lambda: "cpu:0")
    monkeypatch.setattr(expectation_on_device, "_most_scores", {})
    monkeypatch.setattr(
        expectation_on_device,
        "_compiled",
        lambda name, *how: partial(weigh, add_up=True, tempered=False),
    )
    plain = plain_expect(*case)
    agree(expect(*case), plain)
    assert sizes == [16, 8, 4, *[2] * 5]
    agree(expect(*case), plain)
    assert sizes[8:] == [2] * 5  # what fitted is kept


def test_sums_are_of_two_halves_unless_asked_for_all(case):
    assert len(expect(*case).sums) == 2 and len(expect(*case, by_half=False).sums) == 1


def test_other_errors_of_a_device_are_not_hidden(case, monkeypatch):
    def broken(*given):
        raise ValueError("no such kernel")

    monkeypatch.setattr(expectation, "accelerator", lambda: "cpu:0")
    monkeypatch.setattr(expectation_on_device, "_compiled", lambda name, *how: broken)
    with pytest.raises(ValueError, match="no such kernel"):
        expect(*case)


def test_a_device_says_the_same(case, rng, monkeypatch):
    options = {"shell_weight": rng.uniform(0.2, 1, (3, 10)), "compared": rng.random((9, 3)) < 0.5}
    options["compared"][~options["compared"].any(axis=1), 1] = True
    monkeypatch.setattr(expectation, "accelerator", lambda: "cpu:0")
    agree(expect(*case, **options), plain_expect(*case, **options))
    silent = expect(*case, add_up=False)
    assert silent.sums.size == 0
    np.testing.assert_allclose(silent.posterior, plain_expect(*case).posterior, atol=1e-4)


def test_a_power_of_the_likelihood_is_that_of_what_it_is_made_of(case):
    """Log likelihoods are linear in slices, prior energies and priors of shifts together."""
    particles, references, _, shifts = case
    slices, prior = expectation._terms(particles.coefficients, references, None)
    given = (1, np.ones((len(particles), 3), bool))
    of_shifts = np.linspace(-1, 0, len(shifts))

    def met(power: float, scale: float) -> Expectation:
        return expectation_on_device.expect_on_device(
            "cpu:0",
            particles,
            scale * slices,
            scale * prior,
            shifts,
            *given,
            log_prior_of_shifts=scale * of_shifts,
            power=power,
            negligible=scale * 40,
        )

    tempered, plain = met(0.3, 1), met(1, 0.3)
    for name in ("posterior", "sums", "counts", "rotation"):
        np.testing.assert_allclose(getattr(tempered, name), getattr(plain, name), atol=1e-3)
    assert tempered.posterior.max() < met(1, 1).posterior.max() - 0.01


# -- slices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tilts", [ONE, TWO], ids=["one tilt range", "two tilt ranges"])
def test_slices_are_taken_and_put_back_alike(rng, monkeypatch, tilts):
    monkeypatch.setattr(slices_on_device, "_PLACES_AT_ONCE", 100)
    slicer = Slicer(Coefficients(10, 3, tilts), rotation_grid(7))
    volumes = rng.normal(size=(3, 10, 10, 10)).astype(np.float32)
    taken = slicer.several(volumes)
    counts = rng.uniform(size=(7,) if tilts is ONE else (7, 2))
    sums, counts[2] = taken[0].copy(), 0  # nothing in one of the rotations
    sums[2] = 0
    inserted = slicer.insert(sums, counts)
    monkeypatch.setattr(slices, "accelerator", lambda: "cpu:0")
    np.testing.assert_array_equal(slicer.several(volumes), taken)  # once it is not worth it
    np.testing.assert_allclose(slicer.several(volumes), taken, rtol=1e-4, atol=1e-3)
    assert list(slicer._on_devices) == ["cpu:0"]
    for one, other in zip(slicer.insert(sums, counts), inserted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)
