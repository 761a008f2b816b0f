"""Parts that the jobs of an array make, and what `merge` makes of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("keras")

from small_run import SETTINGS, check_same_store

from aitom_disca import pipeline
from aitom_disca.cli import main
from aitom_disca.errors import InputError
from aitom_disca.io import write_picks_csv
from aitom_disca.mining import predicting
from aitom_disca.pipeline.array_job_parts import Part
from aitom_disca.pipeline.pick import find_in_tomograms

DIAMETER = ["--particle-diameter-angstrom", "220"]


def test_picks_and_subtomograms_in_parts_are_those_of_one_process(alone, tomograms, tmp_path):
    paths = [str(tomogram.path) for tomogram in tomograms]
    picks, store = tmp_path / "picks.csv", tmp_path / "subtomograms.h5"
    for part in ("2/2", "1/2"):
        assert main(["pick", *paths, "--out", str(picks), *DIAMETER, "--part", part]) == 0
    assert main(["merge", str(picks)]) == 0
    assert picks.read_bytes() == alone.picks.read_bytes()
    extract = ["extract", *paths, "--picks", str(picks), "--out", str(store), *DIAMETER]
    extract += ["--box-px", "14", "--part"]
    assert main([*extract, "2/2"]) == 0
    assert main(["merge", str(store)]) == 2 and not store.exists()  # the first is missing
    assert main([*extract, "1/2"]) == 0
    assert main(["merge", str(store)]) == 0
    check_same_store(alone.store, store)
    assert main(["merge", str(store)]) == 2  # not replaced unasked
    assert main([*extract, "1/2"]) == 2
    check_same_store(alone.store, store)
    assert main([*extract, "1/2", "--overwrite"]) == 0 and not store.exists()
    assert main(["merge", str(store)]) == 0
    check_same_store(alone.store, store)


def test_predictions_in_parts_are_those_of_one_process(alone, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predicting, "_CHUNK", 8)
    whole, _ = pipeline.predict(alone.store, alone.model, tmp_path / "whole")
    out = str(tmp_path / "parts")
    predict = ["predict", str(alone.store), "--model", str(alone.model), "--out", out, "--part"]
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    for task in ("5", "6"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        assert main([*predict, "auto"]) == 0
    assert main([*predict, "1/2"]) == 2 and "was made" in capsys.readouterr().err
    assert main([*predict, "1/99"]) == 2 and "99 parts are more than" in capsys.readouterr().err
    shutil.copytree(out, tmp_path / "mixed")
    assert main(["merge", out]) == 0
    for name in ("labels.csv", "particles.star"):
        assert (Path(out) / name).read_bytes() == (whole.path / name).read_bytes()
    mixed = str(tmp_path / "mixed")
    other = [mixed if word == out else word for word in predict]
    assert main([*other, "1/2", "--overwrite", "--outlier-quantile", "0.5"]) == 0
    assert main(["merge", mixed]) == 2
    assert "of different predictions" in capsys.readouterr().err
    assert main([*other, "1/3"]) == 0 and main(["merge", mixed]) == 2
    assert "parts of 2 and of 3" in capsys.readouterr().err


def test_a_part_without_picks_is_a_part(alone, tomograms, tmp_path):
    found = find_in_tomograms(tomograms[:1], SETTINGS.pick).particles
    for number, part in ((1, found.select([])), (2, found)):
        write_picks_csv(Part(number, 2).path(tmp_path / "picks.csv"), part)
    assert main(["merge", str(tmp_path / "picks.csv")]) == 0
    write_picks_csv(tmp_path / "expected.csv", found)
    expected = (tmp_path / "expected.csv").read_bytes()
    assert (tmp_path / "picks.csv").read_bytes() == expected


def test_parts_share_everything_once():
    for of in (1, 3, 7):
        shares = [Part.given(f"{i + 1}/{of}").share(range(7), "things") for i in range(of)]
        assert [item for share in shares for item in share] == list(range(7))
        assert all(shares)


@pytest.mark.parametrize("text", ["0/3", "4/3", "2", "auto", "-1/2", "1/0"])
def test_parts_that_cannot_be(text, monkeypatch):
    with pytest.raises(InputError, match="--part"):
        Part.given(text, environment={})
