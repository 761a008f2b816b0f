"""A run's folder: begun anew or gone on with, a stage at a time, and its record."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.disk.file_marks import difference, marks_of
from aitom_disca.io.disk.reading import reading
from aitom_disca.runs.input_paths import as_it_is_now, seen_from
from aitom_disca.runs.record_and_resume import (
    as_json,
    check_same,
    command_line,
    read_record,
    time_now,
    versions,
)
from aitom_disca.runs.replaced_run import ReplacedRun
from aitom_disca.runs.run_files import RunFiles
from aitom_disca.version import __version__

logger = logging.getLogger(__name__)

# The stages that give clusters, or find nothing to sort: until one of them is done, the run that is
# replaced is kept.
_DECIDING = ("mine", "predict", "refine", "search", "nothing")


class RunFolder(RunFiles):
    """The files of a run and ``run.json``: command line, settings, inputs, versions, stage timings.

    Parameters
    ----------
    path : path
        The folder; made when the record is first written.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.record: dict[str, Any] = {}
        self._replaced = ReplacedRun(self)

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
        folder.record = read_record(folder.record_file)
        return folder

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
        new = {"command": command, "inputs": inputs, "settings": as_json(settings)}
        new["inputs_relative"] = seen_from(self.path, inputs)
        new["read_as"] = as_json(dict(read_as or {}))
        files = inputs if files is None else [*files]
        if not self.record_file.exists():  # a run killed before it had replaced another one
            self._put_back()
        if self.record_file.exists() and resume and not overwrite:
            self._go_on(new, files)
            return
        if not self._has_begun():
            self._put_back()
        self._check_inputs(inputs)
        self.check_free(overwrite=overwrite)
        self._put_back()
        self.remove_unfinished()
        self.record = {"aitom_disca": __version__, **new, "versions": versions()}
        marks = marks_of(files)
        for mark, relative in zip(marks.values(), seen_from(self.path, [*marks]), strict=True):
            if mark is not None:
                mark["relative"] = relative
        self.record |= {"files": marks, "started": time_now(), "stages": {}}
        self.record |= {"command_line": command_line()}
        self._replaced.set_aside()
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
            self._replaced.remove()
        return stages[name]

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

    def _go_on(self, new: dict[str, Any], files: Iterable[str | Path]) -> None:
        """Go on with the run that is here, if it is the one that is asked for."""
        self.record = read_record(self.record_file)
        check_same(self.path, self.record, new)
        if "files" not in self.record:
            logger.warning(
                "%s is of an earlier version and does not say what its inputs held; whether "
                "they have changed since is not known.",
                self.record_file,
            )
        self.check_unchanged(files)
        self.remove_unfinished()

    def _do(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        start = time.perf_counter()
        try:
            summary = as_json(work())
        except InputError:
            nothing_done = not self.record["stages"] or self._replaced.is_there()
            if nothing_done and not self.checkpoint.exists():
                self.record_file.unlink(missing_ok=True)
                self._put_back()
                if self.path.is_dir() and not any(self.path.iterdir()):
                    self.path.rmdir()
            raise
        return summary | {"seconds": round(time.perf_counter() - start, 2)}

    def _mark_of_store(self) -> dict[str, Any] | None:
        """Mark of the run's own store; None while rounds may be replacing it, and where unknown."""
        stages = self.record["stages"]
        one_round = self.record["settings"].get("n_rounds", 1) == 1
        return stages.get("extract" if one_round else "search", {}).get("store")

    def _check_inputs(self, inputs: list[str]) -> None:
        results = {path.resolve() for path in self.places()}
        for name in inputs:
            if Path(name).resolve() in results:
                raise InputError(
                    f"{name} is an input of this run, which would replace it; choose another --out."
                )

    def _put_back(self) -> None:
        stages = self._stages()
        self._replaced.put_back(is_decided=any(name in stages for name in _DECIDING))

    def _stages(self) -> dict[str, Any]:
        """The stages done by the run that is here."""
        try:
            return read_record(self.record_file)["stages"]
        except (InputError, OSError):
            return {}

    def _has_begun(self) -> bool:
        """Whether the run that is here has anything to lose."""
        return self.checkpoint.exists() or bool(self._stages())

    def _text(self) -> str:
        return json.dumps(self.record, indent=2) + "\n"
