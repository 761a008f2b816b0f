"""Every tutorial runs as it is, in a reduced size, and shows what it says it shows.

Plain pytest runs the two that the others begin like, and looks whether what the others import, call
and type exists; `pytest -m full` runs all, in a reduced size and in their own.
"""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import starfile
import typer

from aitom_disca.bridge import read_particles
from aitom_disca.cli.app import app
from aitom_disca.io import open_tomogram, read_labels_csv, read_rows_csv

TUTORIALS = Path(__file__).resolve().parents[1] / "tutorials"
SCRIPTS = sorted(path.name for path in TUTORIALS.glob("[0-9]*.py"))
Run = Callable[..., str]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


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
    assert "precision" in run("001", n_particles=40)
    particles = starfile.read(tmp_path / "particles.star")["particles"]
    assert len(particles) >= 30  # of 40 planted
    assert set(particles["rlnClassNumber"]) >= {1, 2}
    assert (tmp_path / "model.h5").is_file()


@pytest.mark.full
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
    said = run("003", n_particles=40)
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


@pytest.mark.full
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


@pytest.mark.full
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


@pytest.mark.full
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


@pytest.mark.full
def test_benchmark(tmp_path: Path, run: Run) -> None:
    run("007", fraction=0.1, cases=("snr-0.1",), methods=("ours", "start"))
    rows = {row["method"]: row for row in read_rows_csv(tmp_path / "bench.csv")}
    assert set(rows) == {"ours", "start"}
    assert float(rows["ours"]["ari"]) > float(rows["start"]["ari"])
    assert "phantoms" in (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert is_picture(tmp_path / "007.png")


@pytest.mark.full
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


# -- what a tutorial uses, without running it --------------------------------------------------


def names_of(script: str) -> tuple[ast.AST, dict[str, Any]]:
    """What a script says, and what it imports and defines."""
    tree = ast.parse((TUTORIALS / script).read_text(encoding="utf-8"))
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {
        node.id
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return tree, {k: v for k, v in runpy.run_path(str(TUTORIALS / script)).items() if k not in own}


def meant(node: ast.AST, names: dict[str, Any]) -> Any:
    """What an imported name, or something in one, is; None where that is not known."""
    if isinstance(node, ast.Attribute):
        owner = meant(node.value, names)
        return None if owner is None else getattr(owner, node.attr)
    return names.get(node.id) if isinstance(node, ast.Name) else None


@pytest.mark.parametrize("script", SCRIPTS)
def test_names_and_arguments_that_a_tutorial_uses_exist(script: str) -> None:
    tree, names = names_of(script)
    n_bound = 0
    for node in ast.walk(tree):
        meant(node, names)  # an AttributeError where something is not there
        called = meant(node.func, names) if isinstance(node, ast.Call) else None
        if called is None or any(isinstance(one, ast.Starred) for one in node.args):
            continue
        with suppress(ValueError):  # what is written in C has no signature
            signature = inspect.signature(called)
            signature.bind_partial(*node.args, **{k.arg: 0 for k in node.keywords if k.arg})
            n_bound += 1
    assert n_bound > 10


def test_commands_and_options_that_the_tutorials_type_exist() -> None:
    every = {o for c in COMMANDS.values() for p in c.params for o in (*p.opts, *p.secondary_opts)}
    commands = set()
    for script in SCRIPTS:
        tree, _ = names_of(script)
        texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        assert {t for t in texts if str(t).startswith("--") and t != "--"} <= every
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "run":
                command, *words = (a.value for a in node.args if isinstance(a, ast.Constant))
                known = {o for p in COMMANDS[command].params for o in (*p.opts, *p.secondary_opts)}
                assert {w for w in words if str(w).startswith("--")} <= known, command
                commands.add(command)
    assert commands == {"info", "pick", "run", "convert"}
