"""The record of a run, ``run.json``: what was asked for, read as what, by which versions."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import shorten
from typing import Any

from aitom_disca.errors import InputError
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats.file_text import load_json
from aitom_disca.runs.input_paths import alike, same_inputs
from aitom_disca.version import __version__

_PACKAGES = ("keras", "tensorflow", "numpy", "scipy", "scikit-learn", "h5py", "mrcfile", "pandas")
_LONGEST = 200  # signs of what differs, in an error
_KINDS = {"command": str, "inputs": list, "settings": dict, "versions": dict, "stages": dict}
# What a run that is gone on with has in common with what is asked for, in words.
_COMPARED = {
    "command": "command",
    "inputs": "inputs",
    "settings": "settings",
    "read_as": "voxel sizes, tilts or optics of its inputs",
}


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises
    ------
    InputError
        If it is none.
    """
    todo = "choose another --out, or add --overwrite"
    with reading(path, "the record of a run", todo):
        record: dict[str, Any] = load_json(path.read_text("utf-8"))
        for name, kind in _KINDS.items():
            if not isinstance(record[name], kind):
                raise TypeError(f"{name} is {type(record[name]).__name__}")
        if not all(isinstance(one, str) for one in record["inputs"]):
            raise TypeError("inputs are no paths")
        if len(record.get("inputs_relative", record["inputs"])) != len(record["inputs"]):
            raise TypeError("inputs are not as many as relative ones")
        if not all(isinstance(stage["seconds"], float) for stage in record["stages"].values()):
            raise TypeError("a stage has no seconds")
    return record


def check_same(folder: Path, record: dict[str, Any], new: dict[str, Any]) -> None:
    """Refuse to go on with a run in a folder that is another one than is asked for.

    Raises
    ------
    InputError
    """
    for name, words in _COMPARED.items():
        was, now = record.get(name), new[name]
        if name == "read_as":
            was, now = (_numbered(each) for each in (was, now))  # inputs, however they moved
        same = same_inputs(record, new) if name == "inputs" else alike(was, now)
        if not same and (name in record or name != "read_as"):
            was, now = _first_difference(was, now)
            raise InputError(
                f"{folder} holds a run with other {words} ({was}, now {now}); give the same "
                "again to --resume, or choose another --out."
            )


def command_line() -> str:
    """The command that this process was started with; empty where it was called otherwise."""
    program = Path(sys.argv[0])
    own = program.stem == "aitom-disca" or program.parts[-2:] == ("aitom_disca", "__main__.py")
    return shlex.join(["aitom-disca", *sys.argv[1:]]) if own else ""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"aitom-disca": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def time_now() -> str:
    """Date and time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def as_json(value: Any) -> Any:
    """Plain values, as a record holds them once it was written and read."""
    return json.loads(json.dumps(value, default=str))


def _numbered(read_as: dict[str, Any] | None) -> dict[str, Any]:
    """What was understood of each input, by number instead of path."""
    return {str(number): value for number, value in enumerate((read_as or {}).values())}


def _first_difference(was: Any, now: Any, name: str = "") -> tuple[str, str]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            if not alike(was.get(key), now.get(key)):
                return _first_difference(was.get(key), now.get(key), key)
    label = f"{name} = " if name else ""
    return f"{label}{_short(was)}", f"{label}{_short(now)}"


def _short(value: Any) -> str:
    """Constants that were changed may be many."""
    return shorten(str(value), _LONGEST, placeholder=" ... (all in run.json)")
