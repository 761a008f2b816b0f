"""A first model of few, noisy subtomograms: annealed maximum likelihood, several runs, one model.

Where one subtomogram says little, a single one is a bad first reference: the others are laid on
its noise. Here all members begin in random poses, which average to a blob. Every member then has
every pose by its likelihood, at first raised to a power below 1, so that the structure grows out
of what all members share. Nothing is decided for good before the power is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.expectation import shell_power
from aitom_disca.averaging.compare_maps import compare_with_map
from aitom_disca.averaging.tempered_rounds import MASK_EDGE, MASK_RADIUS, TemperedRounds
from aitom_disca.computing.parallel import on_all_cores
from aitom_disca.geometry.fall_off_with_tilt import FallOff
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.geometry.sphere import soft_sphere
from aitom_disca.geometry.wedge import TiltRanges, distinct_tilt_ranges

_BOX_PX = 20  # the volumes are Fourier-cropped to it
_MOST_MEMBERS = 100  # the model is made of so many; the others are laid on it
_LEVELS = ((5.0, 600), (7.0, 1500))  # largest frequency in steps of 1 / box, rotations
_POWERS = (0.4, 0.55, 0.7, 0.85, 1.0)  # of the likelihood, at the first level
_ROUNDS = 5  # at every power
_FEWEST_RUNS, _MOST_RUNS, _MEMBERS_IN_RUNS = 2, 6, 150
_CONSENSUS = 3  # runs that make it
_GENERATIONS = 2  # the joint model may be one of the next joint model


@dataclass(frozen=True)
class InitialModel:
    """A first model of n subtomograms.

    Parameters
    ----------
    volume : ndarray of float32, shape (m, m, m)
        At the resolution of the search, masked; m is 20 or the box, if that is smaller.
    rotations : Rotation of n rotations
        Likeliest, of (x, y, z) vectors, from the model to the tomogram.
    offset_zyx_px : ndarray of shape (n, 3)
        Likeliest place of each particle, from the box centre.
    log_likelihood : float
        Over pure noise, of members in models that they are no part of. Of the members that the
        model was made of, added up.
    """

    volume: np.ndarray
    rotations: Rotation
    offset_zyx_px: np.ndarray
    log_likelihood: float


def initial_model(
    volumes: np.ndarray,
    tilt_range_deg: TiltRanges,
    rng: np.random.Generator,
    fall_off: FallOff | None = None,
) -> InitialModel:
    """Find a structure in subtomograms of which each says little.

    Several runs begin at random. The best ones, laid on one another and averaged, begin a last
    run; what is likeliest to members that it was made without is kept. The particles are expected
    near the centres of their boxes, within about a sixteenth of the box, and inside a sphere of
    three eighths of it.

    Parameters
    ----------
    volumes : ndarray of shape (n, box, box, box)
        Protein bright.
    tilt_range_deg : tuple of 2 floats, or ndarray of shape (n, 2)
        Of all subtomograms, or of each.
    rng : numpy.random.Generator
    fall_off : FallOff, optional
        Of amplitudes with tilt; none in a binary wedge.

    References
    ----------
    .. [1] Ueda and Nakano (1998), Neural Networks 11, 271: annealed expectation maximisation.
    .. [2] Scheres et al. (2009), Structure 17, 1563: maximum likelihood for subtomograms.
    """
    box_px = min(_BOX_PX, volumes.shape[-1])
    small = fourier_crop(volumes, box_px)
    chosen = np.sort(rng.permutation(len(small))[:_MOST_MEMBERS])
    ranges, wedge = distinct_tilt_ranges(tilt_range_deg, len(small))
    noise = _noise_outside(small, ranges, wedge, fall_off)
    of_chosen = None if wedge is None else wedge[chosen]
    rough, fine = (
        TemperedRounds(small[chosen], (ranges, fall_off), of_chosen, noise, *level)
        for level in _LEVELS
    )
    n_runs = int(np.clip(_MEMBERS_IN_RUNS / len(chosen), _FEWEST_RUNS, _MOST_RUNS))
    found = on_all_cores(lambda own: _run(rough, fine, own), rng.spawn(n_runs), "initial models")
    for _ in range(_GENERATIONS):
        found.sort(key=lambda run: -run[1])
        joint = _consensus([volume for volume, _ in found[:_CONSENSUS]])
        found.append(fine.judged(fine.rounds(joint, 2 * _ROUNDS), rng))
    volume, likelihood = max(found, key=lambda run: run[1])
    if len(chosen) < len(small):
        fine = TemperedRounds(small, (ranges, fall_off), wedge, noise, *_LEVELS[1])
    met = fine.weigh(volume)
    offset_zyx_px = met.offset_zyx_px * volumes.shape[-1] / box_px
    return InitialModel(volume, fine.rotations[met.rotation], offset_zyx_px, likelihood)


def _run(
    rough: TemperedRounds, fine: TemperedRounds, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    volume = rough.at_random(rng)
    for power in _POWERS:
        volume = rough.rounds(volume, _ROUNDS, power)
    return fine.judged(fine.rounds(volume, _ROUNDS), rng)


def _consensus(volumes: Sequence[np.ndarray]) -> np.ndarray:
    """Their mean, after all were laid on the first: errors differ, the structure does not."""
    laid = [
        compare_with_map(
            volumes[0], other, voxel_size_angstrom=1.0, known_voxel_size_angstrom=1.0
        ).aligned
        for other in volumes[1:]
    ]
    return np.asarray(np.mean([volumes[0], *laid], axis=0))


def _noise_outside(
    volumes: np.ndarray, ranges: np.ndarray, wedge: np.ndarray | None, fall_off: FallOff | None
) -> np.ndarray:
    """Power of the noise by shell, of what lies outside of the particles' sphere."""
    n = volumes.shape[-1]
    outside = 1 - soft_sphere(n, MASK_RADIUS * n, MASK_EDGE * n)
    coefficients = Coefficients(n, n / 2 - 1, ranges, fall_off)
    values, measured = coefficients.of(volumes * outside, wedge), coefficients.measured_by(wedge)
    return shell_power(values, coefficients.shell, measured) / np.mean(outside**2)
