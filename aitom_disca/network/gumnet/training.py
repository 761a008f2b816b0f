"""Gum-Net learns from subtomograms of one cluster; no poses are known."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import fft

from aitom_disca.errors import InputError
from aitom_disca.geometry.wedge import missing_wedge_mask
from aitom_disca.network.gumnet.copies import (
    Copies,
    begin_in_the_middle,
    motion_loss,
    motion_model,
)
from aitom_disca.network.gumnet.model import build_gumnet
from aitom_disca.progress import step

_FEWEST = 2


def published_loss(target: Any, laid: Any) -> Any:
    """1 - r^2 with Pearson's r over the whole batch; a volume and its negative are alike to it."""
    a, b = (x - ops.mean(x) for x in (target, laid))
    r = ops.sum(a * b) / ops.sqrt(ops.sum(a * a) * ops.sum(b * b) + 1e-12)
    return 1 - ops.square(ops.clip(r, -1, 1))


def pairwise_loss(target: Any, laid: Any) -> Any:
    """1 - r with Pearson's r of every pair."""
    axes = (1, 2, 3, 4)
    a, b = (x - ops.mean(x, axis=axes, keepdims=True) for x in (target, laid))
    power = ops.sum(a * a, axis=axes) * ops.sum(b * b, axis=axes)
    return 1 - ops.sum(a * b, axis=axes) / ops.sqrt(power + 1e-12)


_LOSSES = {"pairwise": pairwise_loss, "published": published_loss}


class Pairs(keras.utils.PyDataset):
    """Batches of random pairs, other ones in every epoch.

    Parameters
    ----------
    volumes : ndarray of shape (N, x, y, z)
        Standardised.
    masks : tuple of 2 ndarrays of shape (n, n, n)
        Observed and missing coefficients.
    batch_size, seed : int
    """

    def __init__(
        self,
        volumes: np.ndarray,
        masks: tuple[np.ndarray, np.ndarray],
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._volumes, self._masks, self._batch_size = volumes, masks, batch_size
        self._rng = np.random.default_rng(seed)
        self._draw()

    def __len__(self) -> int:
        return -(-len(self._volumes) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        rows = slice(index * self._batch_size, (index + 1) * self._batch_size)
        moving, target = (self._volumes[which[rows]] for which in (self._moving, self._target))
        return inputs_of(moving, target, self._masks)

    def on_epoch_end(self) -> None:
        """Draw other pairs."""
        self._draw()

    def _draw(self) -> None:
        n = len(self._volumes)
        self._moving = self._rng.permutation(n)
        self._target = (self._moving + self._rng.integers(1, n, n)) % n


# Adam's learning rate: correlations of pairs say little, and want small steps.
_RATES, _SLOW_RATE = {"motion": 2e-3}, 1e-4


def train_gumnet(
    volumes: np.ndarray,
    tilt_range_deg: tuple[float, float],
    *,
    width: float = 0.05,
    epochs: int = 60,
    batch_size: int = 16,
    learning_rate: float | None = None,
    loss: str = "motion",
    model: keras.Model | None = None,
    seed: int = 0,
) -> keras.Model:
    """Train Gum-Net on volumes of one structure.

    The published way maximises the correlation of random pairs. From new weights it needs more
    pairs than a CPU can look at: correlation says little while motions are far off. By default
    the network learns from single volumes instead, each turned twice: the motion between the
    copies is known, at most 63 degrees, and the network learns to answer with it.
    `predict_poses` turns volumes near to their target before it asks. The copies share their
    noise, so that the network also learns from what real pairs do not share.

    Parameters
    ----------
    volumes : ndarray of shape (N, n, n, n)
        Axes z, y, x; protein bright.
    tilt_range_deg : tuple of 2 floats
    width : float
        Factor on all channels; a twentieth is bearable on a CPU.
    epochs, batch_size : int
    learning_rate : float, optional
        Of Adam; 0.002 with copies, where it falls to 0 as a cosine, else 0.0001.
    loss : {"motion", "pairwise", "published"}
        Copies with a known motion; 1 - r of every pair; or 1 - r^2 over the batch.
    model : keras.Model, optional
        To go on with, in place of a new one.
    seed : int

    Returns
    -------
    keras.Model
        As of `build_gumnet`.

    Raises
    ------
    InputError
        If there are fewer than 2 volumes, the box is too small, or there is no such loss.
    """
    if len(volumes) < _FEWEST:
        raise InputError(f"Gum-Net learns from pairs, but there are {len(volumes)} volumes.")
    if loss not in ("motion", *_LOSSES):
        raise InputError(f"expected the loss motion, pairwise or published, but got {loss!r}.")
    box_px, is_new = volumes.shape[-1], model is None
    model = build_gumnet(box_px, width=width, seed=seed) if model is None else model
    ready = standardised(volumes)
    rate: Any = learning_rate or _RATES.get(loss, _SLOW_RATE)
    data: Copies | Pairs
    if loss == "motion":
        if is_new:
            begin_in_the_middle(model)
        data = Copies(ready, batch_size, seed)
        rate = keras.optimizers.schedules.CosineDecay(rate, max(1, epochs * len(data)))
        trained, measure = motion_model(model, tilt_range_deg), motion_loss(box_px)
    else:
        data = Pairs(ready, masks_of(box_px, tilt_range_deg), batch_size, seed)
        trained = keras.Model(model.inputs, model.outputs[0])  # shares the weights
        measure = _LOSSES[loss]
    trained.compile(keras.optimizers.Adam(rate), loss=measure, jit_compile=False)
    with step("training Gum-Net", epochs) as going_on:
        for _ in range(epochs):
            last = trained.fit(data, epochs=1, verbose=0, shuffle=False).history["loss"][0]
            going_on.outcome = f"loss {last:.4f}"
            going_on.advance()
    return model


def standardised(volumes: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 over the whole set, axes x, y, z."""
    volumes = np.asarray(volumes, np.float32)
    return ((volumes - volumes.mean()) / max(float(volumes.std()), 1e-12)).transpose(0, 3, 2, 1)


def masks_of(box_px: int, tilt_range_deg: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Observed and missing coefficients (x, y, z), zero frequency at ``n // 2``."""
    mask = missing_wedge_mask((box_px,) * 3, tilt_range_deg)
    observed = np.broadcast_to(fft.fftshift(mask, (0, 2)), (box_px,) * 3).astype(np.float32)
    observed = observed.transpose(2, 1, 0)
    return observed, 1 - observed


def inputs_of(
    moving: np.ndarray, target: np.ndarray, masks: tuple[np.ndarray, np.ndarray]
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """What the network takes, and the target that its loss compares with."""
    observed, missing = (np.broadcast_to(mask, moving.shape)[..., None] for mask in masks)
    inputs = (moving[..., None], target[..., None], observed, missing)
    return inputs, target[..., None]
