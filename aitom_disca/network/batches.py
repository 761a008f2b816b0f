"""Training in batches of one length: one compiled step does them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from aitom_disca.computing.devices import count, train_on_batch
from aitom_disca.computing.keras_backend import BatchSize
from aitom_disca.errors import IterationError
from aitom_disca.progress import track

MakeBatch = Callable[[np.ndarray], tuple[Any, Any]]


def equal_batches(entries: np.ndarray, largest: int, multiple: int = 1) -> list[np.ndarray]:
    """Cut entries into as few batches as possible, all of the same length.

    A batch of another length would be compiled anew, which takes seconds. The last one is
    completed with the first entries, fewer than there are batches (times ``multiple``).

    Parameters
    ----------
    entries : ndarray of shape (n,)
    largest : int
        Longest batch.
    multiple : int
        The length is a multiple of this number.

    Returns
    -------
    list of ndarray
    """
    n_batches = max(1, -(-len(entries) // largest))
    length = -(-len(entries) // n_batches)
    length = -(-length // multiple) * multiple
    return list(np.resize(entries, (n_batches, length)))


def train_pass(
    model: keras.Model,
    entries: np.ndarray,
    make_batch: MakeBatch,
    batch_size: BatchSize,
    *,
    description: str = "training",
) -> float:
    """Train a compiled model once on all entries, in their order.

    Where the device runs out of memory the batch size is halved, for the rest and for good.

    Parameters
    ----------
    model : keras.Model
    entries : ndarray of shape (n,)
    make_batch : callable
        Entries to what `train_on_batch` takes: inputs and targets.
    batch_size : BatchSize
    description : str
        For the progress.

    Returns
    -------
    float
        Mean loss.

    Raises
    ------
    IterationError
        If the loss is not a finite number.
    """
    n_batches = len(equal_batches(entries, batch_size.value))
    steps = _steps(model, entries, make_batch, batch_size)
    losses = np.array(list(track(steps, description, n_batches)))
    return float(np.average(losses[:, 0], weights=losses[:, 1]))


def _steps(
    model: keras.Model,
    entries: np.ndarray,
    make_batch: MakeBatch,
    batch_size: BatchSize,
) -> Iterator[tuple[float, int]]:
    """Loss and length of every batch."""
    multiple = count(model)
    left = equal_batches(entries, batch_size.value, multiple)
    while left:
        inputs, targets = make_batch(left[0])
        try:
            loss = train_on_batch(model, inputs, targets)
        except Exception as error:
            batch_size.halve(error)
            left = equal_batches(np.concatenate(left), batch_size.value, multiple)
            continue
        if not np.isfinite(loss):
            raise IterationError("the loss was not a number")
        yield loss, len(left.pop(0))
