"""On what is computed: one choice for networks and for alignment."""

from __future__ import annotations

import re
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

from aitom_disca.errors import InputError

_NAMES = re.compile(r"auto|cpu|(cuda|gpu|tpu)(:\d+)?")
# What drivers of NVIDIA, AMD, Google and Windows' Linux put into /dev. Where none of it is, Keras
# need not be imported to know that there is the processor alone.
_DRIVERS = ("nvidia[0-9]*", "kfd", "accel*", "vfio", "dxg")
_chosen = "auto"
_scope = ExitStack()  # in which networks are built and run


def use(name: str = "auto") -> None:
    """Compute there from now on, in this process.

    Parameters
    ----------
    name : str
        ``auto``, which is the default: the first accelerator that Keras' backend sees, else the
        processor; ``cpu``; or an accelerator such as ``cuda:0``.

    Raises
    ------
    InputError
        If the name is another, or there is no such device.
    """
    global _chosen
    if not _NAMES.fullmatch(name):
        raise InputError(f"--device takes auto, cpu, or a device such as cuda:0; got {name!r}.")
    _scope.close()
    if name != "auto" and (name != "cpu" or _drivers_are_there()):
        wanted = _found(name) or "cpu:0"
        import keras

        _scope.enter_context(keras.device(wanted))
    _chosen = name


def chosen() -> str:
    """What was last given to `use`."""
    return _chosen


def accelerator() -> str | None:
    """Keras' name of the device that is computed on, such as ``gpu:0``; None: the processor."""
    return _found(_chosen)


@lru_cache
def _found(name: str) -> str | None:
    if name == "cpu" or (name == "auto" and not _drivers_are_there()):
        return None
    from aitom_disca.computing.devices import accelerators

    there = accelerators()
    if name == "auto":
        return there[0] if there else None
    wanted = name.replace("cuda", "gpu") + ("" if ":" in name else ":0")
    if wanted not in there:
        raise InputError(
            f"expected a device that Keras' backend sees ({', '.join(['cpu', *there])}); got "
            f"--device {name}."
        )
    return wanted


def _drivers_are_there() -> bool:
    return any(True for pattern in _DRIVERS for _ in Path("/dev").glob(pattern))
