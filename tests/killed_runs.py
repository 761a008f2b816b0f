"""Run `aitom-disca mine` in processes that are killed; called by test_killed.py.

TensorFlow is imported once, and every run is a fork of this process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras  # noqa: F401  the import only: a backend that has run cannot be forked
import tensorflow
from tiny_settings import TRAINED

import aitom_disca.mining  # noqa: F401  so that not every process imports it
from aitom_disca import pipeline
from aitom_disca.cli.app import main
from aitom_disca.config import PRESETS
from aitom_disca.subtomograms.dataset import PreparedVolumes


def kill_after_renames(number: int) -> None:
    """Die once so many files have taken their place."""
    rename, done = os.replace, []

    def counted(*paths: object) -> None:
        rename(*paths)
        done.append(paths)
        if len(done) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counted


def stop_in_training(with_signal: int) -> None:
    """Get a signal in the middle of the second training."""
    read, done = PreparedVolumes.read, []

    def counted(*args: object) -> object:
        done.append(1)
        if len(done) == 6:  # features, two batches, features, second of two batches
            os.kill(os.getpid(), with_signal)
        return read(*args)

    PreparedVolumes.read = counted


def run(arguments: list[str], log: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Run the command in a process of its own; its exit code, or minus the signal that ended it."""
    process = os.fork()
    if process == 0:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a") as file:
            os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
        tensorflow.config.run_functions_eagerly(True)  # compiling takes longer than these runs
        prepare()
        os._exit(main(["mine", *arguments]))
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def all_runs(store: str, folder: Path) -> dict[str, list[int]]:
    """Exit codes of the processes of every run, by the name of the run's folder."""

    def command(out: str) -> tuple[list[str], Path]:
        return [store, "--out", str(folder / out), "--preset", "paper"], folder / f"{out}.log"

    codes = {"whole": [run(*command("whole"))]}

    arguments, log = command("stopped")
    codes["stopped"] = [run(arguments, log, lambda: stop_in_training(signal.SIGINT))]
    arguments.append("--resume")
    for number in (3, 6):  # each gets further
        codes["stopped"].append(run(arguments, log, lambda n=number: kill_after_renames(n)))
    codes["stopped"].append(run(arguments, log))
    return codes


if __name__ == "__main__":
    PRESETS["paper"].update(TRAINED)
    pipeline.make_report = lambda *_: {}  # pictures take time, and are drawn from the other files
    print(json.dumps(all_runs(sys.argv[1], Path(sys.argv[2]))))
