"""A run's folder: where each result lies, and the record of how it was made."""

from __future__ import annotations

import json
import logging
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import remove_unfinished, write_text
from aitom_disca.io.disk.file_marks import difference, marks_of
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats.file_text import load_json
from aitom_disca.runs.input_places import alike, as_it_is_now, same_inputs, seen_from
from aitom_disca.version import __version__

logger = logging.getLogger(__name__)

_PACKAGES = ("keras", "tensorflow", "numpy", "scipy", "scikit-learn", "h5py", "mrcfile", "pandas")
# The stages that give clusters, or find nothing to sort: until one of them is done, the run that is
# replaced is kept.
_DECIDING = ("mine", "predict", "refine", "search", "nothing")
# What a run that is gone on with has in common with what is asked for, in words.
_COMPARED = {
    "command": "command",
    "inputs": "inputs",
    "settings": "settings",
    "read_as": "voxel sizes, tilts or optics of its inputs",
}
_KINDS = {"command": str, "inputs": list, "settings": dict, "versions": dict, "stages": dict}
_LIST = "replaced.json"  # names of the files that were set aside


class RunFolder:
    """The files of a run and ``run.json``: command line, settings, inputs, versions, stage timings.

    Parameters
    ----------
    path : path
        The folder; made when the record is first written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record_file = self.path / "run.json"
        self.picks = self.path / "picks.csv"
        self.picking = self.path / "picking"  # there while picking: tomograms that are done
        self.junk = self.path / "junk"  # picks that were set apart, a star file a kind
        self.first_picks = self.path / "picks_first.csv"  # where a search found more
        self.store = self.path / "subtomograms.h5"
        self.shards = self.path / "subtomograms_shards"  # where the store is an index of them
        self.model = self.path / "model.h5"
        self.labels = self.path / "labels.csv"
        self.sorted_labels = self.path / "labels_sorted.csv"  # where a person decided since
        self.curation = self.path / "curation.json"
        self.history = self.path / "history.csv"
        self.nuisance = self.path / "nuisance.csv"
        self.stability = self.path / "stability.csv"  # of several runs
        self.refinement = self.path / "refinement.csv"
        self.clusters = self.path / "clusters.npz"
        self.star = self.path / "particles.star"
        self.star_folder = self.path / "clusters"
        self.noise_star = self.junk / "noise.star"  # in no cluster
        self.decoded = self.path / "decoded"
        self.mined_labels = self.path / "labels_mined.csv"  # where they were refined
        self.averages = self.path / "averages"
        self.embedded = self.path / "embedded"
        self.report = self.path / "report.html"
        self.checkpoint = self.path / "checkpoint.h5"  # there while mining
        self.coefficients = self.path / "coefficients"  # there while workers sort
        self.record: dict[str, Any] = {}

    def results(self) -> list[Path]:
        """Every file of a run that is there."""
        paths = [path for path in vars(self).values() if isinstance(path, Path)]
        files = [path for path in paths if path.is_file()]
        files += sorted(self.star_folder.glob("cluster_*.star"))
        files += sorted(self.decoded.glob("cluster_*.mrc"))
        below = [path for folder in self._deep() for path in sorted(folder.rglob("*"))]
        return files + [path for path in below if path.is_file()]

    def _deep(self) -> tuple[Path, ...]:
        """Folders whose whole content belongs to the run."""
        return (
            self.picking,
            self.shards,
            self.junk,
            self.averages,
            self.embedded,
            self.coefficients,
        )

    def start(
        self,
        command: str,
        settings: dict[str, Any],
        inputs: list[str],
        *,
        files: Iterable[str | Path] | None = None,
        read_as: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        """Begin a run here, or go on with the one that is here.

        Parameters
        ----------
        command : str
        settings : dict
            Plain values.
        inputs : list of str
            Absolute paths.
        files : iterable of path, optional
            What is read, by default the inputs. A run is not gone on with when one has changed.
        read_as : mapping, optional
            What was understood of the inputs beside their contents, such as voxel sizes and tilts;
            plain values.
        overwrite, resume : bool

        Raises
        ------
        InputError
            If the folder cannot be written to, holds another run, an input has changed, or the run
            would replace its own input.
        """
        new = {"command": command, "inputs": inputs, "settings": _as_json(settings)}
        new["inputs_relative"] = seen_from(self.path, inputs)
        new["read_as"] = _as_json(dict(read_as or {}))
        files = inputs if files is None else [*files]
        if not self.record_file.exists():  # a run killed before it had replaced another one
            self._put_back()
        if self.record_file.exists() and resume and not overwrite:
            self.record = self._read_record()
            self._check_same(new)
            if "files" not in self.record:
                logger.warning(
                    "%s is of an earlier version and does not say what its inputs held; whether "
                    "they have changed since is not known.",
                    self.record_file,
                )
            self.check_unchanged(files)
            self._remove_unfinished()
            return
        if not self._has_begun():
            self._put_back()
        self._check_inputs(inputs)
        self.check_free(overwrite=overwrite)
        self._put_back()
        self._remove_unfinished()
        self.record = {"aitom_disca": __version__, **new, "versions": versions()}
        marks = marks_of(files)
        for mark, relative in zip(marks.values(), seen_from(self.path, [*marks]), strict=True):
            if mark is not None:
                mark["relative"] = relative
        self.record |= {"files": marks, "started": _now(), "stages": {}}
        self.record |= {"command_line": command_line()}
        self._set_aside()
        write_text(self.record_file, self._text())

    def check_free(self, *, overwrite: bool = False) -> None:
        """Refuse a folder that holds a run, or files that a run would replace.

        Raises
        ------
        InputError
            Unless ``overwrite``.
        """
        if overwrite:
            return
        if self.record_file.exists():
            raise InputError(
                f"{self.path} already holds a run; choose another --out, or add --resume to go on "
                "with it, or --overwrite to replace it."
            )
        strangers = [path.name for path in self.results()]
        if strangers:
            raise InputError(
                f"{self.path} already holds {strangers[0]}, which a run would replace; choose "
                "another --out, or add --overwrite."
            )

    def stage(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do a stage unless it was done before; keep its summary and its seconds.

        Once the clusters are there, the run that this one replaces is removed for good. Where a
        stage cannot use its input before that, it comes back, and nothing of this run stays,
        unless mining had begun.

        Parameters
        ----------
        name : str
        work : callable
            Does the stage, writes its files, returns a summary of plain values.
        """
        stages = self.record["stages"]
        if name not in stages:
            stages[name] = self._do(work)
            write_text(self.record_file, self._text())
        if name in _DECIDING:
            self.checkpoint.unlink(missing_ok=True)
            for path in self.path.glob("checkpoint_[0-9]*.h5"):  # where there were several runs
                path.unlink()
            shutil.rmtree(self.coefficients, ignore_errors=True)  # of a process that was killed
            shutil.rmtree(self._replaced, ignore_errors=True)
        return stages[name]

    def _do(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        start = time.perf_counter()
        try:
            summary = _as_json(work())
        except InputError:
            nothing_done = not self.record["stages"] or (self._replaced / _LIST).exists()
            if nothing_done and not self.checkpoint.exists():
                self.record_file.unlink(missing_ok=True)
                self._put_back()
                self._remove_if_empty(self.path)
            raise
        return summary | {"seconds": round(time.perf_counter() - start, 2)}

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of a run that was made before.

        Raises
        ------
        InputError
            If there is none.
        """
        folder = cls(path)
        if not folder.record_file.is_file():
            raise InputError(f"expected the folder of a run, but {path} holds no run.json.")
        folder.record = folder._read_record()
        return folder

    def _read_record(self) -> dict[str, Any]:
        todo = "choose another --out, or add --overwrite"
        with reading(self.record_file, "the record of a run", todo):
            record = load_json(self.record_file.read_text("utf-8"))
            for name, kind in _KINDS.items():
                if not isinstance(record[name], kind):
                    raise TypeError(f"{name} is {type(record[name]).__name__}")
            if not all(isinstance(path, str) for path in record["inputs"]):
                raise TypeError("inputs are no paths")
            if len(record.get("inputs_relative", record["inputs"])) != len(record["inputs"]):
                raise TypeError("inputs are not as many as relative ones")
            if not all(isinstance(stage["seconds"], float) for stage in record["stages"].values()):
                raise TypeError("a stage has no seconds")
        return record

    def _check_same(self, new: dict[str, Any]) -> None:
        for name, words in _COMPARED.items():
            was, now = self.record.get(name), new[name]
            if name == "read_as":
                was, now = (_numbered(each) for each in (was, now))  # inputs, however they moved
            same = same_inputs(self.record, new) if name == "inputs" else alike(was, now)
            if not same and (name in self.record or name != "read_as"):
                was, now = _first_difference(was, now)
                raise InputError(
                    f"{self.path} holds a run with other {words} ({was}, now {now}); give the same "
                    "again to --resume, or choose another --out."
                )

    def inputs(self) -> list[Path]:
        """Where the inputs lie now: where they were, or moved together with the folder."""
        paths = self.record["inputs"]
        seen = self.record.get("inputs_relative") or [None] * len(paths)
        return [
            Path(as_it_is_now(self.path, path, own)) for path, own in zip(paths, seen, strict=True)
        ]

    def check_unchanged(self, files: Iterable[str | Path]) -> None:
        """Refuse inputs that are not what they were when the run began, and another store.

        Raises
        ------
        InputError
            Unless the record is of an earlier version, which does not tell.
        """
        with reading(self.record_file, "the record of a run", "begin another run"):
            marks = dict(self.record.get("files", {}))
            for mark in [*marks.values()]:
                if mark and mark.get("relative"):
                    marks.setdefault(str((self.path.resolve() / mark["relative"]).resolve()), mark)
            store = self._mark_of_store()
            if store is not None:
                marks[str(self.store.resolve())] = store
                files = [*files, self.store]
            for path, now in marks_of(files).items():
                reason = difference(marks.get(path, now), now)
                if reason is not None:
                    raise InputError(
                        f"{path} is not what it was in the run in {self.path} ({reason}); put the "
                        "earlier file back, or begin another run."
                    )

    def _mark_of_store(self) -> dict[str, Any] | None:
        """Mark of the run's own store; None while rounds may be replacing it, and where unknown."""
        stages = self.record["stages"]
        one_round = self.record["settings"].get("n_rounds", 1) == 1
        return stages.get("extract" if one_round else "search", {}).get("store")

    def _check_inputs(self, inputs: list[str]) -> None:
        results = {path.resolve() for path in vars(self).values() if isinstance(path, Path)}
        for name in inputs:
            if Path(name).resolve() in results:
                raise InputError(
                    f"{name} is an input of this run, which would replace it; choose another --out."
                )

    # The order of the steps in the next two is such that a process may be killed after any of
    # them: `_put_back`, called again, still brings back all of the earlier run and no more.

    def _set_aside(self) -> None:
        """Move the files of an earlier run away; they come back if nothing comes of this one."""
        names = [path.relative_to(self.path).as_posix() for path in self.results()]
        if not names:
            return
        if self.record_file.exists():
            _move(self.record_file, self._replaced / self.record_file.name)
        write_text(self._replaced / _LIST, json.dumps(names))
        for name in names:
            if (self.path / name).exists():
                _move(self.path / name, self._replaced / name)

    def _put_back(self) -> None:
        """Bring back the earlier run, if one was set aside, in place of the files of this one."""
        kept = self._replaced
        if (kept / _LIST).exists() and not self._is_decided():
            self.record_file.unlink(missing_ok=True)
            with reading(kept / _LIST, "a list of files", f"restore them from {kept} yourself"):
                names = [str(name) for name in load_json((kept / _LIST).read_text("utf-8"))]
            for path in self.results():
                if path.relative_to(self.path).as_posix() not in names:
                    path.unlink()
            for name in names:
                if (kept / name).exists() and name != self.record_file.name:
                    _move(kept / name, self.path / name)
            (kept / _LIST).unlink()
        if (kept / self.record_file.name).exists() and not self.record_file.exists():
            _move(kept / self.record_file.name, self.record_file)
        shutil.rmtree(kept, ignore_errors=True)

    def _stages(self) -> dict[str, Any]:
        """The stages done by the run that is here."""
        try:
            return self._read_record()["stages"]
        except (InputError, OSError):
            return {}

    def _has_begun(self) -> bool:
        """Whether the run that is here has anything to lose."""
        return self.checkpoint.exists() or bool(self._stages())

    def _is_decided(self) -> bool:
        """Whether the run that is here has clusters, and those it replaced are of no use."""
        return any(name in self._stages() for name in _DECIDING)

    def _remove_unfinished(self) -> None:
        """Remove the half-written files of a run that was killed."""
        paths = [path for path in vars(self).values() if isinstance(path, Path)]
        wild = [self.star_folder / "cluster_*.star", self.decoded / "cluster_*.mrc"]
        for path in [*paths, *wild]:
            remove_unfinished(path)
        for folder in self._deep():
            for unfinished in folder.rglob(".*.part*"):
                unfinished.unlink(missing_ok=True)

    @property
    def _replaced(self) -> Path:
        return self.path / ".replaced"

    @staticmethod
    def _remove_if_empty(folder: Path) -> None:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _text(self) -> str:
        return json.dumps(self.record, indent=2) + "\n"


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    path.replace(to)


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _as_json(value: Any) -> Any:
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
    return f"{label}{was}", f"{label}{now}"
