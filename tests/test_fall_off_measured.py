"""How a fall-off with tilt is measured: each part from values that were made up."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.alignment import graded_wedge
from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.graded_wedge import (
    _fitted,
    _inside,
    _noise,
    _of_binary,
    _over_all_tilts,
    _signal,
    measure_fall_off,
)
from aitom_disca.config.sorting import SORTING
from aitom_disca.geometry.fall_off_with_tilt import (
    TILTS_DEG,
    FallOff,
    by_direction,
    mean_power,
    weighed_by_tilt,
)
from aitom_disca.geometry.wedge import apply_wedge, distinct_tilt_ranges

ONE, TWO = (-60.0, 60.0), np.array([[-60.0, 40.0], [-50.0, 60.0]])
NOISE = 1 - 0.6 * (TILTS_DEG / 60) ** 2  # amplitudes; what lies beyond 60 degrees is not seen
NOISE = np.maximum(NOISE, 0.1)


def tilts_of(how: str, n: int):
    return ONE if how == "one" else TWO[np.arange(n) % 2]


def behind(volumes: np.ndarray, tilts) -> np.ndarray:
    each = [tilts] * len(volumes) if isinstance(tilts, tuple) else [tuple(t) for t in tilts]
    return np.array([apply_wedge(v, t) for v, t in zip(volumes, each, strict=True)])


def groups_of(n: int, k: int = 20) -> list[np.ndarray]:
    return np.array_split(np.random.default_rng(0).permutation(n), k)


def test_slope_and_curvature_are_found_where_nothing_else_changes(rng) -> None:
    """At each frequency one number times exp(a t + b t^2 - c kz^2), t in sixties of degrees."""
    coefficients = Coefficients(14, 4.5, ONE)
    kz, _, kx = coefficients.index_zyx.T
    flipped = np.where(kx < 0, -1, 1)
    t = np.rad2deg(np.arctan2(kz * flipped, np.abs(kx))) / 60
    squares = (coefficients.index_zyx**2).sum(axis=1)
    strength = 1.0 + squares % 7
    blur = (kz / 4.5) ** 2
    mean = strength * np.exp(0.3 * t - 0.5 * t**2 - 0.8 * blur)
    variance = rng.uniform(0.5, 2, len(mean)) * 0.01
    found, gain = _fitted(mean, variance, coefficients)
    np.testing.assert_allclose(found, (0.3, -0.5), atol=1e-4)

    def off(c: float) -> float:
        amplitude, cost = np.exp(-c * blur), 0.0
        for square in set(squares):
            here = squares == square
            a, m, v = amplitude[here], mean[here], variance[here]
            level = (a * m / v).sum() / (a**2 / v).sum()
            cost += ((m - level * a) ** 2 / v).sum() / 2
        return cost

    assert gain == pytest.approx(min(map(off, np.linspace(-1, 3, 2001))), rel=1e-3)
    none, gain = _fitted(strength * np.exp(-0.8 * blur), variance, coefficients)
    np.testing.assert_allclose(none, 0, atol=1e-5)
    assert gain < 1e-6


@pytest.mark.parametrize("how", ["one", "two"])
def test_the_power_of_white_noise_behind_a_wedge_is_known(how, rng) -> None:
    n = 400
    tilts = distinct_tilt_ranges(tilts_of(how, n), n)
    volumes = behind(rng.normal(size=(n, 12, 12, 12)), tilts_of(how, n))
    groups = [np.arange(0, 300), np.arange(300, 400)]
    if how == "two":  # in the second group one range alone
        groups = [np.arange(0, 400, 2), np.arange(1, 400, 4)]
    for rows, expected in zip(groups, _of_binary(12, groups, tilts), strict=True):
        found = by_direction(mean_power(volumes[rows]), "y")
        inside = np.abs(TILTS_DEG) < 38
        ratio = found[inside] / expected[inside]
        np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=0.12)
    inside = _inside(tilts)
    assert TILTS_DEG[inside].min() == -58.5 and TILTS_DEG[inside].max() == 58.5


@pytest.mark.parametrize("how", ["one", "two"])
def test_noise_that_falls_off_is_measured_and_flat_noise_is_left(how, rng) -> None:
    n = 200
    tilts = tilts_of(how, n)
    white = rng.normal(size=(n, 14, 14, 14))
    flat, falling = (
        behind(volumes, tilts).astype(np.float32)
        for volumes in (white, weighed_by_tilt(white, NOISE))
    )
    ranges = distinct_tilt_ranges(tilts, n)
    np.testing.assert_array_equal(_noise(flat, groups_of(n), ranges), np.ones(60))
    found = _noise(falling, groups_of(n), ranges)
    assert found.max() == 1
    near = np.abs(TILTS_DEG) < 50
    np.testing.assert_allclose(found[near], NOISE[near], atol=0.08)
    np.testing.assert_allclose(found[TILTS_DEG > 60], found[TILTS_DEG == 58.5][0])


def test_a_fall_off_must_be_clear_in_standard_errors(rng) -> None:
    """Of half of 40 subtomograms the noise falls off much, so that groups differ."""
    white = rng.normal(size=(40, 14, 14, 14))
    white[::2] = weighed_by_tilt(white[::2], NOISE)
    volumes, ranges = behind(white, ONE).astype(np.float32), distinct_tilt_ranges(ONE, 40)
    asked = SORTING.graded_wedge.changed(clear=0.95)
    z = [5.0, 100.0]
    found = [
        _noise(volumes, groups_of(40), ranges, asked.changed(clear_z=limit)).min() for limit in z
    ]
    assert found[0] < 0.9 and found[1] == 1


@pytest.mark.parametrize("how", ["one", "two"])
def test_signal_that_falls_off_is_measured_in_units_of_the_noise(how, rng) -> None:
    n = 120
    tilts = tilts_of(how, n)
    grid = np.linalg.norm(np.indices((14,) * 3) - 7, axis=0)
    round_ = np.exp(-((grid - 3) ** 2) / 1.5)
    signal = np.exp(0.2 * TILTS_DEG / 60 - 0.6 * (TILTS_DEG / 60) ** 2)
    noise = 0.7 * rng.normal(size=(n, 14, 14, 14))
    ranges = distinct_tilt_ranges(tilts, n)
    for fall, even in ((signal, False), (np.ones(60), True)):
        seen = noise + weighed_by_tilt(round_, fall)
        volumes = behind(weighed_by_tilt(seen, NOISE), tilts).astype(np.float32)
        found = _signal(volumes, groups_of(n), ranges, NOISE)
        if even:
            np.testing.assert_array_equal(found, np.ones(60))
        else:
            assert found.max() == pytest.approx(1, abs=1e-6)
            near = np.abs(TILTS_DEG) < 50
            np.testing.assert_allclose(found[near], (signal / signal.max())[near], atol=0.12)


def test_signal_that_is_weak_in_between_is_no_fall_off(rng) -> None:
    """Nothing makes it so."""
    n = 120
    grid = np.linalg.norm(np.indices((14,) * 3) - 7, axis=0)
    strange = np.exp(0.8 * (TILTS_DEG / 60) ** 2)
    seen = rng.normal(size=(n, 14, 14, 14))
    seen = seen + weighed_by_tilt(np.exp(-((grid - 3) ** 2) / 1.5), strange)
    volumes = behind(seen, ONE).astype(np.float32)
    ranges = distinct_tilt_ranges(ONE, n)
    np.testing.assert_array_equal(_signal(volumes, groups_of(n), ranges, np.ones(60)), 1)


def test_amplitudes_beyond_the_tilts_are_those_at_the_ends() -> None:
    inside = (TILTS_DEG > -40) & (TILTS_DEG < 50)
    given = np.linspace(0.01, 1, inside.sum())
    found = _over_all_tilts(given, inside)
    np.testing.assert_allclose(found[inside], np.maximum(given, 0.05))
    assert (found[TILTS_DEG < -40] == 0.05).all() and (found[TILTS_DEG > 50] == 1).all()


@pytest.mark.parametrize(
    ("n", "box_px", "measured"), [(20, 12, True), (19, 12, False), (20, 11, False), (20, 26, True)]
)
def test_too_few_or_too_small_volumes_are_not_asked(monkeypatch, rng, n, box_px, measured) -> None:
    asked = []

    def noise(small, groups, tilts, settings):
        asked.append((small.shape, [len(rows) for rows in groups]))
        assert sorted(np.concatenate(groups)) == list(range(n))
        return np.ones(60)

    monkeypatch.setattr(graded_wedge, "_noise", noise)
    signal = np.full(60, 0.5)
    signal[30] = 1
    monkeypatch.setattr(graded_wedge, "_signal", lambda *given: signal)
    volumes = rng.normal(size=(n, *(box_px,) * 3)).astype(np.float32)
    found = measure_fall_off(volumes, ONE)
    if not measured:
        assert found is None and not asked
        return
    assert isinstance(found, FallOff) and found.signal is signal and (found.noise == 1).all()
    assert asked == [((n, *(min(box_px, 20),) * 3), [1] * 20)]
    monkeypatch.setattr(graded_wedge, "_signal", lambda *given: np.ones(60))
    assert measure_fall_off(volumes, ONE) is None
    monkeypatch.setattr(graded_wedge, "_noise", lambda *given: signal)
    assert measure_fall_off(volumes, ONE).noise is signal
