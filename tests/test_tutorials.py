"""Every tutorial runs as it is, in a reduced size."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import starfile

TUTORIALS = Path(__file__).resolve().parents[1] / "tutorials"


def test_mine_a_tomogram(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(TUTORIALS / "001_mine_a_tomogram.py"))
    script["main"](tmp_path, n_particles=60)
    assert "precision" in capsys.readouterr().out
    particles = starfile.read(tmp_path / "particles.star")["particles"]
    assert len(particles) >= 45  # of 60 planted
    assert set(particles["rlnClassNumber"]) >= {1, 2}
    assert (tmp_path / "model.h5").is_file()


def test_every_tutorial_is_listed() -> None:
    text = (TUTORIALS / "README.md").read_text(encoding="utf-8")
    scripts = [path.name for path in TUTORIALS.glob("*.py")]
    assert scripts
    assert all(name in text for name in scripts)
