"""The methods that are compared: ours, the published one, and two plain baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from aitom_disca.bench.cases import Case
from aitom_disca.bench.scores import n_clusters
from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError


@dataclass(frozen=True)
class BenchOptions:
    """What may be changed about a benchmark.

    Parameters
    ----------
    fraction : float
        Part of the subtomograms of every case, 0 to 1: for a quick look.
    paper_width : float
        Factor on the channels of the published network; 1 as published.
    paper_iterations : int
        Its most iterations; 20 as published.
    changes : mapping of str to value
        Fields of `MineSettings` changed in ours: for ablations.
    """

    fraction: float = 1.0
    paper_width: float = 0.25
    paper_iterations: int = 8
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """Labels of one run (-1 for none), its seconds without imports, and whether K was given."""

    labels: np.ndarray
    seconds: float
    k_given: bool = False

    @property
    def k(self) -> int:
        """How many clusters have members."""
        return n_clusters(self.labels)


@dataclass(frozen=True)
class Method:
    """A way to sort subtomograms.

    Parameters
    ----------
    name, title : str
    settings : callable
        ``(case, seed, options)`` to everything that decides the answer, as plain values.
    run : callable
        ``(volumes, case, settings)`` to an `Answer`.
    """

    name: str
    title: str
    settings: Callable[[Case, int, BenchOptions], dict[str, Any]]
    run: Callable[[np.ndarray, Case, dict[str, Any]], Answer]


def _fast_settings(case: Case, seed: int, options: BenchOptions) -> dict[str, Any]:
    given = {"candidate_k": case.candidate_k, "seed": seed, **options.changes}
    return MineSettings.from_preset("fast", **given).model_dump()


def _start_settings(case: Case, seed: int, options: BenchOptions) -> dict[str, Any]:
    return _fast_settings(case, seed, options) | {"alignment": False, "max_iterations": 1}


def _paper_settings(case: Case, seed: int, options: BenchOptions) -> dict[str, Any]:
    candidates = tuple(k for k in case.candidate_k if k > 1)
    return MineSettings.from_preset(
        "paper",
        candidate_k=candidates,
        width=options.paper_width,
        max_iterations=options.paper_iterations,
        seed=seed,
    ).model_dump()


def _paper_full_settings(case: Case, seed: int, options: BenchOptions) -> dict[str, Any]:
    usual = MineSettings.from_preset("paper")
    full = replace(options, paper_width=usual.width, paper_iterations=usual.max_iterations)
    return _paper_settings(case, seed, full)


def _run_disca(volumes: np.ndarray, case: Case, settings: dict[str, Any]) -> Answer:
    import aitom_disca.network  # noqa: F401  imports are not counted
    from aitom_disca.mining import DISCA

    start = time.perf_counter()
    disca = DISCA.from_settings(MineSettings(**settings))
    disca.fit(
        volumes,
        voxel_size_angstrom=case.voxel_size_angstrom,
        tilt_range_deg=case.tilt_range_deg,
    )
    return Answer(np.asarray(disca.labels_), time.perf_counter() - start)


def _pca_settings(case: Case, seed: int, options: BenchOptions) -> dict[str, Any]:
    return {"n_components": 16, "candidate_k": case.candidate_k, "n_init": 5, "seed": seed}


def _run_pca(volumes: np.ndarray, case: Case, settings: dict[str, Any]) -> Answer:
    """Principal components of the normalised volumes, and scikit-learn's mixture with K by BIC."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    from aitom_disca.subtomograms.preprocess import normalise

    start = time.perf_counter()
    seed = settings["seed"]
    flat = normalise(volumes).reshape(len(volumes), -1)
    n_components = min(settings["n_components"], len(flat) - 1)
    pca = PCA(n_components, svd_solver="randomized", random_state=seed)
    embedding = pca.fit_transform(flat).astype(float)  # mixtures of few samples fail in float32
    mixtures = [
        GaussianMixture(k, n_init=settings["n_init"], random_state=seed).fit(embedding)
        for k in settings["candidate_k"]
    ]
    best = min(mixtures, key=lambda mixture: mixture.bic(embedding))
    return Answer(best.predict(embedding), time.perf_counter() - start)


def _autoencoder_settings(case: Case, seed: int, options: BenchOptions) -> dict[str, Any]:
    n_clusters = case.k_true + (case.n_noise > 0)
    return {"n_features": 32, "epochs": 10, "n_clusters": n_clusters, "seed": seed}


def _run_autoencoder(volumes: np.ndarray, case: Case, settings: dict[str, Any]) -> Answer:
    """Features of a convolutional autoencoder, and k-means, which is told the true K.

    Noise alone, where there is some, counts as one more.
    """
    from sklearn.cluster import KMeans

    from aitom_disca.network.autoencoder import autoencoder_features
    from aitom_disca.subtomograms.dataset import ArraySource, PreparedVolumes

    start = time.perf_counter()
    seed = settings["seed"]
    features = autoencoder_features(
        PreparedVolumes(ArraySource(volumes)),
        n_features=settings["n_features"],
        epochs=settings["epochs"],
        seed=seed,
    )
    labels = KMeans(settings["n_clusters"], n_init=10, random_state=seed).fit_predict(features)
    return Answer(labels, time.perf_counter() - start, k_given=True)


_ALL = (
    Method("ours", "ours (preset fast)", _fast_settings, _run_disca),
    Method("start", "its first clustering", _start_settings, _run_disca),
    Method("paper", "preset paper", _paper_settings, _run_disca),
    Method("paper-full", "preset paper", _paper_full_settings, _run_disca),
    Method("autoencoder", "autoencoder + k-means", _autoencoder_settings, _run_autoencoder),
    Method("pca", "PCA of the volumes + GMM", _pca_settings, _run_pca),
)
METHODS = {method.name: method for method in _ALL}
DEFAULT_METHODS = ("ours", "paper", "autoencoder", "pca")


def choose_methods(names: list[str]) -> list[Method]:
    """Methods by name, the usual ones if there are none.

    Raises
    ------
    InputError
        If a name is unknown.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise InputError(f"there is no method {unknown[0]!r}; choose from {', '.join(METHODS)}.")
    return [METHODS[name] for name in names or DEFAULT_METHODS]
