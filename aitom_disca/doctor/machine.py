"""The machine: room for a run, graphics cards, backend, packages, AITom."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from aitom_disca.config import ExtractSettings
from aitom_disca.doctor.outcome import Check, judged
from aitom_disca.io import Tomogram
from aitom_disca.number_text import counted
from aitom_disca.subtomograms.box_plan import plan_box

# What a run of the preset fast holds: measured with 500 to 8000 subtomograms of 32 voxels.
_PEAK_GB = 1.8
_SORTED = 2000  # subtomograms that are held at once
_OPTIONAL = {
    "dynamotable": ("particles of Dynamo", "exports"),
    "imodmodel": ("models of IMOD", "exports"),
    "zarr": ("OME-Zarr tomograms", "zarr"),
    "distributed": ("many machines", "cluster"),
}


def check_room(
    tomograms: Sequence[Tomogram], diameter_angstrom: float, n_picks: int, out: Path
) -> list[Check]:
    """Disk and memory against an estimate for a run."""
    settings = ExtractSettings(particle_diameter_angstrom=diameter_angstrom)
    box = max(plan_box(settings, t.voxel_size_angstrom).box_px for t in tomograms)
    volume = sum(math.prod(t.shape_zyx) * t.voxel_size_angstrom**3 for t in tomograms)
    n = n_picks or math.ceil(volume / (2 * diameter_angstrom) ** 3)
    many = counted(n, "pick") if n_picks else f"up to about {counted(n, 'particle')}"
    store_gb = n * box**3 * 4 / 1e9
    free_gb = shutil.disk_usage(_existing(out)).free / 1e9
    disk = judged(
        "disk",
        free_gb > 2 * store_gb + 0.1,
        f"{many} in boxes of {box} voxels need {store_gb:.2g} GB; {free_gb:.3g} GB are free",
        "choose an --out with more room, a larger --working-voxel-size-angstrom, or --max-picks",
        else_="error",
    )
    need_gb = _PEAK_GB + 2 * min(n, _SORTED) * box**3 * 4 / 1e9
    memory_gb = _memory_gb()
    found = f"about {need_gb:.2g} GB are needed"
    if memory_gb is None:
        return [disk, Check("memory", "ok", f"{found}; how much there is cannot be told here")]
    memory = judged(
        "memory",
        memory_gb > need_gb,
        f"{found}; {memory_gb:.3g} GB are there",
        "take a larger --working-voxel-size-angstrom or a smaller --box-px",
    )
    return [disk, memory]


def check_backend() -> Check:
    """The Keras backend, and a graphics card of NVIDIA, without loading either."""
    name = os.environ.get("KERAS_BACKEND", "tensorflow")
    if name not in ("tensorflow", "jax", "torch") or find_spec(name) is None:
        return Check(
            "backend",
            "error",
            f"KERAS_BACKEND is {name}, which is not installed",
            "install it, or leave KERAS_BACKEND away: TensorFlow comes with this package",
        )
    card = Path("/proc/driver/nvidia/version").exists()
    text = "a driver for NVIDIA cards is there" if card else "no NVIDIA driver: it runs on the CPU"
    return Check("backend", "ok", f"{name}; {text}")


def check_packages() -> list[Check]:
    """Packages that some file formats, and many machines, need."""
    checks = []
    for name, (serves, extra) in _OPTIONAL.items():
        there = find_spec(name) is not None
        found = f"{name} {'is' if there else 'is not'} installed ({serves})"
        remedy = f"only if you need it: pip install 'aitom-disca[{extra}]'"
        checks.append(Check("package", "ok", found, "" if there else remedy))
    return checks


def check_aitom() -> list[Check]:
    """What of AITom runs here, and what of ours serves instead; one row where there is none."""
    from aitom_disca.bridge import status

    if find_spec("aitom") is None:
        return [Check("AITom", "ok", "not importable; nothing needs it")]
    return [Check("AITom", "ok", f"{row.part}: {row.state}", row.remedy) for row in status()]


def check_relion() -> Check:
    """Which RELION is on the PATH, and which layout of star files it reads."""
    path = shutil.which("relion_refine")
    if path is None:
        return Check("RELION", "ok", "relion_refine is not on the PATH; nothing needs it")
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20)
        said = re.search(r"version:?\s*(\d+(?:\.\d+)*)", done.stdout + done.stderr)
    except (OSError, subprocess.TimeoutExpired):
        said = None
    if said is None:
        return Check("RELION", "ok", f"{path}; it does not say its version")
    version = said[1]
    layout = "relion31" if version.startswith("3.1") else f"relion{version.split('.')[0]}"
    if version.startswith("3.0"):
        layout = "relion30"
    return Check("RELION", "ok", f"{version}, {path}; convert --to {layout} writes for it")


def _existing(path: Path) -> Path:
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return None
