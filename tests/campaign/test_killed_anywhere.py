"""Runs that are killed at random moments, and resumed, end as if they had never been killed.

``pytest -m campaign tests/campaign/test_killed_anywhere.py``; ``CAMPAIGN_KILLS`` sets how many of
each preset, ``CAMPAIGN_DISKS`` how many full disks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.campaign
pytest.importorskip("keras")

N_KILLS = int(os.environ.get("CAMPAIGN_KILLS", "25"))
N_DISKS = int(os.environ.get("CAMPAIGN_DISKS", "8"))
LABELS = slice(224, 1024)  # of an MRC header, which say when it was written
OF_TIMES = ("run.json", "report.html")  # hold seconds and dates


def results(out: Path) -> dict[str, bytes]:
    """What a run wrote, apart from times."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.name not in OF_TIMES:
            content = bytearray(path.read_bytes())
            if path.suffix == ".mrc":
                content[LABELS] = b""
            if path.suffix == ".npz":
                content = _without_seconds(path)
            found[path.relative_to(out).as_posix()] = bytes(content)
    return found


def _without_seconds(path: Path) -> bytes:
    with np.load(path) as held:
        arrays = {name: held[name] for name in held.files}
    history = json.loads(str(arrays.pop("history")))
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history]
    return json.dumps(rows).encode() + b"".join(arrays[name].tobytes() for name in sorted(arrays))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_runs_on_full_disks_go_on_once_there_is_room(tmp_path):
    script = Path(__file__).parents[1] / "killed_stages.py"
    command = [sys.executable, str(script), str(tmp_path), "paper", str(N_DISKS), "0", "full"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    whole = results(tmp_path / "whole/run")
    for one in found["full"]:
        print(one)
        assert one["codes"][0] in (0, 2) and one["codes"][1] == 0, one
        again = results(tmp_path / one["out"] / "run")
        assert set(again) == set(whole), one["out"]
        assert [name for name in whole if again[name] != whole[name]] == [], one["out"]
        text = (tmp_path / one["out"]).with_suffix(".log").read_text()
        assert "Traceback" not in text and "unexpected" not in text
    assert sum(one["codes"][0] == 2 for one in found["full"]) > N_DISKS // 2


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_killed_runs_end_as_whole_ones(tmp_path, preset):
    script = Path(__file__).parents[1] / "killed_stages.py"
    command = [sys.executable, str(script), str(tmp_path), preset, str(N_KILLS), "0", "kills"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    whole = results(tmp_path / "whole")
    assert {"labels.csv", "particles.star", "averages/averages.csv"} <= set(whole)
    during: Counter[str] = Counter()
    for one in found["killed"]:
        assert set(one["codes"]) <= {0, -signal.SIGKILL} and one["codes"][-1] == 0, one
        during.update(one["during"])
        again = results(tmp_path / one["out"])
        assert set(again) == set(whole), one["out"]
        assert [name for name in whole if again[name] != whole[name]] == [], one["out"]
        text = (tmp_path / one["out"]).with_suffix(".log").read_text()
        assert "Traceback" not in text and "unexpected" not in text
    n_kills = sum(during.values())
    print(f"{preset}: {n_kills} kills in {len(found['killed'])} runs of {found['seconds']:.0f} s,")
    print(f"during {dict(during)}")
    assert n_kills >= N_KILLS
