"""Speed, memory and choice of K are measured, not made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import fft

from aitom_disca.bench import CASES, load_templates
from aitom_disca.bench.case_data import write_synthetic_store
from aitom_disca.bench.child_process import run_child
from aitom_disca.bench.choice_of_k import make_samples
from aitom_disca.bench.memory_and_time import measure_sizes, size_rows
from aitom_disca.bench.speed_of_presets import extrapolate, measure_speed, speed_rows
from aitom_disca.cli import main
from aitom_disca.config import MineSettings
from aitom_disca.geometry import missing_wedge_mask
from aitom_disca.io import open_store

QUICK = {"alignment": False, "max_iterations": 1, "width": 0.1, "n_starts": 1}


def test_iterations_add_up_and_the_last_does_not_train() -> None:
    parts = {"prepare": 1.0, "features": 10.0, "clustering": 2.0, "head": 3.0, "training": 100.0}
    assert extrapolate(parts, 1) == 16
    assert extrapolate(parts, 4) == 1 + 3 + 4 * 12 + 3 * 100


def test_both_presets_are_timed_on_the_same_volumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uncompiled: None
) -> None:
    case = CASES["snr-0.1"]
    small = replace(case, templates=case.templates[:2], per_class=12, box_px=21, largest_k=3)
    monkeypatch.setitem(CASES, "snr-0.1", small)
    result = measure_speed(
        tmp_path, load_templates(None), paper_width=0.06, training_batches=1, changes=QUICK
    )
    assert result["n_subtomograms"] == 24
    parts = ("prepare", "features", "clustering", "head", "training")
    assert all(result[f"paper_{name}_s"] > 0 for name in parts)
    assert result["ratio_earliest"] == pytest.approx(result["paper_earliest_s"] / result["fast_s"])
    assert result["paper_latest_s"] > result["paper_earliest_s"]
    assert json.loads((tmp_path / "speed.json").read_text()) == result
    assert "extrapolated" in dict(speed_rows(result))["paper, all its iterations"]


def test_a_store_of_any_size_repeats_phantoms_with_fresh_noise(tmp_path: Path) -> None:
    write_synthetic_store(tmp_path / "s.h5", 410, box_px=13, snr=0.2, rare=(3, 7))
    with open_store(tmp_path / "s.h5") as store:
        assert len(store) == 410 and store.box_shape_zyx == (13, 13, 13)
        assert store.labels is not None
        assert np.bincount(store.labels)[5:].tolist() == [3, 7]
        common = store.labels < 5
        pair = np.flatnonzero(common[:200] & common[200:400])[0] + np.array([0, 200])
        first, again = store.read(pair)
        assert store.labels[pair[0]] == store.labels[pair[1]]
        power = np.abs(fft.fftn(store.read([1, 409]), axes=(1, 2, 3))) ** 2
    # signal over signal plus noise, twice the same signal
    assert np.corrcoef(first.ravel(), again.ravel())[0, 1] == pytest.approx(0.2 / 1.2, abs=0.08)
    outside = ~missing_wedge_mask((13,) * 3, (-60, 60))
    assert (power * outside).sum() < 1e-6 * power.sum()


def test_every_size_is_measured_once_in_a_process_of_its_own(tmp_path: Path) -> None:
    settings = MineSettings(**QUICK, candidate_k=(1, 2))
    results = measure_sizes(tmp_path, [30], settings, box_px=14, rare=[4])
    assert results[0]["n"] == 30 and results[0]["seconds"] > 0
    assert len(results[0]["rare_recall"]) == 1
    assert results[0]["peak_mb"] >= results[0]["imports_mb"] > 50
    assert not list(tmp_path.glob("*.h5"))
    stamp = (tmp_path / "size_30.json").stat().st_mtime_ns
    assert measure_sizes(tmp_path, [30], settings, box_px=14, rare=[4]) == results
    assert (tmp_path / "size_30.json").stat().st_mtime_ns == stamp
    larger = {**results[0], "n": 40, "cpu_seconds": results[0]["cpu_seconds"] + 1}
    rows = size_rows([*results, larger])
    assert [row["subtomograms"] for row in rows] == ["30", "40"]
    assert [row["CPU ms per further one"] for row in rows] == ["-", "100.0"]


def test_choice_of_k_beside_scikit_learn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aitom_disca.bench.choice_of_k._LARGEST_K", 3)
    out = str(tmp_path)
    assert main(["bench", "--what", "selection", "--samples", "400", "--out", out]) == 0
    result = json.loads((tmp_path / "selection.json").read_text())
    assert result["k"] in (2, 3) and result["samples_mb"] == pytest.approx(400 * 16 * 8e-6)
    assert result["bic_difference"] == pytest.approx(
        (result["bic"] - result["sklearn_bic"]) / abs(result["sklearn_bic"])
    )
    assert "scikit-learn" in capsys.readouterr().out


def test_samples_repeat_with_the_seed() -> None:
    one, same, other = (make_samples(300, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (300, 16) and not np.array_equal(one, other)


def test_a_measurement_that_fails_says_so() -> None:
    with pytest.raises(RuntimeError, match="ended with code 1"):
        run_child("aitom_disca.bench.no_such_module")


def test_bad_sizes_end_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--what", "size", "--sizes", "many"]) == 2
    assert "--sizes takes numbers such as 500,2000,8000; got 'many'" in capsys.readouterr().err
