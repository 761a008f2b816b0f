"""What to ask of the device: XLA, precision, several devices. The one place that decides.

TensorFlow, JAX and PyTorch are imported here only, and only where they are Keras' backend.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import numpy as np

from aitom_disca.computing.keras_backend import import_keras
from aitom_disca.errors import InputError

import_keras()  # without the messages of its start

import keras
from keras import ops, tree

_MIXED = "mixed_bfloat16"
_MEMORY_BYTES = 2**31
_BFLOAT16_CAPABILITY = (8, 0)  # of NVIDIA's cards: Ampere and later compute with it


def compile_model(
    model: keras.Model, optimizer: type[keras.Optimizer], learning_rate: float, loss: str
) -> None:
    """Make a model ready for training.

    JAX always compiles with XLA. TensorFlow is not asked to: on a CPU its XLA makes 3D convolutions
    several times slower.

    The optimiser gets its variables here: if it made them in the first step, TensorFlow would
    trace that step twice, which takes seconds.
    """
    with scope_of(model):
        made = optimizer(learning_rate)
        model.compile(made, loss, jit_compile=keras.backend.backend() == "jax")
        made.build(model.trainable_variables)


# -- precision ---------------------------------------------------------------------------------


def dtype_policy(precision: str) -> str:
    """Keras' name for the precision that a network computes in.

    Parameters
    ----------
    precision : {"auto", "float32", "mixed"}
        ``mixed`` multiplies in bfloat16 and keeps weights in float32; unlike float16 it needs no
        scaling of the loss. ``auto`` is mixed on cards that compute with it, float32 elsewhere.

    Returns
    -------
    str
        ``float32`` or ``mixed_bfloat16``.
    """
    if precision == "auto":
        precision = "mixed" if _computes_with_bfloat16() else "float32"
    return _MIXED if precision == "mixed" else "float32"


def _computes_with_bfloat16() -> bool:
    """Whether the first device is a graphics card with units for bfloat16."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        cards = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(cards[0]) if cards else {}
        return details.get("compute_capability", (0, 0)) >= _BFLOAT16_CAPABILITY
    if backend == "jax":
        import jax

        card = jax.devices()[0]
        capability = str(getattr(card, "compute_capability", "0.0"))
        return card.platform == "gpu" and float(capability) >= _BFLOAT16_CAPABILITY[0]
    if backend == "torch":
        import torch

        found = torch.cuda.is_available() and torch.cuda.get_device_capability()
        return bool(found) and found >= _BFLOAT16_CAPABILITY
    return False


# -- one device --------------------------------------------------------------------------------


def accelerators() -> list[str]:
    """Keras' names of what Keras' backend sees beside the processor, such as ``gpu:0``."""
    if keras.backend.backend() == "torch":
        import torch

        return [f"gpu:{number}" for number in range(torch.cuda.device_count())]
    names = [name.lower() for name in keras.distribution.list_devices()]
    return [name for name in names if not name.startswith("cpu")]


def free_memory_bytes(name: str) -> int:
    """Memory that is free on a device, where the backend tells; else 2 GiB, that all have."""
    backend, (kind, _, number) = keras.backend.backend(), name.partition(":")
    if backend == "torch" and kind == "gpu":
        import torch

        return int(torch.cuda.mem_get_info(int(number))[0])
    if backend == "jax" and kind != "cpu":
        import jax

        stats = jax.devices(kind)[int(number)].memory_stats() or {}
        return int(stats.get("bytes_limit", _MEMORY_BYTES) - stats.get("bytes_in_use", 0))
    return _MEMORY_BYTES


