"""Commands whose disk becomes full: one sentence, exit code 2, nothing half done, nothing lost.

``pytest -m campaign tests/campaign/test_full_disks.py``. As root each disk is a file system in
memory of a few sizes; elsewhere the size of files is limited.
"""

from __future__ import annotations

import os
import random
import re
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from aitom_disca.cli import main
from aitom_disca.io import StoreWriter, write_rows_csv, write_volume
from aitom_disca.io.disk import free_space
from aitom_disca.io.formats.relion.write_star import write_particles_star
from aitom_disca.particles import ParticleSet, TomogramInfo

pytestmark = pytest.mark.campaign

N_SIZES = int(os.environ.get("CAMPAIGN_SIZES", "12"))
MOUNTS = os.geteuid() == 0  # and not in a container that forbids it
BOX_PX, N = 16, 60
INFO = TomogramInfo("t", 20.0, (40, 96, 96), (-60.0, 60.0))
COMMANDS = {
    "pick": "pick {i}/t.mrc --out {o}/p.csv -d 200 --report {o}/r.html",
    "extract": "extract {i}/t.mrc --picks {i}/p.csv --out {o}/s.h5 --box-px 16",
    "embed": "embed {i}/s.h5 --averages {i}/averages --out {o}/m --per-cluster",
    "images": "convert {i}/s.h5 {o}/o.star --to relion31 --images",
    "export": "export {i}/s.h5 --labels {i}/l.csv --out {o}/e --images",
    "project": "convert {i}/s.h5 {o}/o.star --to relion5 --binning 4 --optimisation-set",
    "copick": "convert {i}/s.h5 {o}/project --to copick --labels {i}/l.csv",
    "table": "convert {i}/s.h5 {o}/o.csv --to csv",
    "script": "convert {i}/s.h5 {o}/o.cxc --to artiax --labels {i}/l.csv",
    "aitom-export": "aitom-export {i}/s.h5 --out {o}/a.pickle --to subvolumes",
    "import-subtomograms": "import-subtomograms {i}/images --out {o}/i.h5 --tilt-range -60 60",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A tomogram, picks, a store, labels, averages and images."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    write_volume(folder / "t.mrc", rng.normal(size=INFO.shape_zyx), 20.0, tilt_range_deg=(-60, 60))
    places = rng.uniform(10, 30, (N, 3))
    rows = [dict(zip("zyx", place, strict=True)) for place in places.tolist()]
    write_rows_csv(folder / "p.csv", [{"tomogram": "t", **row} for row in rows])
    write_rows_csv(folder / "l.csv", [{"index": i, "cluster": 1 + i % 3} for i in range(N)])
    particles = ParticleSet(np.full(N, "t"), places, tomograms={"t": INFO})
    volumes = rng.normal(size=(N, *(BOX_PX,) * 3)).astype(np.float32)
    with StoreWriter.create(folder / "s.h5", (BOX_PX,) * 3, 20.0, (-60, 60), {"t": INFO}) as new:
        new.append(volumes, particles)
    for i, volume in enumerate(volumes):
        write_volume(folder / f"images/{i:03d}.mrc", volume, 20.0)
    zyx = np.indices((BOX_PX,) * 3) - BOX_PX // 2
    for k in (1, 2):
        own = folder / f"averages/cluster_{k:02d}"
        write_volume(own / "average.mrc", np.exp(-(zyx**2).sum(0) / 8.0), 20.0)
        posed = ParticleSet(
            np.full(N // 2, "t"),
            places[k - 1 :: 2],
            euler_zyz_deg=np.zeros((N // 2, 3)),
            tomograms={"t": INFO},
        )
        write_particles_star(own / "particles.star", posed)
    write_rows_csv(folder / "averages/averages.csv", [{"cluster": 1}, {"cluster": 2}])
    return folder


@contextmanager
def disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """A disk of this size in a folder; where that may not be mounted, a limit of file sizes."""
    folder.mkdir()
    if not MOUNTS:
        yield
        return
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def ended(arguments: list[str], log: Path, n_bytes: int, *, asks: bool = True) -> int:
    """Exit code of a command in a process of its own, or minus the signal that ended it."""
    process = os.fork()
    if process == 0:
        with open(log, "w") as file:
            os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
        # What Python writes to would be pytest's own files, unless it was called with -s.
        sys.stdout, sys.stderr = (open(n, "w", buffering=1, closefd=False) for n in (1, 2))
        os.chdir(log.parent)
        if not asks:  # how much is free: it becomes full in the middle
            free_space.free_bytes = lambda _: None
        if not MOUNTS:
            resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
        os._exit(main(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_sentence(inputs, tmp_path, name):
    out, log = tmp_path / "disk", tmp_path / "log"
    command = COMMANDS[name].format(i=inputs, o=out)
    out.mkdir()
    assert ended(command.split(), log, 1 << 30) == 0, log.read_text()
    needed = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    subprocess.run(["rm", "-r", str(out)], check=True)
    rng = random.Random(name)
    sizes = [4096, 8192, *(int(needed * rng.uniform(0, 1.2)) for _ in range(N_SIZES - 2))]
    codes: Counter[int] = Counter()
    before = files_in(inputs)
    for number, n_bytes in enumerate(sizes):
        with disk(out, max(4096, n_bytes)):
            (out / "mine.txt").touch()
            code = ended(command.split(), log, n_bytes, asks=number % 4 == 3)
            said = log.read_text()
            codes[code] += 1
            assert code in (0, 2) and "Traceback" not in said, (n_bytes, code, said)
            if code == 2:
                (sentence,) = re.findall("^error: .*", said, re.MULTILINE)
                assert "unexpected" not in sentence and str(out) in sentence, sentence
                assert [p.name for p in out.iterdir()] == ["mine.txt"], (n_bytes, sentence)
        subprocess.run(["rm", "-r", str(out)], check=True)
    assert files_in(inputs) == before
    print(f"{name}: {needed} bytes; {len(sizes)} disks, exit codes {dict(codes)}")
    assert needed < 3 * 4096 or codes[2] >= len(sizes) // 4


@pytest.mark.parametrize("command", ["images", "extract", "embed"])
def test_what_was_there_stays_where_a_disk_becomes_full(inputs, tmp_path, command):
    out, log = tmp_path / "disk", tmp_path / "log"
    command = COMMANDS[command].format(i=inputs, o=out)
    with disk(out, 1 << 26):
        assert ended(command.split(), log, 1 << 30) == 0
        before = files_in(out)
        left = 1 << 26 if not MOUNTS else os.statvfs(out).f_bavail * os.statvfs(out).f_frsize
        if MOUNTS:
            (out / "ballast").write_bytes(bytes(left - 70_000))
        code = ended([*command.split(), "--overwrite"], log, 20_000)
        assert code == 2, log.read_text()
        (out / "ballast").unlink(missing_ok=True)
        assert files_in(out) == before
