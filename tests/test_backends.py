"""The networks on every backend of Keras that is installed, and on two devices."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca.io import StoreWriter
from aitom_disca.mining import DISCA
from aitom_disca.particles import ParticleSet

TRIAL = Path(__file__).with_name("backend_trial.py")
PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
PARALLEL = ["tensorflow", "jax"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A folder with a model that the backend of this process wrote, and what it predicts."""
    rng = np.random.default_rng(0)
    volumes = rng.normal(size=(24, 12, 12, 12)).astype(np.float32)
    volumes[np.arange(24) % 3 == 1, 4:8, 4:8, 4:8] += 2
    folder = tmp_path_factory.mktemp("bundle")
    disca = DISCA(
        "paper", candidate_k=(2,), max_iterations=1, width=0.1, n_convolutions=2, n_features=8,
        pca_dimensions=3, reg_covar=1e-2,
    ).fit(volumes)  # fmt: skip
    disca.save(folder / "model.h5")
    return folder, disca.predict_proba(volumes)


@pytest.fixture(scope="module")
def trial(bundle):
    """Run the trial in a process of its own, once for a backend, on one device and on two."""
    done: dict[str, dict] = {}

    def run(backend: str, n_devices: int) -> dict:
        if importlib.util.find_spec(PACKAGES[backend]) is None:
            pytest.skip(f"{backend} is not installed")
        if backend not in done:
            numbers = ["1", "2"] if backend in PARALLEL else ["1"]
            call = [sys.executable, str(TRIAL), backend, str(bundle[0]), *numbers]
            paths = [str(TRIAL.parents[1]), os.environ.get("PYTHONPATH", "")]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
            ended = subprocess.run(
                call, capture_output=True, text=True, env=environment, timeout=300
            )
            assert ended.returncode == 0, ended.stderr[-3000:]
            done[backend] = json.loads(ended.stdout.splitlines()[-1])
        return done[backend][str(n_devices)]

    return run


def test_more_devices_than_there_are_is_one_sentence(tmp_path, capsys):
    from aitom_disca.cli.app import main

    particles = ParticleSet(np.full(20, "t"), np.full((20, 3), 20.0))
    volumes = np.random.default_rng(0).normal(size=(20, 12, 12, 12)).astype(np.float32)
    with StoreWriter.create(tmp_path / "s.h5", (12,) * 3, 10.0, (-60, 60)) as store:
        store.append(volumes, particles)
    options = ["--candidate-k", "2", "--devices", "64"]
    code = main(["mine", str(tmp_path / "s.h5"), "--out", str(tmp_path / "out"), *options])
    assert code == 2
    assert "expected 64 devices to train on" in capsys.readouterr().err


others = pytest.mark.parametrize("backend", PACKAGES)
parallel = pytest.mark.parametrize("backend", PARALLEL)


@others
def test_training_lowers_the_loss_and_goes_on_from_a_state(trial, backend):
    found = trial(backend, 1)["training"]
    assert found["devices"] == 1 and found["shape"] == [24, 8]
    assert np.isfinite(found["losses"]).all() and found["losses"][-1] < found["losses"][0]
    assert found["same_after_restoring"]


@others
def test_a_bundle_predicts_the_same_on_every_backend(trial, backend, bundle):
    np.testing.assert_allclose(trial(backend, 1)["posterior"], bundle[1], atol=2e-3)


@others
def test_baseline_and_decoder_train(trial, backend):
    found = trial(backend, 1)
    assert found["autoencoder"] and found["decoder"]


@others
def test_mixed_precision_is_a_little_less_precise(trial, backend):
    difference, spread = trial(backend, 1)["mixed"]
    assert 0 < difference < 0.2 * spread


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("what", ["rotation", "features", "expectation"])
def test_backends_agree(trial, backend, what):
    reference = trial("tensorflow", 1)[what]
    np.testing.assert_allclose(trial(backend, 1)[what], reference, rtol=1e-3, atol=1e-4)


@parallel
def test_two_devices_have_the_losses_of_one(trial, backend):
    one, two = (trial(backend, n)["training"] for n in (1, 2))
    assert two["devices"] == 2
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-3)
    assert two["shape"] == one["shape"]
    posterior = np.array(trial(backend, 2)["posterior"])
    np.testing.assert_allclose(posterior.sum(axis=1), 1, rtol=1e-4)
