"""Simulated subtomograms and tomograms hold what their truth says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import fft

from aitom_disca.errors import InputError
from aitom_disca.geometry import (
    apply_wedge,
    box_slices,
    missing_wedge_mask,
    rotation_from_euler_zyz_deg,
)
from aitom_disca.simulation import (
    SimulatedTomogram,
    load_phantoms,
    read_template,
    simulate_subtomograms,
    simulate_tomogram,
)

PHANTOMS = load_phantoms()
PAIR = [PHANTOMS["two_lobes"], PHANTOMS["chaperone"]]
SHAPE = (40, 71, 64)
VOXEL = 14.0


@pytest.fixture(scope="module")
def tomogram() -> SimulatedTomogram:
    return simulate_tomogram(PAIR, 8, SHAPE, VOXEL, 0.2, (-50, 60), seed=3, gap_px=2)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("box", [20, 23, 26])
def test_subtomograms_without_noise_are_the_posed_phantoms(box: int) -> None:
    made = simulate_subtomograms(PAIR, 2, box, VOXEL, np.inf, (-60, 50), 1.5, seed=box)
    assert made.volumes.shape == (4, box, box, box) and made.volumes.dtype == np.float32
    for i, label in enumerate(made.labels):
        drawn = PAIR[label].density(box, VOXEL, made.rotations[i], made.shifts_zyx_px[i])
        assert correlation(made.volumes[i], apply_wedge(drawn, (-60, 50))) > 0.99999


def test_subtomograms_are_standardised_balanced_and_shifted_within_bounds() -> None:
    made = simulate_subtomograms(PAIR, 5, 21, VOXEL, 0.1, shift_max_px=1.0)
    np.testing.assert_allclose(made.volumes.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(made.volumes.std(axis=(1, 2, 3)), 1, atol=1e-5)
    np.testing.assert_array_equal(np.bincount(made.labels), [5, 5])
    assert 0.5 < np.abs(made.shifts_zyx_px).max() <= 1.0


def test_snr_is_what_was_asked_for() -> None:
    snr = 0.25
    made = simulate_subtomograms(PAIR, 4, 24, VOXEL, snr, shift_max_px=0)
    for i, label in enumerate(made.labels):
        signal = apply_wedge(PAIR[label].density(24, VOXEL, made.rotations[i]), (-60, 60))
        # cov(signal, sum) = var(signal): noise and signal are nearly uncorrelated
        expected = np.sqrt(snr / (1 + snr))
        assert correlation(signal, made.volumes[i]) == pytest.approx(expected, abs=0.06)


def test_subtomograms_have_nothing_in_the_wedge() -> None:
    made = simulate_subtomograms(PAIR, 1, 25, VOXEL, 0.1, (-40, 60))
    outside = ~missing_wedge_mask((25,) * 3, (-40, 60))
    power = np.abs(fft.fftn(made.volumes, axes=(1, 2, 3))) ** 2
    assert (power * outside).sum() < 1e-6 * power.sum()


def test_one_seed_gives_one_result() -> None:
    first, same, other = (simulate_subtomograms(PAIR, 2, 16, VOXEL, 0.1, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.volumes, same.volumes)
    assert not np.array_equal(first.volumes, other.volumes)
    one, two = (simulate_tomogram(PAIR, 2, SHAPE, VOXEL, 0.1, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.volume, two.volume)
    np.testing.assert_array_equal(one.truth.center_zyx_px, two.truth.center_zyx_px)


def test_tomogram_has_the_truth_it_claims(tomogram: SimulatedTomogram) -> None:
    truth = tomogram.truth
    assert tomogram.volume.shape == SHAPE and tomogram.volume.dtype == np.float32
    assert tomogram.class_names == ("two_lobes", "chaperone")
    assert tomogram.voxel_size_angstrom == VOXEL
    assert truth.tomograms["simulated"].tilt_range_deg == (-50, 60)
    assert truth.tomograms["simulated"].shape_zyx == SHAPE
    assert truth.cluster is not None and truth.euler_zyz_deg is not None
    np.testing.assert_array_equal(np.bincount(truth.cluster), [4, 4])
    rebuilt = np.zeros(SHAPE, np.float32)  # another way: draw every particle in a large box
    for centre, euler, label in zip(
        truth.center_zyx_px, truth.euler_zyz_deg, truth.cluster, strict=True
    ):
        shift = centre - 40
        rotation = rotation_from_euler_zyz_deg(euler)
        rebuilt += PAIR[label].density(81, VOXEL, rotation, shift)[
            : SHAPE[0], : SHAPE[1], : SHAPE[2]
        ]
    assert correlation(tomogram.clean, apply_wedge(rebuilt, (-50, 60))) > 0.9999


def test_particles_do_not_meet_nor_leave(tomogram: SimulatedTomogram) -> None:
    centres = tomogram.truth.center_zyx_px
    reach = np.array([PAIR[c].radius_angstrom / VOXEL for c in tomogram.truth.cluster])
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances >= reach[:, None] + reach[None] + 2).all()
    assert (centres - reach[:, None] >= 2).all()
    assert (centres + reach[:, None] <= np.array(SHAPE) - 3).all()


def test_snr_of_the_tomogram(tomogram: SimulatedTomogram) -> None:
    noise = tomogram.volume - tomogram.clean
    cubes = []
    for centre, c in zip(tomogram.truth.center_zyx_px, tomogram.truth.cluster, strict=True):
        box = 2 * int(np.ceil(PAIR[c].radius_angstrom / VOXEL)) + 3
        z, y, x = box_slices(centre, box)
        cubes.append(tomogram.clean[max(z.start, 0) : z.stop, y, x].var())
    assert np.mean(cubes) / noise.var() == pytest.approx(0.2, rel=0.01)


def test_subtomograms_of_maps(shared_data: Path) -> None:
    template = read_template(shared_data / "templates" / "1qvr.mrc.gz")
    made = simulate_subtomograms([template], 2, 19, VOXEL, np.inf, (-60, 60), 0)
    drawn = template.density(19, VOXEL, made.rotations[1])
    assert correlation(made.volumes[1], apply_wedge(drawn, (-60, 60))) > 0.99999


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"templates": []}, "at least one template is needed"),
        ({"n_particles": 0}, "number of particles must be positive; got 0"),
        ({"voxel_size_angstrom": -1.0}, "voxel size must be positive; got -1"),
        ({"snr": 0.0}, "SNR must be positive; got 0"),
        ({"shape_zyx": (20, 71, 64)}, "does not fit into a tomogram of"),
        ({"n_particles": 90}, r"only \d+ of 90 particles fit"),
    ],
)
def test_bad_requests_are_refused(changes: dict[str, object], message: str) -> None:
    request = {
        "templates": PAIR, "n_particles": 4, "shape_zyx": SHAPE,
        "voxel_size_angstrom": VOXEL, "snr": 0.1,
    }  # fmt: skip
    with pytest.raises(InputError, match=message):
        simulate_tomogram(**{**request, **changes})


def test_bad_subtomogram_requests_are_refused() -> None:
    with pytest.raises(InputError, match="SNR must be positive"):
        simulate_subtomograms(PAIR, 2, 16, VOXEL, -1)


def test_counts_of_each_class_and_noise_alone() -> None:
    made = simulate_subtomograms(PAIR, (3, 1), 17, VOXEL, 0.1, (-40, 60), n_noise=5, seed=2)
    classes, counts = np.unique(made.labels, return_counts=True)
    np.testing.assert_array_equal(classes, [-1, 0, 1])
    np.testing.assert_array_equal(counts, [5, 3, 1])
    assert made.volumes.shape == (9, 17, 17, 17)
    noise = made.volumes[made.labels == -1]
    outside = ~missing_wedge_mask((17,) * 3, (-40, 60))
    power = np.abs(fft.fftn(noise, axes=(1, 2, 3))) ** 2
    assert (power * outside).sum() < 1e-6 * power.sum()
    assert abs(correlation(noise[0], noise[1])) < 0.1


def test_gain_and_offset_change_nothing_but_contrast_and_brightness() -> None:
    plain = simulate_subtomograms(PAIR, 6, 16, VOXEL, 0.1, seed=4)
    made = simulate_subtomograms(
        PAIR, 6, 16, VOXEL, 0.1, seed=4, gain_spread=0.3, offset_spread=0.5
    )
    np.testing.assert_array_equal(made.labels, plain.labels)
    np.testing.assert_array_equal(made.shifts_zyx_px, plain.shifts_zyx_px)
    offsets, gains = made.volumes.mean(axis=(1, 2, 3)), made.volumes.std(axis=(1, 2, 3))
    assert 0.3 < np.abs(offsets).max() <= 0.5
    assert 0.7 <= gains.min() < 0.85 and 1.15 < gains.max() <= 1.3
    for i in range(12):  # the signal against the noise, too: sum = gain * signal + noise
        drawn = PAIR[made.labels[i]].density(16, VOXEL, made.rotations[i], made.shifts_zyx_px[i])
        signal = apply_wedge(drawn, (-60, 60))
        expected = gains[i] * np.sqrt(0.1 / (1 + 0.1 * gains[i] ** 2))
        assert correlation(signal, made.volumes[i]) == pytest.approx(expected, abs=0.12)
        assert correlation(plain.volumes[i], made.volumes[i]) > 0.98


def test_bad_counts_and_nuisances_are_refused() -> None:
    with pytest.raises(InputError, match="one from 0 for each of the 2 templates"):
        simulate_subtomograms(PAIR, (1, 2, 3), 16, VOXEL, 0.1)
    with pytest.raises(InputError, match="number of particles must be positive; got 0"):
        simulate_subtomograms(PAIR, (0, 0), 16, VOXEL, 0.1, n_noise=4)
    for changes in ({"n_noise": -1}, {"gain_spread": 1.0}, {"offset_spread": -0.1}):
        with pytest.raises(InputError, match="gain_spread must be from 0 to below 1"):
            simulate_subtomograms(PAIR, 1, 16, VOXEL, 0.1, **changes)
