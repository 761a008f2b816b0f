"""Measure in a process of its own, whose peak memory is that of the work alone."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from aitom_disca.io.disk.atomic import write_text


def run_child(module: str, *, timeout_s: float | None = None, **arguments: Any) -> dict[str, Any]:
    """Run ``python -m module`` with arguments, which `child_main` takes, and return its result.

    Parameters
    ----------
    module : str
    timeout_s : float, optional
        After which the process is ended.
    **arguments
        Plain values and paths.

    Raises
    ------
    RuntimeError
        If the process fails; its own words are on the standard error output.
    subprocess.TimeoutExpired
        If it was ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        text = json.dumps({name: _plain(value) for name, value in arguments.items()})
        command = [sys.executable, "-m", module, text, str(result)]
        code = subprocess.run(command, timeout=timeout_s).returncode
        if code != 0:
            killed = " (killed: not enough memory?)" if code < 0 else ""
            raise RuntimeError(f"the measurement in {module} ended with code {code}{killed}")
        return json.loads(result.read_text())  # type: ignore[no-any-return]


def child_main(measure: Any) -> None:
    """Call ``measure`` with what `run_child` gave, and hand its result back."""
    arguments = json.loads(sys.argv[1])
    write_text(sys.argv[2], json.dumps(measure(**arguments)))


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
