"""The expectation step on what Keras' backend computes on: all poses of a block at once.

Nothing is sparse here: a graphics card multiplies negligible weights faster than it finds the
others. On a processor it is the other way round, see `expectation_on_processor`. Products may be in
TF32, to 10 bits of mantissa: that moves log likelihoods by 0.001 (0.003 at most of 96), bfloat16 by
0.008.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from keras import device, ops

from aitom_disca.alignment.coefficients import Particles
from aitom_disca.alignment.exhaustive_search import real_view
from aitom_disca.alignment.expectation_result import Expectation
from aitom_disca.computing import devices
from aitom_disca.computing.keras_backend import BatchSize
from aitom_disca.config.sorting import SORTING

_BYTES_A_SCORE = 16  # scores, weights, and what lies between them
_SHARE = 0.5  # of the memory that is free
_MOST_SCORES = 2**28  # at once; more are no faster
_NEVER = -1e30  # log likelihood of what is not compared
_alone = threading.Lock()  # several threads would only share out the device's memory
_most_scores: dict[str, int] = {}  # at once, by device, where it ran out of memory


def expect_on_device(
    name: str,
    particles: Particles,
    slices: np.ndarray,
    prior: np.ndarray,
    shifts_zyx_px: np.ndarray,
    n_halves: int,
    compared: np.ndarray,
    *,
    log_prior_of_shifts: np.ndarray | None = None,
    power: float = 1.0,
    negligible: float = SORTING.rounds.negligible,
) -> Expectation:
    """Weigh every reference, rotation and shift for every subtomogram.

    Where the device runs out of memory, blocks are halved, for the rest of the process. They are
    powers of two in size, so that few shapes have to be compiled for.

    Parameters
    ----------
    name : str
        Keras' name of the device, such as ``gpu:0``.
    particles, slices, prior, shifts_zyx_px, n_halves, compared
        As in `aitom_disca.alignment.expectation_on_processor.expect_on_processor`.
    log_prior_of_shifts : ndarray of shape (S,), optional
        Added to log likelihoods.
    power : float
        Of the likelihood, by which poses are weighed.
    negligible : float
        Poses whose log likelihood is this much below the best are left out.
    """
    if log_prior_of_shifts is None:
        log_prior_of_shifts = np.zeros(len(shifts_zyx_px))
    n, (n_classes, n_ranges, n_rotations) = len(particles), prior.shape
    n_scores = len(shifts_zyx_px) * n_classes * n_rotations  # of one subtomogram
    log_likelihood, posterior, best = np.zeros(n), np.zeros((n, n_classes)), np.zeros(n, int)
    sums = np.zeros((n_halves, n_classes, n_rotations, slices.shape[2]), np.float32)
    counts = np.zeros((n_halves, n_ranges, n_classes, n_rotations))
    wedge = np.zeros(n, int) if particles.wedge is None else particles.wedge
    frequency = 2 * np.pi * particles.coefficients.index_zyx.T / particles.coefficients.box_px
    of_shifts = (shifts_zyx_px, log_prior_of_shifts, frequency)
    with _alone, device(name):
        same = [_on_device(one) for one in (slices, prior, *of_shifts, negligible, power)]
        weigh = _compiled(name, n_halves > 0, power != 1)
        size = BatchSize(min(_power_of_two(_scores_at_once(name) // n_scores), _cover(n)))

        def meet(rows: np.ndarray) -> list[np.ndarray]:
            """Weigh some subtomograms block by block; returns what they add up to."""
            total: list[Any] = []
            while len(rows):
                some = rows[: size.value]
                own = (
                    real_view(particles.values[some]).reshape(len(some), -1, 2),
                    particles.offset_zyx_px[some],
                    np.eye(n_ranges)[wedge[some]],
                    np.where(compared[some], 0, _NEVER),
                )
                try:
                    padded = [_on_device(_padded(one, size.value)) for one in own]
                    *few, added = weigh(*padded, *same)
                    found = [ops.convert_to_numpy(one)[: len(some)] for one in few]
                    total = [a + b for a, b in zip(total, added, strict=True)] if total else added
                except Exception as error:
                    size.halve(error)
                    _most_scores[name] = size.value * n_scores
                    continue
                log_likelihood[some], posterior[some], best[some] = found
                rows = rows[len(some) :]
            return [ops.convert_to_numpy(one) for one in total]

        for half in range(max(n_halves, 1)):
            rows = np.flatnonzero(particles.half == half) if n_halves > 1 else np.arange(n)
            if added := meet(rows):
                sums[half] = added[0].reshape(sums[half].shape)
                counts[half] = added[1].reshape(counts[half].shape)
    shift, pose = np.divmod(best, n_classes * n_rotations)
    counts = np.moveaxis(counts, 1, -1)
    return Expectation(
        log_likelihood,
        posterior,
        pose % n_rotations,
        particles.offset_zyx_px + shifts_zyx_px[shift],
        sums.view(np.complex64),
        counts if n_ranges > 1 else counts[..., 0],
    )


@lru_cache
def _compiled(name: str, add_up: bool, tempered: bool) -> Callable[..., Any]:
    def weigh(*given: Any) -> tuple[Any, ...]:
        return _weigh(*given, add_up=add_up, tempered=tempered)

    return devices.compiled(weigh, name)


def _weigh(
    values: Any,
    offset_zyx_px: Any,
    own_range: Any,
    log_compared: Any,
    slices: Any,
    prior: Any,
    shifts_zyx_px: Any,
    log_shifts: Any,
    frequency: Any,
    negligible: Any,
    power: Any,
    *,
    add_up: bool,
    tempered: bool,
) -> tuple[Any, ...]:
    """Weigh one block.

    Parameters
    ----------
    values : tensor (n, n_coefficients, 2)
    offset_zyx_px : tensor (n, 3)
    own_range : tensor (n, T)
        1 for the tilt range of each; 0 for all in rows that fill up the block.
    log_compared : tensor (n, K)
        Added to log likelihoods.
    slices, prior, shifts_zyx_px, log_shifts, negligible, power
        As in `expect_on_device`.
    frequency : tensor (3, n_coefficients)
        In radians a voxel.
    add_up, tempered : bool
        Whether sums are wanted, and whether the power is another than 1.

    Returns
    -------
    log likelihood (n,), posterior (n, K), and the best place (n,) among (S, K, R)
    added : tuple of tensors (K R, 2 n_coefficients) and (T, K R)
        Sums and counts; empty where they are not wanted.
    """
    (k, r, c), n, s = slices.shape, values.shape[0], shifts_zyx_px.shape[0]
    n_ranges = prior.shape[1]
    angle = ops.matmul(offset_zyx_px, frequency)[:, None] + ops.matmul(shifts_zyx_px, frequency)
    cos, sin = ops.cos(angle), ops.sin(angle)  # (n, S, n_coefficients)
    real, imaginary = values[:, None, :, 0], values[:, None, :, 1]
    shifted = ops.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], axis=-1)
    shifted = ops.reshape(shifted, (n * s, c))
    score = ops.matmul(shifted, ops.transpose(ops.reshape(slices, (k * r, c))))
    by_range = ops.reshape(ops.transpose(prior, (1, 0, 2)), (n_ranges, k * r))
    own = ops.reshape(ops.matmul(own_range, by_range), (n, 1, k, r))
    own = own + log_compared[:, None, :, None] + log_shifts[:, None, None]
    score = ops.reshape(score, (n, s, k, r)) + own
    score = ops.reshape(score, (n, s * k * r))
    top = ops.max(score, axis=1, keepdims=True)
    near = score > top - negligible
    weight = ops.where(near, ops.exp(score - top), 0.0)
    total = ops.sum(weight, axis=1, keepdims=True)
    log_likelihood = (top + ops.log(total))[:, 0]
    if tempered:
        weight = ops.where(near, ops.exp(power * (score - top)), 0.0)
        total = ops.sum(weight, axis=1, keepdims=True)
    weight = weight * (ops.sum(own_range, axis=1, keepdims=True) / total)
    by_pose = ops.reshape(weight, (n, s, k * r))
    of_all_shifts = ops.sum(by_pose, axis=1)
    added: tuple[Any, ...] = ()
    if add_up:
        sums = ops.matmul(ops.transpose(ops.reshape(by_pose, (n * s, k * r))), shifted)
        added = (sums, ops.matmul(ops.transpose(own_range), of_all_shifts))
    posterior = ops.sum(ops.reshape(of_all_shifts, (n, k, r)), axis=2)
    return log_likelihood, posterior, ops.argmax(score, axis=1), added


def _scores_at_once(name: str) -> int:
    if name in _most_scores:
        return _most_scores[name]
    return min(int(_SHARE * devices.free_memory_bytes(name)) // _BYTES_A_SCORE, _MOST_SCORES)


def _power_of_two(most: int) -> int:
    return int(2 ** (max(most, 1).bit_length() - 1))


def _cover(n: int) -> int:
    return int(2 ** max(n - 1, 0).bit_length())


def _padded(rows: np.ndarray, n: int) -> np.ndarray:
    return np.pad(rows, [(0, n - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def _on_device(array: np.ndarray | float) -> Any:
    return ops.convert_to_tensor(np.asarray(array, np.float32))
