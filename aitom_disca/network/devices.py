"""What to ask of the device: XLA, precision, several devices. The one place that decides."""

from __future__ import annotations

import keras


def compiles_with_xla() -> bool:
    """Whether a training step is compiled by XLA.

    JAX knows no other way. On TensorFlow it made 3D convolutions slower on a CPU.
    """
    return keras.backend.backend() == "jax"
