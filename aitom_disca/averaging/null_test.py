"""What "a structure" made of nothing looks like, and how far a cluster is from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from aitom_disca.averaging.fsc import CorrectedFsc, corrected_fsc
from aitom_disca.averaging.gold_standard import ClusterAverage, average_cluster

_AXES = (-3, -2, -1)
_SHARED = 0.143


@dataclass(frozen=True)
class NullTest:
    """The average of subtomograms that are no cluster, made in the same way as a cluster's.

    Parameters
    ----------
    made_from : str
        In words.
    n_members : int
    found : ClusterAverage
    fsc : CorrectedFsc
        In the mask of the cluster that it is compared with.
    """

    made_from: str
    n_members: int
    found: ClusterAverage
    fsc: CorrectedFsc

    def margin(self, cluster: CorrectedFsc) -> float:
        """How much better the halves of a cluster agree, mean over the shells that they share.

        Up to 1; 0 where nothing gives the same. NaN where the cluster's halves share nothing.
        """
        ours, null = cluster.corrected.correlation[1:], self.fsc.corrected.correlation[1:]
        below = np.flatnonzero(ours < _SHARED)
        shared = below[0] if len(below) else len(ours)
        return float((ours - null)[:shared].mean()) if shared else float("nan")


def null_test(
    volumes: np.ndarray,
    made_from: str,
    mask: np.ndarray,
    tilt_range_deg: tuple[float, float],
    voxel_size_angstrom: float,
    *,
    symmetry: str = "C1",
    noisy: bool | None = None,
    seed: int = 0,
) -> NullTest:
    """Average subtomograms that are no cluster, exactly as the members of a cluster are.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        Noise, or members of other clusters; as many as the cluster has.
    made_from : str
    mask : ndarray of shape (n, n, n)
        That of the cluster.
    tilt_range_deg : tuple of 2 floats
    voxel_size_angstrom : float
    symmetry : str
    noisy : bool, optional
        Whether the cluster began from initial models: noise then does so too.
    seed : int
    """
    found = average_cluster(volumes, tilt_range_deg, symmetry=symmetry, noisy=noisy, seed=seed)
    rng = np.random.default_rng(seed)
    fsc = corrected_fsc(found.half1, found.half2, mask, voxel_size_angstrom, rng)
    return NullTest(made_from, len(volumes), found, fsc)


def noise_like(volumes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise with the mean power spectrum of volumes (N, z, y, x), missing wedge included."""
    power = np.zeros(fft.rfftn(volumes[0]).shape)
    for volume in volumes:
        power += np.abs(fft.rfftn(volume)) ** 2
    white = rng.normal(size=volumes.shape).astype(np.float32)
    size = np.sqrt(np.prod(volumes.shape[1:]))
    amplitude = np.sqrt(power / len(volumes)) / size
    spectra = fft.rfftn(white, axes=_AXES) * amplitude
    return np.asarray(fft.irfftn(spectra, s=volumes.shape[1:], axes=_AXES), np.float32)
