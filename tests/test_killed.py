"""A run that is killed and started again with --resume ends as if it had never been killed.

Both presets, killed anywhere: `campaign/test_killed_anywhere.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca.io import StoreWriter
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

SIGKILL = -9
FILES = ("labels.csv", "history.csv", "particles.star", "model.h5")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Exit codes of all processes, and the folder of the runs."""
    folder = tmp_path_factory.mktemp("killed")
    phantoms = load_phantoms()
    templates = [phantoms[name] for name in ("ring", "rod", "chaperone")]
    simulated = simulate_subtomograms(templates, 16, 8, 35.0, snr=0.5, seed=3)
    n = len(simulated.volumes)
    tomogram = TomogramInfo("TS_1", 35.0, (50, 50, 50))
    positions = np.random.default_rng(0).uniform(10, 40, size=(n, 3))
    particles = ParticleSet(np.full(n, "TS_1"), positions, tomograms={"TS_1": tomogram})
    store = folder / "store.h5"
    with StoreWriter.create(store, (8,) * 3, 35.0, (-60, 60)) as writer:
        writer.append(simulated.volumes, particles)
    script = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, str(script), str(store), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


def assert_same_files(one: Path, other: Path) -> None:
    """All results alike to the byte, apart from the record and what holds times."""
    stars = [path.relative_to(one) for path in one.glob("clusters/*")]
    assert len(stars) >= 2
    for name in [*FILES, *stars]:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    names = [
        {p.relative_to(folder).as_posix() for p in folder.rglob("*")} for folder in (one, other)
    ]
    assert names[0] == names[1]
    assert "checkpoint.h5" not in names[0] and not [n for n in names[0] if ".part" in n]


def test_a_run_stopped_and_killed_again_and_again_ends_like_one_that_was_not(runs):
    """Which also says that two runs of one seed write the same files."""
    codes, folder = runs
    assert codes["whole"] == [0]
    assert codes["stopped"] == [130, SIGKILL, SIGKILL, 0]
    assert_same_files(folder / "whole", folder / "stopped")
    log = (folder / "stopped.log").read_text()
    assert "stopped; what was finished is kept, --resume goes on." in log
    assert log.count("going on after iteration") == 2  # at last its loop had ended
