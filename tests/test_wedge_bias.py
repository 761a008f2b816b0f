"""Poses that follow the wedge, and maps that are finer one way than another, are noticed."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.analysis.wedge_bias import pose_gathering
from aitom_disca.averaging.directional_fsc import along_and_across, conical_fsc
from aitom_disca.averaging.fsc import FscCurve, fourier_shell_correlation, resolution_in_words
from aitom_disca.geometry.symmetry import point_group


def test_random_orientations_are_even_and_those_about_the_beam_are_warned_of(rng) -> None:
    even = [pose_gathering(Rotation.random(60, random_state=i)) for i in range(20)]
    assert sum(bool(one.warning) for one in even) <= 1
    assert min(one.tilt_p for one in even) > 1e-4 and max(one.beam for one in even) < 0.4
    spin = Rotation.from_euler("z", rng.uniform(0, 360, 60)[:, None], degrees=True)
    tilt = Rotation.from_euler("y", rng.normal(0, 8, 60)[:, None], degrees=True)
    ends = Rotation.from_euler("x", 180.0 * rng.integers(0, 2, 60)[:, None], degrees=True)
    frame = Rotation.random(random_state=3)  # an average may lie in any way
    tube = pose_gathering(ends * spin * tilt * frame)
    assert tube.beam > 0.8 and tube.near_beam_axis > 50
    assert "gather about the beam" in tube.warning and "chance gives 2" in tube.warning
    assert pose_gathering(ends * spin * tilt).tilt_p < 1e-6
    about_y = Rotation.from_euler("y", rng.uniform(0, 360, 60)[:, None], degrees=True)
    assert "gather about the tilt axis (" in pose_gathering(about_y * frame).warning


def test_poses_of_one_asymmetric_unit_are_spread_by_the_symmetry() -> None:
    group = point_group("O")
    poses = Rotation.random(400, random_state=1)
    operations = np.stack([(poses * g).magnitude() for g in group]).argmin(axis=0)
    poses = poses * group[operations]
    assert pose_gathering(poses).warning
    assert not pose_gathering(poses, group).warning


# -- resolution by direction -----------------------------------------------------------------------


def test_detail_that_is_missing_along_one_axis_is_seen(rng) -> None:
    n = 24
    signal, noise = rng.normal(size=(n, n, n)), rng.normal(size=(2, n, n, n))
    kz = np.abs(np.fft.fftfreq(n))[:, None, None] * n
    grid = np.meshgrid(*[np.fft.fftfreq(n) * n] * 3, indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in grid))
    kept = np.where(kz > 0.7 * radius, radius < 4, radius < 9)
    signal = np.fft.ifftn(np.fft.fftn(signal) * kept).real * 4
    first, second = signal + noise * 0.5
    along, across = along_and_across(first, second, np.array([0.0, 0, 1]), 10.0)
    assert 40 < along.resolution_angstrom() < 70 and across.resolution_angstrom() < 30
    whole = conical_fsc(first, second, np.array([1.0, 2, 3]), 10.0, (0.0, 90.0))
    plain = fourier_shell_correlation(first, second, 10.0)
    np.testing.assert_allclose(whole.correlation, plain.correlation, atol=1e-9)


def test_nyquist_is_never_a_measured_resolution() -> None:
    frequency = np.arange(9) / 160.0
    never = FscCurve(frequency, np.ones(9))
    assert np.isnan(never.measured_angstrom())
    assert np.isnan(FscCurve(frequency, np.r_[np.ones(8), 0.0]).measured_angstrom())
    earlier = FscCurve(frequency, np.r_[np.ones(7), 0.0, 0.0])
    assert earlier.measured_angstrom() == earlier.resolution_angstrom() > 20
    assert resolution_in_words(np.nan, 10.0) == "beyond what voxels of 10 A can show"
    assert resolution_in_words(np.inf, 10.0) == "none, the halves share nothing"
    assert resolution_in_words(31.62, 10.0) == "31.6 A"
