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

import aitom_disca.averaging
import aitom_disca.mining
import aitom_disca.reembedding
import aitom_disca.report  # noqa: F401  so that not every process imports them
from aitom_disca.cli.app import main
from aitom_disca.config import PRESETS

# As in tests/killed_runs.py, for the preset that trains a network.
TINY = {
    "candidate_k": (2, 3),
    "max_iterations": 2,
    "width": 0.1,
    "n_convolutions": 1,
    "n_features": 12,
    "pca_dimensions": 4,
    "n_starts": 1,
    "reg_covar": 1e-3,
    "batch_size": 48,
    "learning_rate": 1e-2,
    "stop_fraction": 1.0,
}
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


def kill_after(process: int, seconds: float) -> int:
    """Kill a process once so much time is over, unless it has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    return end_of(process)


def stages_done(out: Path) -> list[str]:
    record = out / "run.json"
    return list(json.loads(record.read_text())["stages"]) if record.is_file() else []


def kills(folder: Path, preset: str, n: int, seed: int) -> dict[str, object]:
    """Kill runs at random moments, each until its moment lies behind its end, and resume them."""
    tomogram = folder / "t.mrc"
    began = time.monotonic()
    assert end_of(start(tomogram, folder / "whole", preset)) == 0
    seconds = time.monotonic() - began
    moments = random.Random(seed)
    killed: list[dict[str, object]] = []
    while len(killed) < n:
        out = folder / f"killed_{len(killed):03d}"
        codes: list[int] = []
        stages: list[list[str]] = []
        while 0 not in codes and len(codes) < 20:
            process = start(tomogram, out, preset, "--resume")
            codes.append(kill_after(process, moments.uniform(0, seconds)))
            stages.append(stages_done(out))
        killed.append({"out": out.name, "codes": codes, "stages": stages})
        n -= max(0, codes.count(-signal.SIGKILL) - 1)  # each kill counts
    return {"seconds": seconds, "killed": killed}


def full_disks(folder: Path, preset: str, n: int, seed: int) -> dict[str, object]:
    """Runs on disks that become full, which are made larger, and on which they go on."""
    tomogram = folder / "t.mrc"
    assert end_of(start(tomogram, folder / "whole", preset)) == 0
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


if __name__ == "__main__":
    where, wanted = Path(sys.argv[1]), sys.argv[2]
    if wanted == "paper":
        PRESETS["paper"].update(TINY)
    write_tomogram(where / "t.mrc")
    what = {"kills": kills, "full": full_disks}[sys.argv[5]]
    print(json.dumps(what(where, wanted, int(sys.argv[3]), int(sys.argv[4]))))
