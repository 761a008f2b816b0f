"""`bench --what device`: steps in order, within the time, kept as they end."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aitom_disca.bench.device import device_rows, measure_device, run
from aitom_disca.bench.device.network import measure_network, operations
from aitom_disca.bench.device.published import plan
from aitom_disca.bench.device.scale import Generated, extrapolated, fitting
from aitom_disca.network import build_feature_extractor

DEVICE = {
    "backend": "jax",
    "kind": "gpu",
    "device": "a card",
    "peak_tflops": {"float32": 50.0, "bfloat16": 400.0},
}
FOUND: dict[str, dict[str, Any]] = {
    "expectation": {"n_clusters": 10, "particles_per_s": 1e4, "tflops": 5.0, "ratio": 40.0},
    "network": {
        "features_per_s": 2e3,
        "features_tflops": 20.0,
        "steps_per_s": 20.0,
        "step_size": 64,
        "training_tflops": 10.0,
    },
    "published": {
        "case": "SNR",
        "n": 1000,
        "n_published": 5000,
        "iterations": 20,
        "ari": 0.9,
        "homogeneity": 0.9,
        "completeness": 0.9,
        "k_by_iteration": [5, 6],
        "seconds": 60.0,
    },
    "scale": {
        "n_sorted": 100_000,
        "sorting_s": 500.0,
        "sorting_all_s": 500.0,
        "n_predicted": 1000,
        "prediction_s": 1.0,
        "prediction_all_s": 1000.0,
        "n_wanted": [100_000, 1_000_000],
    },
}


class Children:
    """Stands in for the processes that measure: remembers what each was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, dict[str, Any]]] = []
        self.failing: dict[str, Exception] = {}

    def __call__(
        self, module: str, *, step: str, seconds: float, arguments: Any, timeout_s: float = 0
    ) -> dict[str, Any]:
        self.asked.append((step, seconds, arguments))
        if step == "device":
            return DEVICE
        if step in self.failing:
            raise self.failing[step]
        return {**FOUND[step], **arguments}


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    found = Children()
    monkeypatch.setattr(run, "run_child", found)
    return found


def test_steps_share_the_time_and_the_rest_is_extrapolated(
    tmp_path: Path, children: Children
) -> None:
    result = measure_device(tmp_path, minutes=8)
    kinds = [step for step, _, _ in children.asked]
    assert kinds == ["device", "expectation", *["network"] * 4, *["published"] * 2, "scale"]
    # The processor is timed beside the card; nothing ended early here, so that little is spent.
    assert 2 * children.asked[1][1] + sum(s for _, s, _ in children.asked[2:]) > 8 * 60 / 2
    assert all(seconds < 8 * 60 for _, seconds, _ in children.asked)
    published = children.asked[-2][2]
    assert published["features_per_s"] == 2e3 and published["trained_per_s"] == 20 * 64
    assert json.loads((tmp_path / "device.json").read_text()) == result
    text = "\n".join(f"{name}: {value}" for name, value in device_rows(result))
    assert "1000 of 5000 subtomograms" in text and "(10 % of the product" in text
    assert "1000000 would take 17 minutes (extrapolated)" in text
    assert "100000 of 32 voxels in 500 s\n" in text


def test_a_step_that_fails_is_said_and_done_again(tmp_path: Path, children: Children) -> None:
    children.failing = {
        "network": subprocess.TimeoutExpired("step", 30.0),
        "scale": RuntimeError("it ended with code -9 (killed: not enough memory?)"),
    }
    result = measure_device(tmp_path)
    assert "had not ended" in result["steps"]["network 24 mixed"]["error"]
    assert "no measurement of the network" in result["steps"]["published snr-0.1"]["error"]
    assert "not enough memory" in dict(device_rows(result))["scale"]
    children.failing, children.asked = {}, []
    again = measure_device(tmp_path)
    assert "expectation" not in [step for step, _, _ in children.asked]
    assert len(children.asked) == 8 and not any("error" in one for one in again["steps"].values())
    children.asked = []
    measure_device(tmp_path, seed=1)  # another plan: all again
    assert len(children.asked) == 9


def test_where_the_published_method_cannot_fit_in_others_get_its_time(
    tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = {**FOUND["network"], "features_per_s": 2.0, "steps_per_s": 0.3, "step_size": 2}
    monkeypatch.setitem(FOUND, "network", slow)
    result = measure_device(tmp_path, minutes=8)
    kinds = [step for step, _, _ in children.asked]
    assert "published" not in kinds and kinds[-1] == "scale"
    assert children.asked[-1][1] > 7 * 60  # nothing else took any time here
    said = dict(device_rows(result))["published snr-0.1"]
    # 5 x 1000 subtomograms, 20 iterations: 1 / 2 s of features and 2 / 0.6 s of training each.
    assert f"{100_000 * (1 / 2 + 2 / 0.6) / 0.8 / 3600:.1f} hours (extrapolated)" in said
    children.asked = []
    measure_device(tmp_path, minutes=60)  # more time: it fits in, in part
    assert [step for step, _, _ in children.asked].count("published") == 2


def test_how_much_of_the_published_method_fits_in() -> None:
    assert plan(1e6, 1e3, 1e3) == (1000, 20)
    n, iterations = plan(100, 1000, 400)
    assert iterations == 20 and 20 <= n < 1000
    assert 5 * n * 20 * (1 / 1000 + 2 / 400) < 100
    assert plan(10, 1, 1) == (20, 2)


def test_what_one_more_costs() -> None:
    assert fitting(300, 30.0, 60.0, 10**6) == 600 and fitting(300, 30.0, -1.0, 10) == 0
    assert extrapolated((100, 20.0), (1100, 120.0), 10_000) == pytest.approx(1010)
    assert extrapolated((100, 20.0), (1100, 120.0), 1100) == 120
    assert extrapolated((100, 20.0), (100, 20.0), 1000) == 200
    assert extrapolated((100, 20.0), (200, 10.0), 400) == 20


def test_operations_are_those_of_the_network() -> None:
    model = build_feature_extractor(9, width=0.1, dropout=0.0)
    total = 0.0
    for layer in model.layers:
        if "convolution" in layer.name:
            voxels = np.prod(layer.output.shape[1:4])
            total += 2 * np.prod(layer.kernel.shape) * voxels
    assert operations(9, 0.1) == total


def test_network_is_timed() -> None:
    found = measure_network(0.0, kind="cpu", box_px=7, precision="float32", width=0.05)
    assert found["features_per_s"] > 0 and found["training_tflops"] > 0
    assert found["step_size"] == 2


def test_generated_subtomograms_are_the_same_whenever_they_are_read() -> None:
    source = Generated(1_000_000, seed=3)
    first, again = source.read(np.array([5, 999_999])), source.read(np.array([999_999]))
    np.testing.assert_array_equal(first[1], again[0])
    assert first.shape == (2, 32, 32, 32) and first.dtype == np.float32
    np.testing.assert_allclose(first.std(axis=(1, 2, 3)), 1, atol=1e-3)
    assert (
        np.abs(np.corrcoef(first[0].ravel(), source.read(np.array([205]))[0].ravel()))[0, 1] < 0.5
    )
