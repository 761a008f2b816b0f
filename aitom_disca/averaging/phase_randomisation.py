"""Random phases for the part of a map that is finer than a given shell."""

from __future__ import annotations

import numpy as np
from scipy import fft

from aitom_disca.averaging.check_maps import as_cube

_SHORT, _LONG = 3, 31  # the lags of the generator
_WARM_UP = 310  # numbers that it leaves out at the start


class RelionNumbers:
    """The random numbers of RELION's postprocess: those of the C library, from seed 0.

    With them the curve of random phases, a single draw, is the one that RELION finds, and the two
    programs can be compared. The generator is x_i = x_(i - 3) + x_(i - 31) modulo 2^32, of which
    the 31 upper bits count, begun by a multiplicative one (Park and Miller).

    References
    ----------
    .. [1] Park and Miller (1988), Communications of the ACM 31, 1192-1201.
    """

    def __init__(self) -> None:
        state = [1]
        for _ in range(_LONG - 1):
            state.append(16807 * state[-1] % (2**31 - 1))
        state += state[:_SHORT]
        self._state = state[-_LONG:]
        self.random(_WARM_UP)

    def random(self, n: int) -> np.ndarray:
        """The next n numbers, from 0 to 1."""
        state = self._state
        for i in range(n):
            state.append((state[i] + state[i + _LONG - _SHORT]) & 0xFFFFFFFF)
        self._state = state[n:]
        return (np.array(state[_LONG:], np.uint64) >> np.uint64(1)) / (2**31 - 1)


def randomise_phases(
    volume: np.ndarray, from_shell: int, rng: np.random.Generator | RelionNumbers
) -> np.ndarray:
    """Replace the phases of the fine detail of a map by random ones.

    Amplitudes, and everything nearer to zero than ``from_shell``, stay. With `RelionNumbers` the
    plane kx = 0, which holds a coefficient and its mirror image, gets phases that do not agree, and
    the mean of the two is left, as in RELION.

    Parameters
    ----------
    volume : ndarray of shape (n, n, n)
    from_shell : int
        From this distance on, in steps of 1 / box.
    rng : numpy Generator or RelionNumbers

    Returns
    -------
    ndarray of float, same shape
    """
    volume = as_cube(volume, "the map")
    spectrum = fft.rfftn(volume)
    n = volume.shape[0]
    whole, half = fft.fftfreq(n, 1 / n), fft.rfftfreq(n, 1 / n)
    squared = whole[:, None, None] ** 2 + whole[:, None] ** 2 + half**2
    changed = np.round(squared) >= from_shell**2
    drawn = np.ones(spectrum.shape, complex)
    drawn[changed] = np.exp(2j * np.pi * rng.random(int(changed.sum())))
    if not isinstance(rng, RelionNumbers):  # the symmetry of a real map, also where kx = 0
        drawn = fft.rfftn(fft.irfftn(drawn, s=volume.shape))
    random = np.abs(spectrum) * np.exp(1j * np.angle(drawn))
    mixed = fft.irfftn(np.where(changed, random, spectrum), s=volume.shape)
    return np.asarray(mixed, volume.dtype)
