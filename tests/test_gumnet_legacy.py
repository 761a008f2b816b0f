"""Weights of Keras 2 files of Gum-Net, in every way in which such a file can be written."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("keras")

from aitom_disca.errors import InputError
from aitom_disca.network.gumnet import build_gumnet, load_legacy_weights
from aitom_disca.network.gumnet.legacy import _ARRAYS, _LAYERS

BOX, WIDTH = 16, 0.02


@pytest.fixture(scope="module")
def models() -> list:
    """Two of them, made once: that takes seconds."""
    return [build_gumnet(BOX, width=WIDTH, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def weights(models) -> dict[str, list[list[np.ndarray]]]:
    """Random arrays of every layer, by kind, in the order of Keras 2."""
    rng = np.random.default_rng(0)
    return {
        kind: [
            [np.abs(rng.normal(0.1, 0.1, w.shape)).astype(np.float32) for w in layer.weights]
            for layer in map(models[0].get_layer, names)
        ]
        for kind, names in _LAYERS.items()
    }


def write(
    path: Path,
    weights: dict,
    *,
    root: str = "model_weights/",
    first: int = 1,
    as_bytes: bool = True,
    split: bool = False,
) -> None:
    """A file as Keras 2.2.4 writes it, layers in the order of their use, not of their numbers."""
    with h5py.File(path, "w") as file:
        top = file.require_group(root) if root else file
        names = ["input_1", "activation_3"]
        for kind, layers in weights.items():
            for i in reversed(range(len(layers))):
                number = first + i
                name = kind if number == 0 else f"{kind}_{number}"
                group = top.create_group(name)
                inner = [f"{name}/{array}:0" for array in _ARRAYS[kind]]
                for full, values in zip(inner, layers[i], strict=True):
                    group[full] = values
                group.attrs["weight_names"] = [n.encode() if as_bytes else n for n in inner]
                names.append(name)
        for name in names[:2]:
            top.create_group(name).attrs["weight_names"] = np.zeros(0, "S1")
        named = [n.encode() if as_bytes else n for n in names]
        if split:
            top.attrs["layer_names0"], top.attrs["layer_names1"] = named[:9], named[9:]
        else:
            top.attrs["layer_names"] = named


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"root": "", "as_bytes": False},
        {"first": 12},
        {"first": 0, "split": True},
    ],
)
def test_the_outputs_are_those_of_weights_set_directly(tmp_path, weights, models, options) -> None:
    write(tmp_path / "gum.h5", weights, **options)
    loaded, direct = models
    loaded.set_weights([np.zeros_like(weight) for weight in loaded.get_weights()])
    load_legacy_weights(tmp_path / "gum.h5", loaded)
    for kind, names in _LAYERS.items():
        for name, arrays in zip(names, weights[kind], strict=True):
            direct.get_layer(name).set_weights(arrays)
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(2, BOX, BOX, BOX, 1)).astype(np.float32) for _ in range(4)]
    for ours, theirs in zip(
        loaded.predict_on_batch(inputs), direct.predict_on_batch(inputs), strict=True
    ):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-5, atol=1e-6)


def test_another_width_is_refused_and_changes_nothing(tmp_path, weights) -> None:
    write(tmp_path / "gum.h5", weights)
    model = build_gumnet(BOX, width=2 * WIDTH)
    before = [weight.copy() for weight in model.get_weights()]
    with pytest.raises(InputError, match="build it with the box and width of the file"):
        load_legacy_weights(tmp_path / "gum.h5", model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_other_files_are_refused(tmp_path, weights) -> None:
    model = build_gumnet(BOX, width=WIDTH)
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(InputError, match="cannot be read as a model file of AITom"):
        load_legacy_weights(tmp_path / "text.h5", model)
    fewer = {**weights, "dense": weights["dense"][:2]}
    write(tmp_path / "fewer.h5", fewer)
    with pytest.raises(InputError, match="expected 3 layers dense"):
        load_legacy_weights(tmp_path / "fewer.h5", model)
