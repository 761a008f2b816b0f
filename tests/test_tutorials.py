"""Every tutorial runs as it is, in a reduced size, and shows what it says it shows."""

from __future__ import annotations

import re
import runpy
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import starfile

from aitom_disca.bridge import read_particles
from aitom_disca.io import open_tomogram, read_labels_csv, read_rows_csv

TUTORIALS = Path(__file__).resolve().parents[1] / "tutorials"
SCRIPTS = sorted(path.name for path in TUTORIALS.glob("[0-9]*.py"))
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a tutorial into ``tmp_path``; give what it printed."""

    def run_it(number: str, **size: Any) -> str:
        (path,) = TUTORIALS.glob(f"{number}_*.py")
        runpy.run_path(str(path))["main"](tmp_path, **size)
        return capsys.readouterr().out

    return run_it


def number_after(text: str, words: str) -> float:
    found = re.search(rf"{re.escape(words)}\s*(-?\d[\d.]*(?:e[-+]?\d+)?)", text)
    assert found, f"{words!r} is not in:\n{text}"
    return float(found.group(1).rstrip("."))


def is_picture(path: Path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_mine_a_tomogram(tmp_path: Path, run: Run) -> None:
    assert "precision" in run("001", n_particles=60)
    particles = starfile.read(tmp_path / "particles.star")["particles"]
    assert len(particles) >= 45  # of 60 planted
    assert set(particles["rlnClassNumber"]) >= {1, 2}
    assert (tmp_path / "model.h5").is_file()


def test_from_aitom_picks(tmp_path: Path, run: Run) -> None:
    said = run("002", n_particles=48)
    assert number_after(said, "recall") > 0.9
    assert number_after(said, "ARI") > 0.9
    assert number_after(said, "largest difference") < 1e-5
    picks = read_particles(tmp_path / "peaks.pickle")
    members = [read_particles(p) for p in sorted(tmp_path.glob("cluster_0*.pickle"))]
    assert len(members) == 3
    assert 36 <= sum(map(len, members)) <= len(picks)
    assert is_picture(tmp_path / "002.png")


def test_relion_and_back(tmp_path: Path, run: Run) -> None:
    said = run("003", n_particles=50)
    assert "run_it025_data.star is RELION 5 star" in said
    exact = re.search(r"made to write: ([\d.]+) A, ([\d.]+) degrees", said)
    planted = re.search(r"was planted: ([\d.]+) A, ([\d.]+) degrees", said)
    assert exact and planted
    assert [float(n) for n in exact.groups()] == pytest.approx([0, 0], abs=0.001)
    assert [float(n) for n in planted.groups()] == pytest.approx([2, 1], abs=0.002)
    assert number_after(said, "correlation") > 0.85
    assert number_after(said, "turned by") < 5
    star = starfile.read(tmp_path / "particles.star")["particles"]
    assert {"rlnCenteredCoordinateXAngst", "rlnImageName", "rlnCtfImage"} <= set(star)
    assert len(list((tmp_path / "cubes" / "cell").glob("*.mrc"))) == len(star)
    assert is_picture(tmp_path / "003.png")


def test_gumnet_averaging(tmp_path: Path, run: Run) -> None:
    said = run("004", n_members=12, epochs=2, starts=2)
    scores = {
        name: number_after(said, f"{name:13s} correlation")
        for name in ("fft", "gumnet+fft", "gumnet alone")
    }
    assert scores["fft"] > 0.85
    assert scores["gumnet+fft"] > scores["fft"] - 0.1
    assert scores["gumnet alone"] < scores["fft"]  # two passes teach nothing
    assert (tmp_path / "gum.keras").is_file()
    assert is_picture(tmp_path / "004.png")


def test_choose_k_and_merge(tmp_path: Path, run: Run) -> None:
    said = run("005", per_class=18, null_test="none")
    before, after = re.findall(r"ARI ([\d.]+) with 6 clusters, ([\d.]+) merged", said)[0]
    assert float(after) > 0.85
    assert float(after) > float(before)
    labels, _ = read_labels_csv(tmp_path / "refined" / "labels.csv")
    assert labels.max() + 1 == 3
    rows = read_rows_csv(tmp_path / "refined" / "refinement.csv")
    assert all(float(row["held_out_z"]) > 3 for row in rows)
    for name in ("two_lobes", "ring", "chaperone"):
        assert (tmp_path / f"{name}.mrc").is_file()
    assert (tmp_path / "run" / "report.html").is_file()
    assert is_picture(tmp_path / "005.png")


def test_predict_a_new_tomogram(tmp_path: Path, run: Run) -> None:
    said = run("006", n_particles=54)
    tables = said.split("by network")[0], said.split("by network")[1].split("outlier")[0]
    for table in tables:
        for name in ("two_lobes", "ring"):  # nearly all in one cluster
            counts = [int(n) for n in re.findall(rf"{name} .*", table)[0].translate(DIGITS).split()]
            assert max(counts) > 0.8 * sum(counts)
    shares = [float(n) for n in said.split("in each:")[1].translate(DIGITS).split()]
    assert max(shares) > 0.8  # sorted anew, the new structure has a cluster of its own
    assert is_picture(tmp_path / "006.png")


DIGITS = str.maketrans(dict.fromkeys("abcdefghijklmnopqrstuvwxyz_[]", " "))


def test_benchmark(tmp_path: Path, run: Run) -> None:
    run("007", fraction=0.1, cases=("snr-0.1",), methods=("ours", "start"))
    rows = {row["method"]: row for row in read_rows_csv(tmp_path / "bench.csv")}
    assert set(rows) == {"ours", "start"}
    assert float(rows["ours"]["ari"]) > float(rows["start"]["ari"])
    assert "phantoms" in (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert is_picture(tmp_path / "007.png")


def test_public_data(tmp_path: Path, run: Run) -> None:
    said = run("008", n_particles=40)
    assert number_after(said, "recall") > 0.8
    assert "$ aitom-disca run" in said and "--dark-protein" in said
    header = open_tomogram(tmp_path / "stand_in.mrc", tilt_range_deg=(-60, 60))
    assert header.voxel_size_angstrom == pytest.approx(13.48, abs=1e-3)
    assert "rlnCenteredCoordinateXAngst" in (tmp_path / "relion5.star").read_text()
    assert (tmp_path / "results" / "report.html").is_file()
    assert is_picture(tmp_path / "008.png")


@pytest.mark.full
@pytest.mark.parametrize("name", SCRIPTS)
def test_full_size(name: str, tmp_path: Path) -> None:
    runpy.run_path(str(TUTORIALS / name))["main"](tmp_path)
    number = name[:3]
    assert number == "001" or is_picture(tmp_path / f"{number}.png")


def test_every_tutorial_is_listed_with_a_picture() -> None:
    text = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    assert len(SCRIPTS) >= 8
    for name in SCRIPTS:
        assert name in text
        assert compile((TUTORIALS / name).read_text(encoding="utf-8"), name, "exec")
    pictures = [TUTORIALS / link for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)]
    assert len(pictures) >= len(SCRIPTS)
    for path in pictures:
        assert path.stat().st_size < 150_000
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert is_picture(path) and min(width, height) > 200
