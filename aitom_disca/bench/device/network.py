"""How many subtomograms a second the published network sees and learns from."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from aitom_disca.computing.keras_backend import BatchSize
from aitom_disca.network import Classifier, build_feature_extractor
from aitom_disca.network.features import predict
from aitom_disca.network.yopo import CHANNELS

_BATCH = {"gpu": 128, "cpu": 2}
_TRAINING_BATCH = {"gpu": 64, "cpu": 2}  # subtomograms and copies; a step of training
_N_CLUSTERS = 10
_KERNEL_VOXELS = 27
_FORWARD_AND_BACK = 3  # a step of training costs so many times as much as features


def operations(box_px: int, width: float = 1.0) -> float:
    """Multiplications and additions of the convolutions for one subtomogram."""
    total, n_in, edge = 0.0, 1, box_px
    for channels in CHANNELS:
        edge -= 2
        if edge < 1:
            break
        n_out = max(1, round(channels * width))
        total += 2 * _KERNEL_VOXELS * n_in * n_out * edge**3
        n_in = n_out
    return total


def measure_network(
    seconds: float, *, kind: str, box_px: int, precision: str, width: float = 1.0, seed: int = 0
) -> dict[str, Any]:
    """Time features and training of YOPO.

    Parameters
    ----------
    seconds : float
        About so long.
    kind : {"gpu", "cpu"}
    box_px : int
    precision : {"float32", "mixed"}
    width : float
        1 is the published network.
    seed : int

    Returns
    -------
    dict
        ``features_per_s``; ``steps_per_s`` of training on ``step_size`` subtomograms and copies;
        ``features_tflops``, ``training_tflops``: 10^12 operations a second.
    """
    rng = np.random.default_rng(seed)
    extractor = build_feature_extractor(box_px, width=width, precision=precision, seed=seed)
    n, step = _BATCH[kind], _TRAINING_BATCH[kind]
    volumes = rng.standard_normal((n, *(box_px,) * 3), np.float32)
    at_once = BatchSize(n)
    features_s = _each(lambda: predict(extractor, volumes, at_once), seconds / 2) / n
    labels = np.arange(max(step // 2, 1)) % _N_CLUSTERS
    classifier = Classifier(extractor, batch_size=step, seed=seed)
    features = rng.standard_normal((len(labels), extractor.output_shape[-1])).astype(np.float32)
    classifier.new_head(features, labels, _N_CLUSTERS, epochs=1)

    def train() -> None:
        classifier.train_epoch(
            lambda rows: volumes[rows % n], labels, smoothing=0.1, learning_rate=1e-5
        )

    step_s = _each(train, seconds / 2)
    each = operations(box_px, width)
    return {
        "box_px": box_px,
        "precision": precision,
        "width": width,
        "features_per_s": 1 / features_s,
        "features_tflops": each / features_s / 1e12,
        "steps_per_s": 1 / step_s,
        "step_size": 2 * len(labels),
        "training_tflops": _FORWARD_AND_BACK * each * 2 * len(labels) / step_s / 1e12,
    }


def _each(work: Any, seconds: float) -> float:
    """Seconds of a call, over as many as fit in, after one that builds the graph."""
    start = time.perf_counter()
    work()
    last = time.perf_counter() - start
    done, began = 0, time.perf_counter()
    while done == 0 or (time.perf_counter() - start) + last < seconds:
        work()
        done += 1
        last = (time.perf_counter() - began) / done
    return (time.perf_counter() - began) / done
