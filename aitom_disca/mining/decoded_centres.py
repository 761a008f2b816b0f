"""What the clusters look like to the network: their centres, and members near them, decoded."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from aitom_disca.mining.disca import DISCA
from aitom_disca.number_text import counted
from aitom_disca.progress import say
from aitom_disca.subtomograms.dataset import PreparedVolumes, Source

_LARGEST_BOX_PX = 32  # larger subtomograms are Fourier-cropped


@dataclass(frozen=True)
class DecodedClusters:
    """Decoded volumes of K clusters.

    Parameters
    ----------
    clusters : ndarray of int, shape (K,)
        From 0; those that have members.
    centers : ndarray of shape (K, z, y, x)
        Decoded mean features of every cluster.
    members : ndarray of shape (K, z, y, x)
        Decoded features of the member nearest to each centre.
    member_rows : ndarray of int, shape (K,)
        Which subtomograms these are.
    errors : list of float
        Error of the decoder on subtomograms that it was not trained on, pass by pass; 1 is the
        variance of a subtomogram.
    seconds_per_subtomogram : float
        Features, training and decoding, divided by the number of subtomograms.
    """

    clusters: np.ndarray
    centers: np.ndarray
    members: np.ndarray
    member_rows: np.ndarray
    errors: list[float]
    seconds_per_subtomogram: float


def decode_clusters(
    disca: DISCA, source: Source, labels: np.ndarray, *, epochs: int = 20, seed: int = 0
) -> DecodedClusters:
    """Train a decoder on all subtomograms, and decode the centre of every cluster.

    Parameters
    ----------
    disca : DISCA
        Fitted or loaded.
    source : SubtomogramStore or other Source
        The subtomograms, of the box that the model was fitted to.
    labels : ndarray of int, shape (n_subtomograms,)
        Clusters from 0; -1 for none.
    epochs : int
        Passes over the subtomograms, at most.
    seed : int

    Returns
    -------
    DecodedClusters
        Volumes of at most 32 voxels.

    References
    ----------
    .. [1] Zeng et al. (2023), PNAS 120(15) e2213149120, SI, "Fast visualization of cluster
       centers".
    """
    from aitom_disca.network.decoder import Decoder

    start = time.perf_counter()
    features = disca.features(source)
    volumes = PreparedVolumes(source, box_px=_LARGEST_BOX_PX)
    decoder = Decoder(volumes.box_px, features.shape[1], seed=seed)
    errors = decoder.fit(features, volumes, epochs=epochs)
    clusters, center_features, rows = find_centers(features, labels)
    centers, members = decoder(center_features), decoder(features[rows])
    each = (time.perf_counter() - start) / len(source)
    say(
        f"decoder trained on {counted(len(source), 'subtomogram')} in "
        f"{counted(len(errors), 'pass', 'passes')}: "
        f"{1000 * each:.1f} ms a subtomogram"
    )
    return DecodedClusters(clusters, centers, members, rows, errors, each)


def find_centers(
    features: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle of every cluster.

    Returns
    -------
    clusters : ndarray of int, shape (K,)
        Those that have members; -1 is none.
    centers : ndarray of shape (K, n_features)
        Mean features of their members.
    rows : ndarray of int, shape (K,)
        The member nearest to each, in units of the features' standard deviations.
    """
    scale = features.std(axis=0) + 1e-6
    clusters = np.unique(labels[labels >= 0])
    centers = np.array([features[labels == cluster].mean(axis=0) for cluster in clusters])
    rows = []
    for cluster, center in zip(clusters, centers, strict=True):
        members = np.flatnonzero(labels == cluster)
        distances = (((features[members] - center) / scale) ** 2).sum(axis=1)
        rows.append(members[distances.argmin()])
    return clusters, centers, np.array(rows, int)
