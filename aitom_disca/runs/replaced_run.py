"""The run that another one replaces: set aside, and brought back if nothing comes of the other.

The order of the steps is such that a process may be killed after any of them: to put back, called
again, still brings back all of the earlier run and no more.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats.file_text import load_json
from aitom_disca.runs.run_files import RunFiles


class ReplacedRun:
    """The files of an earlier run, in a folder of their own below that of the run.

    Parameters
    ----------
    files : RunFiles
        Where they lay, and where those of the run lie that replaces them.
    """

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._folder = files.path / ".replaced"
        self._list = self._folder / "replaced.json"  # names of the files that were set aside

    def is_there(self) -> bool:
        """Whether a run was set aside."""
        return self._list.exists()

    def set_aside(self) -> None:
        """Move the files of an earlier run away."""
        path, record_file = self._files.path, self._files.record_file
        names = [result.relative_to(path).as_posix() for result in self._files.results()]
        if not names:
            return
        if record_file.exists():
            _move(record_file, self._folder / record_file.name)
        write_text(self._list, json.dumps(names))
        for name in names:
            if (path / name).exists():
                _move(path / name, self._folder / name)

    def put_back(self, *, is_decided: bool) -> None:
        """Bring back the earlier run, if one was set aside, in place of the files of this one.

        Parameters
        ----------
        is_decided : bool
            Whether the run that is here has clusters, and the earlier one is of no use any more.
        """
        path, record_file, kept = self._files.path, self._files.record_file, self._folder
        if self.is_there() and not is_decided:
            record_file.unlink(missing_ok=True)
            with reading(self._list, "a list of files", f"restore them from {kept} yourself"):
                names = [str(name) for name in load_json(self._list.read_text("utf-8"))]
            for result in self._files.results():
                if result.relative_to(path).as_posix() not in names:
                    result.unlink()
            for name in names:
                if (kept / name).exists() and name != record_file.name:
                    _move(kept / name, path / name)
            self._list.unlink()
        if (kept / record_file.name).exists() and not record_file.exists():
            _move(kept / record_file.name, record_file)
        self.remove()

    def remove(self) -> None:
        """Remove what was set aside for good."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    path.replace(to)
