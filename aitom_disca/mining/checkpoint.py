"""The steps of a fit that are done, in one file, so that a killed fit goes on from there."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError
from aitom_disca.io.disk.checksums import as_bytes, as_text, check_seal, seal
from aitom_disca.io.disk.hdf5 import new_file
from aitom_disca.io.disk.reading import reading
from aitom_disca.mining.solution import Arrays
from aitom_disca.progress import say
from aitom_disca.subtomograms.dataset import PreparedVolumes
from aitom_disca.version import __version__

logger = logging.getLogger(__name__)

_FORMAT = "aitom_disca checkpoint 1"
_WHAT = "a checkpoint"

Step = tuple[Arrays, dict[str, Any]]


class Checkpoint:
    """Named steps, each some arrays and some plain values, in an HDF5 file.

    A step is written to a copy of the file, which then takes the file's place: a process killed
    at any time leaves the steps that were saved before.

    Parameters
    ----------
    path : path or None
        None keeps nothing: every step is done.
    made_from : str
        What the steps depend on, as `fingerprint` gives it. A file made from something else is
        not used, and replaced by the first step that is saved.
    """

    def __init__(self, path: str | Path | None, made_from: str = "") -> None:
        self.path = None if path is None else Path(path)
        self._made_from = made_from
        self._usable = self.path is not None and self.path.is_file() and self._is_ours()

    @classmethod
    def nowhere(cls) -> Checkpoint:
        """A checkpoint that keeps nothing."""
        return cls(None)

    def step(self, name: str, work: Callable[[], Step]) -> Step:
        """What a step gave when it was done before; else do it, save it and return it."""
        done = self.load(name)
        if done is None:
            done = work()
            self.save(name, *done)
        return done

    def load(self, name: str) -> Step | None:
        """Arrays and plain values of a step; None if it has not been saved."""
        if self.path is None or not self._usable:
            return None
        with reading(self.path, _WHAT), h5py.File(self.path) as file:
            if name not in file:
                return None
            group = file[name]
            check_seal(group, self.path)
            arrays = {key: _read(entry) for key, entry in group["arrays"].items()}
            return arrays, json.loads(group["meta"][()])

    def save(
        self, name: str, arrays: Mapping[str, Any], meta: Mapping[str, Any] | None = None
    ) -> None:
        """Keep a step, in place of an earlier one of this name.

        Parameters
        ----------
        name : str
        arrays : mapping of str to ndarray or list of ndarray
        meta : mapping, optional
            Plain values that JSON can hold.

        Raises
        ------
        InputError
            If the file cannot be written; the steps saved before are still there.
        """
        try:
            with self._rewriting(without=name) as file:
                if file is None:
                    return
                group = file.create_group(name)
                group["meta"] = as_bytes(json.dumps(dict(meta or {}), default=_plain))
                kept = group.create_group("arrays")
                for key, value in arrays.items():
                    _write(kept, key, value)
                seal(group)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written ({error}); make room there and go on from the "
                "last one that could, with --resume."
            ) from error

    def discard(self, name: str) -> None:
        """Forget a step."""
        if self.load(name) is not None:
            with self._rewriting(without=name):
                pass

    @contextmanager
    def _rewriting(self, *, without: str) -> Iterator[h5py.File | None]:
        """Yield a copy of the file, less one step, that replaces it; None where none is kept."""
        if self.path is None:
            yield None
            return
        with new_file(self.path) as file:
            file.attrs["format"] = as_bytes(_FORMAT)
            file.attrs["made_from"] = as_bytes(self._made_from)
            if self._usable:
                with h5py.File(self.path) as earlier:
                    for name in earlier:
                        if name != without:
                            earlier.copy(name, file)
            yield file
        self._usable = True

    def _is_ours(self) -> bool:
        """Whether the file is whole, and of these data and settings; says so if it is not."""
        assert self.path is not None  # noqa: S101
        try:
            with reading(self.path, _WHAT), h5py.File(self.path) as file:
                said = [as_text(file.attrs[name]) for name in ("format", "made_from")]
                if said == [_FORMAT, self._made_from]:
                    for step in file.values():
                        check_seal(step, self.path)
                    return True
        except InputError as error:
            logger.warning("%s Sorting starts anew.", error)
            return False
        say(f"{self.path.name} is of other data or settings: starting anew")
        return False


def fingerprint(volumes: PreparedVolumes, settings: MineSettings, *others: Any) -> str:
    """Tell data and settings apart: a hash of the settings and of all subtomograms.

    Parameters
    ----------
    volumes : PreparedVolumes
    settings : MineSettings
    *others
        Plain values on which the outcome depends as well.
    """
    held = [len(volumes), volumes.box_px, volumes.crc32]
    known = [__version__, settings.model_dump(), *held, *others]
    return hashlib.sha256(json.dumps(known, default=_plain).encode()).hexdigest()


def _write(group: h5py.Group, name: str, value: Any) -> None:
    if isinstance(value, (list, tuple)):
        entries = group.create_group(name)
        for i, array in enumerate(value):
            entries[f"{i:04d}"] = array
    else:
        group[name] = value


def _read(entry: h5py.Group | h5py.Dataset) -> np.ndarray | list[np.ndarray]:
    if isinstance(entry, h5py.Group):
        return [entry[name][()] for name in sorted(entry)]
    return entry[()]


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's, for JSON."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)
