"""What `test_backends` runs in a process of its own: a network on another backend, or devices.

``python backend_trial.py BACKEND FOLDER N_DEVICES ...``; prints its findings on each as JSON.
"""

from __future__ import annotations

import json
import os
import sys

backend, folder = sys.argv[1:3]
os.environ["KERAS_BACKEND"] = backend
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"  # JAX's two
if backend == "tensorflow":
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )

import numpy as np  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from aitom_disca.computing import devices  # noqa: E402
from aitom_disca.geometry import random_rotations  # noqa: E402
from aitom_disca.mining import DISCA  # noqa: E402
from aitom_disca.network import (  # noqa: E402
    Classifier,
    build_feature_extractor,
    extract_features,
    rotate_volumes,
)
from aitom_disca.network.autoencoder import autoencoder_features  # noqa: E402
from aitom_disca.network.decoder import Decoder  # noqa: E402
from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes  # noqa: E402

BOX = 12
rng = np.random.default_rng(0)
volumes = rng.normal(size=(24, BOX, BOX, BOX)).astype(np.float32)
labels = np.arange(24) % 3
volumes[labels == 1, 4:8, 4:8, 4:8] += 2
options = {"smoothing": 0.1, "learning_rate": 1e-2}


def as_array(tensor: object) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(tensor)


def rotation() -> list[float]:
    rotations = random_rotations(2, np.random.default_rng(1))
    turned = as_array(rotate_volumes(volumes[:2], rotations))
    still = as_array(rotate_volumes(volumes[:2], Rotation.identity(2)))
    assert (still == volumes[:2]).all()
    return turned[:, 3:9:2, 5, 4].ravel().tolist()


def features_of_known_weights() -> list[float]:
    """The same weights give the same features on every backend."""
    extractor = build_feature_extractor(BOX, width=0.1, n_convolutions=3, n_features=6)
    known = np.random.default_rng(2)
    shapes = [w.shape for w in extractor.get_weights()]
    extractor.set_weights([np.abs(known.normal(size=s, scale=0.2)) + 0.1 for s in shapes])
    return extract_features(extractor, [volumes[:5]]).ravel().tolist()


def training(n_devices: int) -> dict[str, object]:
    with devices.data_parallel(n_devices):
        extractor = build_feature_extractor(
            BOX, width=0.1, n_convolutions=2, n_features=8, dropout=0.0
        )
    classifier = Classifier(extractor, batch_size=16, tilt_range_deg=(-60, 60))
    features = extract_features(extractor, [volumes])
    classifier.new_head(features, labels, 3, epochs=1)

    def epoch() -> float:
        return classifier.train_epoch(lambda rows: volumes[rows], labels, **options)

    losses = [epoch(), epoch()]
    state = classifier.state()
    losses.append(epoch())
    found = {"devices": devices.count(extractor), "losses": losses, "shape": list(features.shape)}
    if n_devices == 1:
        classifier.set_state(*state)
        found["same_after_restoring"] = epoch() == losses[-1]
    return found


def mixed_precision() -> list[float]:
    extractors = [
        build_feature_extractor(BOX, width=0.1, n_convolutions=2, n_features=8, precision=p)
        for p in ("float32", "mixed")
    ]
    extractors[1].set_weights(extractors[0].get_weights())
    full, mixed = (extract_features(e, [volumes]) for e in extractors)
    return [float(np.abs(full - mixed).max()), float(full.std())]


def expectation() -> list[float]:
    """Two references in three rotations, weighed by the engine for devices, in blocks of 4."""
    from aitom_disca.alignment import expectation, expectation_on_device
    from aitom_disca.alignment.coefficients import Coefficients, Particles
    from aitom_disca.alignment.expectation import expect

    known, coefficients = np.random.default_rng(3), Coefficients(10, 3, (-60, 60))
    parts = known.normal(size=(2, 12, len(coefficients))).astype(np.float32)
    values = parts[0] + 1j * parts[1]
    particles = Particles(coefficients, values[:6], np.zeros((6, 3)), np.arange(6) % 2)
    references = 0.3 * values[6:].reshape(2, 3, -1)
    shifts = np.array([[0.0, 0, 0], [0, 1, 0]])
    expectation_on_device._most_scores["cpu:0"] = 4 * 12
    on_processor = expect(particles, references, np.zeros(2), shifts)
    expectation.accelerator = lambda: "cpu:0"
    found = expect(particles, references, np.zeros(2), shifts)
    np.testing.assert_allclose(found.sums, on_processor.sums, atol=1e-3)
    np.testing.assert_array_equal(found.offset_zyx_px, on_processor.offset_zyx_px)
    return [*found.log_likelihood, *found.posterior.ravel(), *found.counts.ravel()]


def on_one() -> dict[str, object]:
    prepared = PreparedVolumes(ArraySource(volumes))
    coded = autoencoder_features(prepared, n_features=4, epochs=1, batch_size=12)
    errors = Decoder(BOX, 4).fit(coded, prepared, epochs=1)
    return {
        "rotation": rotation(),
        "features": features_of_known_weights(),
        "expectation": expectation(),
        "mixed": mixed_precision(),
        "autoencoder": bool(np.isfinite(coded).all()),
        "decoder": bool(np.isfinite(errors).all()),
        "posterior": DISCA.load(f"{folder}/model.h5").predict_proba(volumes).tolist(),
    }


def on_several(n_devices: int) -> dict[str, object]:
    """All the way, with new weights after every iteration."""
    disca = DISCA(
        "paper", candidate_k=(2,), max_iterations=2, width=0.1, n_convolutions=2, n_features=8,
        pca_dimensions=3, reg_covar=1e-2, n_devices=n_devices,
    ).fit(volumes)  # fmt: skip
    return {"posterior": disca.predict_proba(volumes).tolist()}


found = {
    n: {"training": training(n)} | (on_one() if n == 1 else on_several(n))
    for n in map(int, sys.argv[3:])
}
print(json.dumps(found))
