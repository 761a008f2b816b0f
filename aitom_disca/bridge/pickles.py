"""Pickles without their dangers: arrays, numbers, text and plain containers, and nothing else."""

from __future__ import annotations

import codecs
import collections
import io
import pickle
import pickletools
from collections.abc import Callable, Sized
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aitom_disca.bridge.pickle_checks import Unfolding, check_operations, most_bytes
from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import replacing
from aitom_disca.io.disk.reading import reason_of

_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFERS = ("numpy.core.numeric", "numpy._core.numeric")
_BUILTINS = ("builtins", "__builtin__")
_KINDS = "biufcSU"  # of numbers and text
_PROTOCOL = 2  # what AITom writes, and everything reads
_UNREADABLE = (
    pickle.UnpicklingError, EOFError, AttributeError, ValueError, TypeError, LookupError,
    OverflowError, MemoryError, RecursionError, UnicodeError,
)  # fmt: skip


def read_pickle(path: str | Path) -> Any:
    """Read a pickle of arrays and plain containers; nothing in it is run.

    Pickles of Python 2 and 3, and of any NumPy, are read; text of Python 2 as Latin-1.

    Raises
    ------
    InputError
        If it is no pickle, or holds anything but arrays, numbers, text, lists, tuples, sets and
        dictionaries.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    try:
        check_operations(content)
        held = _Reader(content, path.name).load()
        return Unfolding(_as_arrays, most_bytes(content))(held)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(
            f"{path.name} is no pickle that can be read ({reason_of(error)})."
        ) from error


def write_pickle(path: str | Path, held: Any) -> None:
    """Write a pickle that AITom reads with any NumPy; the file appears when it is whole."""
    with replacing(path) as temporary:
        temporary.write_bytes(_for_any_numpy(pickle.dumps(held, protocol=_PROTOCOL)))


class _Dtype:
    """Stands for a NumPy type while it is read: its state is looked at before it counts."""

    def __init__(self, code: Any, *_: Any) -> None:
        self._code, self._order = _text(code), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if any(part is not None for part in state[2:5]):
            raise ValueError("it has arrays of records")
        self._order = _text(state[1])

    def made(self) -> np.dtype:
        dtype = np.dtype(self._code)
        if dtype.kind not in _KINDS + "O":
            raise ValueError(f"it has arrays of {dtype}")
        return dtype if self._order == "|" else dtype.newbyteorder(self._order)  # type: ignore[arg-type]


class _Array:
    """Stands for a NumPy array while it is read; also for the class ``ndarray`` itself."""

    def __init__(self, *_: Any) -> None:
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def made(self, again: Callable[[Any], Any]) -> np.ndarray:
        _, shape, dtype, fortran, data = self._state
        kind, order = dtype.made(), "F" if fortran else "C"
        if kind.kind == "O":
            if not isinstance(data, list):
                raise ValueError("it has an array of objects without its list")
            array = np.empty(len(data), object)
            for row, part in enumerate(data):
                array[row] = again(part)
            return array.reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]
        return _numbers(data, kind).reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]


def _numbers(data: Any, kind: np.dtype) -> np.ndarray:
    if isinstance(data, str):
        data = data.encode("latin-1")
    return np.frombuffer(data, kind).copy()


def _array_of_buffer(data: Any, dtype: _Dtype, shape: Any, order: str) -> _Array:
    array = _Array()
    if not isinstance(data, bytes | bytearray):
        raise ValueError("it has an array without its bytes")
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: _Dtype, data: Any) -> Any:
    kind = dtype.made()
    if kind.kind == "O":
        raise ValueError("it has a NumPy scalar that is an object")
    return _numbers(data, kind)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if codecs.lookup(encoding).name not in ("iso8859-1", "ascii", "utf-8"):
        raise ValueError(f"it has bytes encoded as {encoding}")
    return text.encode(encoding)


def _bytearray(data: Any = b"", encoding: str | None = None) -> bytearray:
    """Of bytes or text; never of a number, which would be the number of bytes to be made."""
    if encoding is not None:
        data = _encode(data, encoding)
    if not isinstance(data, bytes | bytearray):
        raise ValueError("it has bytes without what is in them")
    return bytearray(data)


def _complex(real: float, imaginary: float) -> complex:
    return complex(float(real), float(imaginary))


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


_CONTAINERS = {"set": set, "frozenset": frozenset, "bytearray": _bytearray}


class _Reader(pickle.Unpickler):
    """Knows a few names, each as a function of this module, and refuses all others."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        **{(module, "_reconstruct"): _Array for module in _ARRAYS},
        **{(module, "scalar"): _scalar for module in _ARRAYS},
        **{(module, "_frombuffer"): _array_of_buffer for module in _BUFFERS},
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }
    _MAKES_MORE: ClassVar[dict[tuple[str, str], Any]] = {
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): collections.OrderedDict,
        **{(module, name): kind for module in _BUILTINS for name, kind in _CONTAINERS.items()},
        **{(module, "complex"): _complex for module in _BUILTINS},
    }

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._name = name
        self._left = most_bytes(content)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._MAKES_MORE:
            return partial(self._counted, self._MAKES_MORE[module, name])
        try:
            return self._KNOWN[module, name]
        except KeyError:
            raise InputError(
                f"{self._name} holds {module}.{name}, which was not run: of pickles only arrays, "
                "numbers, text and plain containers are read; write such a file again without it."
            ) from None

    def _counted(self, make: Callable[..., Any], *given: Any) -> Any:
        """Make it, unless one thing is made again and again until the memory is full."""
        made = make(*given)
        self._left -= len(made) if isinstance(made, Sized) else 1
        if self._left < 0:
            raise ValueError("it unfolds to far more than the file holds")
        return made


def _as_arrays(held: Any, again: Callable[[Any], Any]) -> tuple[Any, int]:
    """An array in the place of what stood for it, and bytes that it has."""
    if isinstance(held, _Array):
        array = held.made(again)
        return array, array.nbytes
    if isinstance(held, _Dtype):
        return held.made(), 0
    return held, 0


def _for_any_numpy(content: bytes) -> bytes:
    """Name NumPy's modules as they were called before NumPy 2, which knows these names as well."""
    pieces, start = [], 0
    for code, argument, place in pickletools.genops(content):
        if code.name == "GLOBAL" and str(argument).startswith("numpy._core."):
            assert place is not None  # noqa: S101  of a whole pickle it is known
            named = f"{argument}\n".replace(" ", "\n").encode()
            old = named.replace(b"numpy._core.", b"numpy.core.", 1)
            pieces += [content[start : place + 1], old]
            start = place + 1 + len(named)
    return b"".join([*pieces, content[start:]])
