"""Jobs of a real SLURM, which the test starts, as workers."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import slurm_site

pytestmark = [pytest.mark.slurm, pytest.mark.full]

CONFIG = """
jobqueue:
  slurm:
    cores: 1
    memory: 2GB
    walltime: "00:20:00"
    interface: lo
    log-directory: {folder}/logs
"""
OPTIONS = "-d 220 --box-px 14 --candidate-k 2-3 --width 0.05 --until mine".split()


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    if reason := slurm_site.missing():
        pytest.skip(reason)
    with slurm_site.slurm(tmp_path_factory.mktemp("site") / "slurm") as environment:
        root = str(Path(__file__).resolve().parents[1])
        yield environment | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


def command(environment, *words: object) -> str:
    line = [sys.executable, "-m", "aitom_disca", *map(str, words)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_run_in_two_jobs_is_that_of_one_process(environment, tomograms, tmp_path):
    paths = [tomogram.path for tomogram in tomograms]
    config = tmp_path / "site.yaml"
    config.write_text(CONFIG.format(folder=tmp_path))
    jobs = ["--cluster", "slurm", "--cluster-config", config, "--workers", 2]
    command(environment, "run", *paths, "--out", tmp_path / "alone", *OPTIONS)
    said = command(environment, "run", *paths, "--out", tmp_path / "jobs", *OPTIONS, *jobs)
    assert "workers are jobs of slurm, at most 2" in said
    predict = ["predict", tmp_path / "alone" / "subtomograms.h5"]
    predict += ["--model", tmp_path / "alone" / "model.h5", "--out"]
    command(environment, *predict, tmp_path / "predicted")
    command(environment, *predict, tmp_path / "predicted_jobs", *jobs)
    for one, other in (("alone", "jobs"), ("predicted", "predicted_jobs")):
        for name in ("labels.csv", "particles.star"):
            assert (tmp_path / one / name).read_bytes() == (tmp_path / other / name).read_bytes()
    picks = (tmp_path / "jobs" / "picks.csv").read_bytes()
    assert picks == (tmp_path / "alone" / "picks.csv").read_bytes()
    assert len(list((tmp_path / "jobs" / "subtomograms_shards").iterdir())) == 2
    assert list((tmp_path / "logs").glob("*.err"))  # of jobs
    queue = subprocess.run(["squeue", "-h"], env=environment, capture_output=True, text=True)
    assert not [line for line in queue.stdout.splitlines() if " R " in line]


def test_an_array_makes_parts_that_are_merged(environment, tomograms, tmp_path):
    pick = ["pick", *(tomogram.path for tomogram in tomograms), "-d", 220, "--out"]
    command(environment, *pick, tmp_path / "alone.csv")
    job = [sys.executable, "-m", "aitom_disca", *pick, tmp_path / "picks.csv", "--part", "auto"]
    array = ["sbatch", "--wait", "--array=3-4", f"--output={tmp_path}/%a.out"]
    done = subprocess.run(
        [*array, "--wrap", shlex.join(map(str, job))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    said = "".join(path.read_text() for path in sorted(tmp_path.glob("*.out")))
    assert done.returncode == 0, done.stderr + said
    command(environment, "merge", tmp_path / "picks.csv")
    picks = (tmp_path / "picks.csv").read_bytes()
    assert picks == (tmp_path / "alone.csv").read_bytes()
