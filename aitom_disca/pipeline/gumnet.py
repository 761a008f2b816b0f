"""From a store to a Gum-Net that knows one of its clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io import SubtomogramStore, open_store
from aitom_disca.pipeline.labels_of_store import labels_of_store


def train_gumnet_on_store(
    store: str | Path,
    out: str | Path,
    *,
    labels: str | Path | None = None,
    cluster: int | None = None,
    weights: str | Path | None = None,
    width: float = 0.05,
    epochs: int = 60,
    batch_size: int = 16,
    learning_rate: float | None = None,
    loss: str = "motion",
    seed: int = 0,
) -> int:
    """Train Gum-Net on a cluster's members, and write it.

    Parameters
    ----------
    store, out : path
    labels : path, optional
        labels.csv of this store; without it all subtomograms are one cluster.
    cluster : int, optional
        Number from 1; the largest, unless given.
    weights : path, optional
        A model file of AITom's Gum-Net, or of ours (.keras), to begin with.
    width, epochs, batch_size, learning_rate, loss, seed
        As in `train_gumnet`; the width is that of AITom's, 1, where its weights are given.

    Returns
    -------
    int
        Members that it was trained on.

    Raises
    ------
    InputError
        If the labels, the cluster or the weights do not fit.
    """
    from aitom_disca.network.gumnet import (
        build_gumnet,
        load_gumnet,
        load_legacy_weights,
        save_gumnet,
        train_gumnet,
    )

    with open_store(store) as source:
        rows = _rows(source, store, labels, cluster)
        volumes, tilts = source.read(rows), source.common_tilt_range_deg
    model = None
    if weights is not None and Path(weights).suffix == ".keras":
        model = load_gumnet(weights)
    elif weights is not None:
        model = build_gumnet(volumes.shape[-1], seed=seed)
        load_legacy_weights(weights, model)
    model = train_gumnet(
        volumes,
        tilts,
        width=width,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        loss=loss,
        model=model,
        seed=seed,
    )
    save_gumnet(model, out)
    return len(rows)


def _rows(
    source: SubtomogramStore,
    store: str | Path,
    labels: str | Path | None,
    cluster: int | None,
) -> np.ndarray:
    if labels is None:
        return np.arange(len(source))
    known, _ = labels_of_store(source, labels)
    sizes = np.bincount(known[known >= 0], minlength=1)
    number = int(sizes.argmax()) + 1 if cluster is None else cluster
    rows = np.flatnonzero(known == number - 1)
    if not len(rows):
        raise InputError(f"there is no cluster {number} in {labels}; it has {len(sizes)}.")
    return rows
