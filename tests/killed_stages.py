"""A small run of all stages, in processes of its own that may be killed.

TensorFlow is imported once, and every process is a fork of this one, which itself computes nothing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras  # noqa: F401  the import only: a backend that has run cannot be forked
from tiny_settings import TRAINED

import aitom_disca.averaging
import aitom_disca.mining
import aitom_disca.reembedding
import aitom_disca.report.html  # noqa: F401  so that not every process imports them
from aitom_disca.cli.app import main
from aitom_disca.config import PRESETS
from aitom_disca.pipeline import run_stages
from aitom_disca.pipeline.average import average_clusters

TINY = TRAINED | {"max_iterations": 2}
VOXEL_ANGSTROM = 20.0
SHAPE_ZYX = (40, 96, 96)


def write_tomogram(path: Path) -> None:
    """Of 44 particles of two structures; in a process of its own."""
    if os.fork() == 0:
        from aitom_disca.io import write_volume
        from aitom_disca.simulation import load_phantoms, simulate_tomogram

        phantoms = load_phantoms()
        made = simulate_tomogram(
            [phantoms["ring"], phantoms["rod"]],
            44,
            SHAPE_ZYX,
            VOXEL_ANGSTROM,
            0.3,
            seed=0,
            gap_px=2,
            border_px=2,
        )
        write_volume(path, made.volume, VOXEL_ANGSTROM, tilt_range_deg=(-60, 60))
        os._exit(0)
    assert os.wait()[1] == 0


def start(tomogram: Path, out: Path, preset: str, *more: str, log: Path | None = None) -> int:
    """Begin a run in a process; its number."""
    process = os.fork()
    if process == 0:
        with open(log or out.with_suffix(".log"), "a") as file:
            os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
        options = ["-d", "200", "--preset", preset, "--candidate-k", "2-3", *more]
        os._exit(main(["run", str(tomogram), "--out", str(out), *options]))
    return process


def end_of(process: int) -> int:
    """Its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill_in(process: int, out: Path, before: str | None, seconds: float) -> int:
    """Kill a process so much time after a stage is done (None: has begun), unless it has ended."""
    while not has_ended(process) and before is not None and before not in stages_done(out):
        time.sleep(0.01)
    until = time.monotonic() + seconds
    while not has_ended(process) and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    return end_of(process)


def has_ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def stages_done(out: Path) -> list[str]:
    record = out / "run.json"
    return list(json.loads(record.read_text())["stages"]) if record.is_file() else []


def kills(folder: Path, preset: str, n: int, seed: int) -> dict[str, object]:
    """Kill runs at random moments of random stages, resume them, and at last let them end."""
    tomogram = folder / "t.mrc"
    assert end_of(start(tomogram, folder / "whole", preset)) == 0
    record = json.loads((folder / "whole/run.json").read_text())["stages"]
    names, drawn = list(record), random.Random(seed)
    found: list[dict[str, object]] = []
    n_kills = 0
    while n_kills < n:
        out = folder / f"killed_{len(found):03d}"
        codes: list[int] = []
        during: list[str] = []
        for _ in range(drawn.randint(1, 3)):
            stage = drawn.choice([name for name in names if name not in stages_done(out)])
            before = names[names.index(stage) - 1] if stage != names[0] else None
            process = start(tomogram, out, preset, "--resume")
            codes.append(kill_in(process, out, before, drawn.uniform(0, record[stage]["seconds"])))
            n_kills += codes[-1] == -signal.SIGKILL
            if codes[-1] == 0:
                break
            during.append(stage)
        codes.append(end_of(start(tomogram, out, preset, "--resume")))
        found.append({"out": out.name, "codes": codes, "during": during})
    seconds = sum(stage["seconds"] for stage in record.values())
    return {"seconds": seconds, "killed": found}


def full_disks(folder: Path, preset: str, n: int, seed: int) -> dict[str, object]:
    """Runs on disks that become full, which are made larger, and on which they go on."""
    tomogram = folder / "t.mrc"
    (folder / "whole").mkdir()  # as deep as the others: scripts hold relative paths
    assert end_of(start(tomogram, folder / "whole/run", preset)) == 0
    needed = sum(path.stat().st_size for path in (folder / "whole").rglob("*") if path.is_file())
    sizes = random.Random(seed)
    found = []
    for number in range(n):
        disk = folder / f"disk_{number:03d}"
        disk.mkdir()
        size = max(8192, int(needed * sizes.uniform(0, 1)))
        mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        subprocess.run(mounted, check=True)
        try:
            log = folder / f"full_{number:03d}.log"
            codes = [end_of(start(tomogram, disk / "run", preset, log=log))]
            stages = stages_done(disk / "run")
            subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
            codes.append(end_of(start(tomogram, disk / "run", preset, "--resume", log=log)))
            shutil.copytree(disk, folder / f"full_{number:03d}")
        finally:
            subprocess.run(["umount", str(disk)], check=True)
        found.append({"out": f"full_{number:03d}", "size": size, "codes": codes})
        found[-1]["stages"] = stages
    return {"needed": needed, "full": found}


def average_without_null_test(folder, store, settings, *rest):
    """The null test only repeats averaging, and takes most of the time."""
    settings = settings.model_copy(update={"null_test": "none"})
    return average_clusters(folder, store, settings, *rest)


if __name__ == "__main__":
    run_stages.average_clusters = average_without_null_test
    where, wanted = Path(sys.argv[1]), sys.argv[2]
    if wanted == "paper":
        PRESETS["paper"].update(TINY)
    write_tomogram(where / "t.mrc")
    what = {"kills": kills, "full": full_disks}[sys.argv[5]]
    print(json.dumps(what(where, wanted, int(sys.argv[3]), int(sys.argv[4]))))
