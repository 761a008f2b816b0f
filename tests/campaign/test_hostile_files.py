"""Hostile files by the thousand: bounded memory and time, one sentence, nothing outside of OUT.

``pytest -m campaign tests/campaign/test_hostile_files.py``; ``CAMPAIGN_HOSTILE`` sets how many of
each kind.
"""

from __future__ import annotations

import bz2
import gzip
import json
import logging
import os
import pickle
import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aitom_disca.cli import main
from aitom_disca.io import write_volume

sys.path.insert(0, str(Path(__file__).parents[1]))
from hostile_pickles import HOSTILE

pytestmark = pytest.mark.campaign

N_FILES = int(os.environ.get("CAMPAIGN_HOSTILE", "1000"))
MOST_SECONDS, MOST_BYTES = 20, 2 << 30
SIGNS = [
    *"abcTS_1./\\-+=@'\"<>;#$%{}[]()|&*?~`!,: \t\n\r\0",
    "..",
    "../",
    "é",
    "\u2028",
    "\x1b[31m",
]
WORDS = ["runscript x.py", "<script>", "=cmd|", "loop_", "data_", "nan", "None", "CON", "x" * 300]


def changed(content: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, left out, repeated or put in."""
    new = bytearray(content)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randrange(len(new) + 1)
        new[at : at + rng.choice((0, 1, 1, 8))] = rng.choice(
            (b"", rng.randbytes(1), rng.choice(PIECES), bytes(new[at : at + 20]) * 3)
        )
    return bytes(new)


PIECES = [
    *(bytes([sign]) for sign in b")(lusRb2]}\x85\x86"),
    b"h\x00",
    b"r\xff\xff\xff\x7f",
    b"\x8a\xffabc",
    b"cbuiltins\nbytearray\n",
    b"cos\nsystem\n",
]


def of_pickle(rng: random.Random) -> list[str]:
    rows = [{"val": float(k), "x": np.arange(3.0) + k, "uuid": f"u{k}"} for k in range(3)]
    real = pickle.dumps(rows, rng.randrange(6))
    content = rng.choice([*HOSTILE.values(), *[real] * len(HOSTILE)])
    Path("in/a.pickle").write_bytes(changed(content, rng))
    return ["aitom-import", "in/a.pickle", "--out", "out/o.csv"]


def of_packed(rng: random.Random) -> list[str]:
    if not Path("m.mrc").exists():
        write_volume("m.mrc", np.ones((8, 9, 10)), 10.0, tilt_range_deg=(-60, 60))
    content = bytearray(Path("m.mrc").read_bytes())
    for _ in range(rng.choice((0, 1, 2))):
        at = rng.choice((0, 4, 8, 12, 28, 88, 92, 104, 196, 208, 212))
        value = rng.choice((0, 1, -1, 2, 1000, 46341, 2**20, 2**30, 2**31 - 1, -(2**31)))
        content[at : at + 4] = struct.pack("<i", value)
    if rng.random() < 0.3:
        content[104:108] = rng.choice((b"FEI1", b"FEI2", b"SERI"))
    tail = bytes(rng.choice((0, 1, 1 << 20, 1 << 25)))
    pack = rng.choice((gzip.compress, bz2.compress, bytes))
    packed = pack(bytes(content) + tail)
    if rng.random() < 0.3:
        packed = changed(packed, rng)
    Path("in/t.mrc.gz").write_bytes(packed)
    return ["info", "in/t.mrc.gz"]


def of_xml(rng: random.Random) -> list[str]:
    n, depth = rng.choice((1, 10, 100)), rng.choice((1, 30, 5000, 50_000))
    entities = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * n}">' for k in range(1, 12))
    begin = rng.choice(("", "", f'<!DOCTYPE x [<!ENTITY a0 "a">{entities}]>', "<!DOCTYPE x>"))
    inner = rng.choice(("&a11;", "<a>" * depth + "</a>" * depth, '<PickPosition X="1"/>' * n))
    text = f"{begin}<ParticleList><Particle>{inner}</Particle></ParticleList>"
    encoding = rng.choice(("utf-8", "utf-16", "utf-16-be"))
    Path("in/a.xml").write_bytes(changed(text.encode(encoding), rng))
    command = ["convert", "in/a.xml", "out/o.csv", "--from", "pytom", "--to", "csv"]
    return [*command, "--voxel-size-angstrom", "10"]


def of_json(rng: random.Random) -> list[str]:
    depth = rng.choice((10, 900, 5000, 200_000))
    begin, end = rng.choice((("[", "]"), ('{"a":', "}"), ('{"points":[', "]}")))
    text = begin * depth + "1" + end * rng.choice((depth, 0))
    Path("in/a.json").write_bytes(changed(text.encode(), rng))
    if rng.random() < 0.3:
        return ["aitom-import", "in/a.json", "--out", "out/o.csv"]
    of = rng.choice(("copick", "eman2", "portal"))
    return ["convert", "in/a.json", "out/o.csv", "--from", of, "--to", "csv"]


def of_names(rng: random.Random) -> list[str]:
    """Names of tomograms, objects, users and columns, into every format."""

    def name() -> str:
        return "".join(rng.choice([*SIGNS, *WORDS]) for _ in range(rng.randrange(1, 8)))

    content = {
        "pickable_object_name": name(),
        "user_id": name(),
        "session_id": name(),
        "run_name": name(),
        "voxel_spacing": 10,
        "unit": "angstrom",
        "points": [{"location": {"x": 10, "y": 20, "z": 30}, "instance_id": 1}],
    }
    for k in (1, 2):
        Path(f"in/p{k}.json").write_text(json.dumps(content))
        content["run_name"] = name()
    to = rng.choice(TARGETS)
    end = {"copick": "", "relion31": ".star", "chimerax": ".cxc", "artiax": ".cxc"}.get(to, ".txt")
    command = ["convert", "in/p1.json", "in/p2.json", f"out/o{end}", "--to", to]
    return [*command, "--size-zyx", "50", "50", "50", "--binning", "2"]


TARGETS = ("relion31", "relion30", "relion4", "relion5", "warp", "copick", "chimerax", "artiax",
           "csv", "dynamo", "stopgap", "imod", "eman2", "pytom", "napari", "portal")  # fmt: skip
KINDS: dict[str, Callable[[random.Random], list[str]]] = {
    "pickles": of_pickle,
    "packed tomograms": of_packed,
    "XML": of_xml,
    "JSON": of_json,
    "names": of_names,
}


def commands_in(script: Path) -> set[str]:
    lines = script.read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files_end_in_one_sentence(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for folder in ("in", "out", "tmp"):
        Path(folder).mkdir()
    rng = random.Random(kind)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    codes: Counter[int] = Counter()
    slowest = 0.0
    for number in range(N_FILES):
        command = KINDS[kind](rng)
        before = {path for path in Path().rglob("*") if path.parts[0] not in ("out",)}
        logging.getLogger("aitom_disca").handlers.clear()
        began = time.monotonic()
        resource.setrlimit(resource.RLIMIT_AS, (has + MOST_BYTES, limits[1]))
        try:
            code = main(command)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        slowest = max(slowest, time.monotonic() - began)
        said = capsys.readouterr().err
        codes[code] += 1
        assert code in (0, 2) and "Traceback" not in said, (number, command, said)
        assert "error: unexpected" not in said, (number, said)
        if code == 2:
            assert sum(line.startswith("error: ") for line in said.splitlines()) == 1, said
            assert not any(Path("out").iterdir()), (number, said)
        after = {path for path in Path().rglob("*") if path.parts[0] not in ("out",)}
        assert after == before, number
        allowed = {"set", "open", "volume", "lighting", "view", "artiax"}
        for script in Path("out").rglob("*.cxc"):
            assert commands_in(script) <= allowed, script.read_text()
        for path in sorted(Path("out").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        assert slowest < MOST_SECONDS, number
    print(f"{kind}: {N_FILES} files, exit codes {dict(codes)}, the slowest {slowest:.1f} s")
    assert codes[2] > N_FILES // 10
