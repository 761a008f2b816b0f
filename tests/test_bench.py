"""The benchmark measures what it says, keeps it, and goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from aitom_disca.bench import (
    CASES,
    METHODS,
    Answer,
    BenchOptions,
    Case,
    Method,
    choose_cases,
    choose_methods,
    comparisons,
    load_templates,
    run_bench,
    score_labels,
    simulate_case,
    summarise,
)
from aitom_disca.bench.methods import DEFAULT_METHODS
from aitom_disca.cli import main
from aitom_disca.cli.bench_options import parse_changes, parse_seeds
from aitom_disca.errors import InputError

TINY = Case(
    "tiny",
    "two structures",
    ("1qvr", "2uv8"),
    per_class=12,
    box_px=16,
    voxel_size_angstrom=20,
    snr=1.0,
    target_median=0.9,
    target_worst=0.8,
    k_tolerance=0,
    largest_k=3,
)
QUICK = ["--set", "width=0.25", "--set", "alignment=false", "--set", "max_iterations=1"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setitem(CASES, "tiny", TINY)
    return TINY


# -- scores ------------------------------------------------------------------------------------

TRUTH = np.array([0] * 4 + [1] * 6 + [2] * 10)


def test_perfect_labels_score_one_whatever_their_names() -> None:
    scores = score_labels(TRUTH, (TRUTH + 1) % 3, "ari")
    assert list(scores.values()) == pytest.approx([1.0] * 4)


def test_none_of_the_above_is_a_cluster_of_its_own() -> None:
    labels = np.where(TRUTH == 0, -1, TRUTH)
    assert score_labels(TRUTH, labels, "ari")["score"] == 1.0
    labels = np.where(TRUTH < 2, -1, TRUTH)
    assert score_labels(TRUTH, labels, "ari")["homogeneity"] < 1


def test_a_rare_class_counts_only_in_a_cluster_that_is_mostly_it() -> None:
    lost = np.where(TRUTH == 0, 1, TRUTH)  # whole, but drowned in another
    scores = score_labels(TRUTH, lost, "rare")
    assert scores["score"] == 0 and scores["purity"] == 0.4
    found = TRUTH.copy()
    found[:1], found[4] = 2, 0  # three of four, and a stranger
    scores = score_labels(TRUTH, found, "rare")
    assert scores["score"] == 0.75 and scores["purity"] == 0.75


def test_noise_in_any_cluster_counts_against_precision() -> None:
    truth = np.concatenate([TRUTH, [-1] * 20])
    apart = np.concatenate([TRUTH, [-1] * 20])
    assert score_labels(truth, apart, "noise")["score"] == 1.0
    own_cluster = np.concatenate([TRUTH, [3] * 20])
    scores = score_labels(truth, own_cluster, "noise")
    assert scores["score"] == 0.5 and scores["precision_of_structures"] == 1.0
    thrown_away = np.concatenate([TRUTH[:10], [-1] * 30])
    scores = score_labels(truth, thrown_away, "noise")
    assert scores["score"] == 1.0 and scores["recall"] == 0.5
    assert score_labels(truth, np.full(40, -1), "noise")["score"] == 0.0


def test_one_structure_wants_one_cluster() -> None:
    one = np.zeros(20, int)
    assert score_labels(one, one, "single")["score"] == 1.0
    assert score_labels(one, TRUTH, "single")["score"] == 0.0


# -- cases and data ----------------------------------------------------------------------------


def test_phantoms_stand_in_for_all_structures() -> None:
    templates = load_templates(None)
    assert templates.source == "phantoms"
    names = {name for case in choose_cases([], with_maps=False) for name in case.templates}
    assert len({id(t) for t in templates.take(sorted(names))}) == len(names) == 10


def test_fifteen_structures_need_maps_beside_the_phantoms() -> None:
    assert [case.name for case in CASES.values() if case.needs_maps] == ["fifteen"]
    assert CASES["fifteen"] in choose_cases([]) and CASES["fifteen"].k_true == 15
    with pytest.raises(InputError, match=r"expected a density map barrel\.mrc"):
        load_templates(None).take(CASES["fifteen"].templates)


def test_data_are_what_the_case_says() -> None:
    case = replace(TINY, per_class=(10, 30), n_noise=20, tilt_max_deg=40.0)
    made = simulate_case(case, load_templates(None), seed=3, fraction=0.5)
    np.testing.assert_array_equal(np.unique(made.labels, return_counts=True)[1], [10, 5, 15])
    assert made.volumes.shape[1:] == (16, 16, 16)


def test_one_structure_alone_is_another_with_every_seed() -> None:
    case = CASES["single"]
    assert case.k_true == 1 and 1 in case.candidate_k
    assert len({case.structures(seed) for seed in range(5)}) == 5
    assert all(1 not in c.candidate_k for c in CASES.values() if c.kind != "single")


def test_maps_are_read_by_name(tmp_path: Path) -> None:
    for name in ("1qvr.mrc", "2uv8.mrc.gz"):
        density = load_templates(None).by_name["1qvr"].density(16, 20.0)
        compression = "gzip" if name.endswith("gz") else None
        with mrcfile.new(tmp_path / name, density, compression=compression) as file:
            file.voxel_size = 20.0
    templates = load_templates(tmp_path)
    assert templates.source == "templates" and set(templates.by_name) == {"1qvr", "2uv8"}
    assert len(simulate_case(TINY, templates, 0, 0.25).labels) == 6
    assert len(templates.take(["1qvr", "barrel"])) == 2  # a phantom beside them
    with pytest.raises(InputError, match=r"expected a density map 6rd4\.mrc"):
        templates.take(["1qvr", "6rd4"])
    with pytest.raises(InputError, match="holds none"):
        load_templates(tmp_path / "nothing")


# -- running -----------------------------------------------------------------------------------


def counting_method(calls: list[int]) -> Method:
    def run(volumes: np.ndarray, case: Case, settings: dict) -> Answer:
        calls.append(settings["seed"])
        return Answer(np.arange(len(volumes)) % 2, 1.0)

    return Method("counted", "counted", lambda case, seed, options: {"seed": seed}, run)


def test_what_is_there_is_not_measured_again(tmp_path: Path) -> None:
    calls: list[int] = []
    method, templates = counting_method(calls), load_templates(None)
    run_bench(tmp_path, [TINY], [method], [0], templates)
    results = run_bench(tmp_path, [TINY], [method], [0, 1], templates)
    assert calls == [0, 1] and [r["seed"] for r in results] == [0, 1]
    run_bench(tmp_path, [replace(TINY, snr=2.0)], [method], [0], templates)  # other data
    run_bench(tmp_path, [TINY], [method], [1], templates, BenchOptions(fraction=0.5))
    assert calls == [0, 1, 0, 1]
    run_bench(tmp_path, [TINY], [method], [1], templates, BenchOptions(fraction=0.5), again=True)
    assert calls == [0, 1, 0, 1, 1]
    assert not list(tmp_path.rglob("*.part*"))


def test_a_stopped_benchmark_keeps_what_is_finished(tmp_path: Path) -> None:
    calls: list[int] = []
    method, templates = counting_method(calls), load_templates(None)

    def stop(*_: object) -> Answer:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        methods = [method, replace(method, name="stopped", run=stop)]
        run_bench(tmp_path, [TINY], methods, [0], templates)
    run_bench(tmp_path, [TINY], [method], [0], templates)
    assert calls == [0]


def test_the_table_says_what_is_lacking() -> None:
    def result(seed: int, ari: float, k: int, method: str = "ours") -> dict:
        scores = {"ari": ari, "score": ari, "homogeneity": 1.0, "completeness": 1.0}
        return {
            "case": "tiny", "method": method, "seed": seed, "templates": "phantoms",
            "fraction": 1.0, "settings": {},
            "scores": scores, "k_found": k, "k_given": False, "seconds": 9.0,
        }  # fmt: skip

    cases = {"tiny": replace(TINY, seconds_most=10, above_start=True)}
    (row,) = summarise([result(0, 0.95, 2), result(1, 0.896, 2), result(2, 0.8, 2)], cases)
    assert row["reached"] == "yes" and row["score"] == "ARI 0.90 / 0.80"
    assert row["target"] == "0.90 / 0.80, K = 2, 10 s, not below its start"
    assert row["case"] == "two structures (phantoms)" and row["K found"] == "2 2 2"
    (row,) = summarise([result(0, 0.89, 3), result(1, 0.79, 2)], cases)
    assert row["reached"] == "no: median, worst, K"
    rows = summarise([result(0, 0.95, 2), result(0, 0.96, 2, "start")], cases)
    assert rows[0]["reached"] == "no: below start" and rows[1]["reached"] == "yes"
    pair = [result(0, 0.9, 2), result(1, 0.1, 2), result(0, 0.5, 2, "pca")]
    assert comparisons(pair) == ["ours is above PCA of the volumes + GMM in 1 of 1 cases"]


def test_from_the_command_line_to_the_tables(
    tiny: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench"
    command = ["bench", "--cases", "tiny", "--seeds", "0", "--out", str(out)]
    assert main([*command, "--methods", "ours,pca", *QUICK]) == 0
    printed = capsys.readouterr().out
    for text in ("two structures", "ours (preset", "PCA of the volumes", "phantoms", "0.25"):
        assert text in printed
    result = json.loads((out / "results" / "tiny_ours_0.json").read_text())
    assert result["settings"]["width"] == 0.25 and result["seconds"] > 0
    assert result["settings"]["candidate_k"] == [2, 3]
    assert result["scores"]["ari"] > 0.5  # two very unlike phantoms at SNR 1
    assert (out / "bench.csv").read_text().count("\n") == 3
    table = (out / "bench.md").read_text()
    changed = "max_iterations = 1, width = 0.25, alignment = False"
    assert f"| two structures (phantoms) | ours (preset fast), {changed} | 1 |" in table
    stamp = (out / "results" / "tiny_ours_0.json").stat().st_mtime_ns
    assert main([*command, "--methods", "ours", *QUICK]) == 0
    assert (out / "results" / "tiny_ours_0.json").stat().st_mtime_ns == stamp
    assert main(["bench", "--show", "--out", str(out)]) == 0


def test_the_autoencoder_is_told_how_many_there_are(tiny: Case, tmp_path: Path) -> None:
    methods, templates = choose_methods(["autoencoder"]), load_templates(None)
    noisy = replace(tiny, n_noise=4)
    (result,) = run_bench(tmp_path, [noisy], methods, [0], templates, BenchOptions(fraction=0.5))
    assert result["k_given"] and result["k_found"] == 3
    assert summarise([result], {"tiny": noisy})[0]["K found"] == "3 (given)"


def test_the_published_preset_is_a_method(tiny: Case) -> None:
    settings = METHODS["paper"].settings(tiny, 3, BenchOptions())
    assert settings["preset"] == "paper" and settings["width"] == 0.25
    assert settings["max_iterations"] == 8 and settings["seed"] == 3
    assert not settings["alignment"] and settings["n_convolutions"] == 10
    assert {m.name for m in choose_methods([])} == set(DEFAULT_METHODS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "nowhere"], "there is no case 'nowhere'; choose from snr-0.1"),
        (["--methods", "magic"], "there is no method 'magic'; choose from ours"),
        (["--seeds", "four"], "--seeds takes numbers such as 0-4 or 0,3; got 'four'"),
        (["--set", "width"], "--set takes NAME=VALUE"),
        (["--set", "widht=1", "--cases", "tiny", "--methods", "ours"], "widht"),
        (["--templates", "no/such/folder"], "expected a folder with density maps"),
        (["--show"], "there are no results"),
    ],
)
def test_bad_requests_end_in_one_sentence(
    arguments: list[str],
    message: str,
    tiny: Case,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_damaged_result_is_named(tiny: Case, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "tiny_pca_0.json").write_text("{}")
    with pytest.raises(InputError, match=r"tiny_pca_0\.json is not a result"):
        run_bench(tmp_path, [TINY], choose_methods(["pca"]), [0], load_templates(None))


def test_texts_of_seeds_and_changes() -> None:
    assert parse_seeds("0-2,7") == [0, 1, 2, 7]
    changes = parse_changes(["width=0.5", "alignment=false", "preset=fast", "candidate_k=[2,3]"])
    assert changes == {"width": 0.5, "alignment": False, "preset": "fast", "candidate_k": [2, 3]}
