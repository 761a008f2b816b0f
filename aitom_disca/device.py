"""On what is computed: one choice for networks and for alignment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from aitom_disca.errors import InputError

_NAMES = re.compile(r"auto|cpu|(cuda|gpu|tpu)(:\d+)?")
_accelerator: str | None = None  # what Keras calls it; None for the processor


def accelerator() -> str | None:
    """Keras' name of the device that is computed on, such as ``gpu:0``; None: the processor."""
    return _accelerator


@contextmanager
def computing_on(name: str = "auto") -> Iterator[None]:
    """What is computed inside of this block, by this process, is computed there.

    Parameters
    ----------
    name : str
        ``auto``: the first accelerator that Keras' backend sees, else the processor; ``cpu``; or
        an accelerator such as ``cuda:0``.

    Raises
    ------
    InputError
        If the name is another, or there is no such device.
    """
    global _accelerator
    if not _NAMES.fullmatch(name):
        raise InputError(f"--device takes auto, cpu, or a device such as cuda:0; got {name!r}.")
    from aitom_disca.network.backend import import_keras

    import_keras()
    import keras

    from aitom_disca.network.devices import accelerators

    before, _accelerator = _accelerator, _found(name, accelerators())
    try:
        with keras.device(_accelerator or "cpu:0"):
            yield
    finally:
        _accelerator = before


def _found(name: str, accelerators: list[str]) -> str | None:
    if name == "cpu" or (name == "auto" and not accelerators):
        return None
    if name == "auto":
        return accelerators[0]
    wanted = name.replace("cuda", "gpu")
    wanted = wanted if ":" in wanted else f"{wanted}:0"
    if wanted not in accelerators:
        there = f"it sees {', '.join(accelerators)}" if accelerators else "it sees the processor"
        raise InputError(
            f"Keras' backend sees no device {name}, {there} alone; give another --device, or auto."
        )
    return wanted
