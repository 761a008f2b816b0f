"""What of AITom can be imported here, what of that still runs, and what of ours serves instead."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from typing import Any, NamedTuple

import numpy as np

from aitom_disca.errors import InputError

RUNS, FAILS, ABSENT = "runs", "fails", "not importable"


class Part(NamedTuple):
    """A row of `status`.

    Parameters
    ----------
    part : str
        What of AITom, in words, and its module.
    state : str
        "runs", or "fails: why", or "not importable: why".
    remedy : str
        What of ours serves instead.
    """

    part: str
    state: str
    remedy: str


@dataclass(frozen=True)
class _Trial:
    part: str
    module: str
    run: Callable[[Any], object]
    remedy: str


def import_aitom(module: str) -> Any:
    """Import a module of AITom, silently.

    Raises
    ------
    Exception
        Whatever the import raises.
    """
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def need_aitom(module: str, instead: str) -> Any:
    """Import a module of AITom that was asked for.

    Raises
    ------
    InputError
        If that fails, with what serves ``instead``.
    """
    try:
        return import_aitom(module)
    except Exception as error:
        raise InputError(
            f"AITom's {module} cannot be imported here ({reason_of(error)}); put AITom on the "
            f"PYTHONPATH, or {instead}."
        ) from error


def reason_of(error: Exception) -> str:
    """The first sentence of an error."""
    said = " ".join(str(error).split()).split(". ")[0].rstrip(".")
    return said or type(error).__name__


def status() -> list[Part]:
    """Try every part of AITom that this package stands beside, each on an array of 8 voxels.

    Returns
    -------
    list of Part
        part, state, remedy.
    """
    if find_spec("aitom") is None:
        return [Part(t.part, f"{ABSENT}: no package aitom here", t.remedy) for t in _TRIALS]
    import aitom_disca.network  # noqa: F401  Keras without the messages of its start

    return [Part(trial.part, _state(trial), trial.remedy) for trial in _TRIALS]


def _state(trial: _Trial) -> str:
    try:
        module = import_aitom(trial.module)
    except Exception as error:
        return f"{ABSENT}: {reason_of(error)}"
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), np.errstate(all="ignore"):
            trial.run(module)
    except Exception as error:
        return f"{FAILS}: {reason_of(error)}"
    return RUNS


def _volume() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)


def _listed() -> list[dict[str, Any]]:
    return [{"x": [1, 1, 1], "val": 2.0}, {"x": [1, 1, 2], "val": 1.0}]


def _peaks(module: Any) -> object:
    return module.peak__partition(_volume(), s1=1.0, s2=1.1)


def _cut(module: Any) -> object:
    return module.peaks_to_subvolumes(_volume(), [{"uuid": "a", "x": np.array([4, 4, 4])}], 4)


_TRIALS = (
    _Trial(
        "DoG picker (aitom.pick.dog.particle_picking_dog__util)",
        "aitom.pick.dog.particle_picking_dog__util",
        _peaks,
        "aitom-disca pick; bridge.dog_peaks gives the same extrema",
    ),
    _Trial(
        "choice among close peaks (aitom.pick.dog.particle_picking_dog__filter)",
        "aitom.pick.dog.particle_picking_dog__filter",
        lambda module: module.do_filter(_listed(), 2),
        "bridge.filter_peaks",
    ),
    _Trial(
        "cutting of subvolumes (aitom.classify.deep.unsupervised.autoencoder.autoencoder_util)",
        "aitom.classify.deep.unsupervised.autoencoder.autoencoder_util",
        _cut,
        "aitom-disca extract, then aitom-export for AITom's pickle",
    ),
    _Trial(
        "rotation (aitom.geometry.rotate)",
        "aitom.geometry.rotate",
        lambda module: module.rotate(_volume(), angle=(0.1, 0.2, 0.3), default_val=0.0),
        "bridge.rotate gives the same volumes",
    ),
    _Trial(
        "missing-wedge masks (aitom.image.vol.wedge.util)",
        "aitom.image.vol.wedge.util",
        lambda module: module.tilt_mask(np.array([8, 8, 8]), -60, 60),
        "aitom_disca.geometry.missing_wedge_mask",
    ),
    _Trial(
        "DISCA, its functions (aitom.classify.deep.unsupervised.disca.util)",
        "aitom.classify.deep.unsupervised.disca.util",
        lambda module: module.rotate3d_zyz(_volume(), np.eye(3)),
        "aitom_disca.bridge.disca has them under the same names",
    ),
    _Trial(
        "DISCA, Keras (aitom.classify.deep.unsupervised.disca.DISCA)",
        "aitom.classify.deep.unsupervised.disca.DISCA",
        lambda module: module.YOPO_feature(24),
        "aitom-disca mine; aitom_disca.bridge.disca for scripts",
    ),
    _Trial(
        "DISCA, PyTorch (aitom.classify.deep.unsupervised.disca.torch_disca)",
        "aitom.classify.deep.unsupervised.disca.torch_disca",
        lambda module: module.YOPOFeatureModel(),
        "aitom-disca mine; aitom_disca.bridge.disca for scripts",
    ),
    _Trial(
        "Gum-Net (aitom.align.deep.gum.models.Gum_Net)",
        "aitom.align.deep.gum.models.Gum_Net",
        lambda module: module.GUM,
        "aitom-disca average --aligner gumnet --gumnet-weights FILE; bridge.read_gumnet_pairs",
    ),
)
