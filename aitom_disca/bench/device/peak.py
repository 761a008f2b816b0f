"""What the device is, and how fast it multiplies matrices: the measure for everything else."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

_EDGE = {"gpu": 8192, "cpu": 2048}  # of the matrices
_REPEATS = 3


def name_device() -> dict[str, Any]:
    """Backend, its version, the device's name and kind (``gpu`` or ``cpu``)."""
    backend = keras.backend.backend()
    found = {"backend": backend, "keras": keras.__version__, "kind": "cpu", "device": "processor"}
    if backend == "tensorflow":
        import tensorflow as tf

        found["version"] = tf.__version__
        if cards := tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(cards[0])
            found |= {"kind": "gpu", "device": details.get("device_name", "graphics card")}
    elif backend == "jax":
        import jax

        found["version"] = jax.__version__
        if (card := jax.devices()[0]).platform != "cpu":
            found |= {"kind": "gpu", "device": card.device_kind}
    elif backend == "torch":
        import torch

        found["version"] = torch.__version__
        if torch.cuda.is_available():
            found |= {"kind": "gpu", "device": torch.cuda.get_device_name()}
    return found


def measure_peak(kind: str) -> dict[str, float]:
    """Products of large matrices, in 10^12 operations a second.

    Returns
    -------
    dict
        ``float32`` as the backend multiplies it by default, and ``bfloat16``.
    """
    edge = _EDGE[kind]
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((edge, edge), np.float32)
    found = {}
    for dtype in ("float32", "bfloat16"):
        given = ops.cast(ops.convert_to_tensor(matrix), dtype)
        found[dtype] = 2 * edge**3 / fastest(partial(_product, given)) / 1e12
    return found


def _product(matrix: Any) -> float:
    """Its square, of which one number is asked for: the device has to have ended its work."""
    return float(ops.convert_to_numpy(ops.cast(ops.matmul(matrix, matrix)[0, 0], "float32")))


def fastest(work: Callable[[], Any], repeats: int = _REPEATS) -> float:
    """Seconds of the fastest of some calls, after one that makes everything ready."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