def compiled(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function of tensors, compiled for a device where the backend does that.

    TensorFlow is asked for XLA on accelerators alone: on a processor its products are slower then.
    Products on graphics cards are in TF32, which TensorFlow and JAX take by themselves.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        logging.getLogger("tensorflow").addFilter(_says_more_than_retracing)
        return tf.function(function, jit_compile=not name.startswith("cpu"))
    if backend == "jax":
        import jax

        return jax.jit(function)
    if backend == "torch" and not name.startswith("cpu"):
        return _in_tf32(function)
    return function


def _says_more_than_retracing(record: logging.LogRecord) -> bool:
    """TensorFlow advises against a trace for every shape; there are few, and XLA needs them."""
    return "retracing" not in record.getMessage()


def _in_tf32(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of PyTorch's tensors whose products of matrices are in TF32."""
    import torch

    def call(*tensors: Any) -> Any:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            with torch.no_grad():
                return function(*tensors)
        finally:
            torch.set_float32_matmul_precision(before)

    return call


# -- several devices ---------------------------------------------------------------------------


def data_parallel(n_devices: int) -> AbstractContextManager:
    """Networks built inside of this block are trained on so many devices at once.

    Every batch is divided among them. Graphics cards are taken, processors where there is none.

    Parameters
    ----------
    n_devices : int
        1 for the usual way.

    Raises
    ------
    InputError
        If there are fewer devices, or the backend cannot do it.
    """
    backend = keras.backend.backend()
    if n_devices == 1:
        return nullcontext()
    if backend == "tensorflow":
        return _mirrored(n_devices).scope()
    if backend == "jax":
        names = _first(keras.distribution.list_devices(), n_devices)
        # For the rest of the process: arrays on one and on several devices do not mix.
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        )
        return nullcontext()
    raise InputError(
        f"expected one device with the backend {backend}, but {n_devices} are asked for; set "
        "KERAS_BACKEND to tensorflow or jax to train on several."
    )


@lru_cache
def _mirrored(n_devices: int) -> Any:
    """TensorFlow's strategy, one a process: the messages of two would be mixed up."""
    import tensorflow as tf

    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    return tf.distribute.MirroredStrategy(_first(names, n_devices))


def _first(names: list[str], n: int) -> list[str]:
    if n > len(names):
        raise InputError(
            f"expected {n} devices to train on, but there are {len(names)}; ask for fewer."
        )
    return names[:n]


def normalises_across_devices() -> bool:
    """Whether batch normalisation has to be told to look at all devices' parts of a batch.

    TensorFlow's replicas each see their own part; JAX computes with the whole batch anyway.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def count(model: keras.Model) -> int:
    """On how many devices a model is trained."""
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    held = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    return 1 if held is None else int(np.prod(held.device_mesh.shape))


def scope_of(model: keras.Model) -> AbstractContextManager:
    """The block in which what is to be trained with a model has to be built."""
    return model.distribute_strategy.scope() if _has_replicas(model) else nullcontext()


def train_on_batch(model: keras.Model, inputs: Any, targets: Any) -> float:
    """One step of training on all devices of a model.

    Parameters
    ----------
    model : keras.Model
    inputs, targets : ndarray, or tuple of ndarray
        Their length is a multiple of `count`.

    Returns
    -------
    float
        Loss of the batch.
    """
    model.reset_metrics()  # or older Keras gives the mean loss of all batches so far
    if not _has_replicas(model):
        return float(model.train_on_batch(inputs, targets))
    # What Keras' train_on_batch does, but that would give every replica the whole batch.
    model.make_train_function()
    return float(model.train_function(iter([_divided(model, (inputs, targets))]))["loss"])


def predict_on_batch(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Output of a model, computed on all its devices; lengths as in `train_on_batch`."""
    given = _divided(model, inputs) if _has_replicas(model) else inputs
    return np.asarray(ops.convert_to_numpy(model.predict_on_batch(given)), np.float32)


def _has_replicas(model: keras.Model) -> bool:
    return keras.backend.backend() == "tensorflow" and count(model) > 1


def _divided(model: keras.Model, arrays: Any) -> Any:
    """Give each of TensorFlow's replicas its part of every array."""
    import tensorflow as tf

    def divide(array: np.ndarray) -> Any:
        parts = np.split(array, count(model))
        return model.distribute_strategy.experimental_distribute_values_from_function(
            lambda replica: tf.convert_to_tensor(parts[replica.replica_id_in_sync_group])
        )

    return tree.map_structure(divide, arrays)
