"""Weights of AITom's trained Gum-Net files (HDF5 of Keras 2), read without Keras 2."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import keras
import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.reading import reading

# Layers of ours in the order in which Keras 2 numbered each kind, and the arrays that each has.
_LAYERS = {
    "conv3d": [f"feature_convolution_{i}" for i in range(1, 6)]
    + [f"matching_{way}_{i}" for way in ("ab", "ba") for i in (1, 2)],
    "batch_normalization": [f"normalisation_{v}_{i}" for v in "xy" for i in range(1, 6)]
    + [f"normalisation_{way}_{i}" for way in ("ab", "ba") for i in (1, 2)],
    "dense": ["dense_1", "dense_2", "dense_3"],
}
_ARRAYS = {
    "conv3d": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
}


def load_legacy_weights(path: str | Path, model: keras.Model) -> None:
    """Set a model's weights to those of a file that Keras 2 wrote for AITom's Gum-Net.

    Parameters
    ----------
    path : path
        A whole model or weights alone, HDF5.
    model : keras.Model
        Of `build_gumnet`, of the file's box and width; unchanged if anything does not fit.

    Raises
    ------
    InputError
        If the file is none of these, or a layer is missing or of another shape.
    """
    path = Path(path)
    with reading(path, "a model file of AITom's Gum-Net"), h5py.File(path) as file:
        groups = _groups(file["model_weights"] if "model_weights" in file else file)
        found = {kind: _of_kind(groups, kind, path) for kind in _LAYERS}
    new = []
    for kind, names in _LAYERS.items():
        for name, arrays in zip(names, found[kind], strict=True):
            layer = model.get_layer(name)
            _check_shapes(layer, arrays, path)
            if not all(np.isfinite(array).all() for array in arrays):
                raise InputError(f"{path.name} holds weights of {name} that are no finite numbers.")
            new.append((layer, arrays))
    for layer, arrays in new:
        layer.set_weights(arrays)


def _groups(root: h5py.Group) -> dict[str, h5py.Group]:
    return {name: root[name] for name in _names(root, "layer_names")}


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names; long ones were split into ``layer_names0``, ``layer_names1`` and so on."""
    parts = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs and parts[:1] != [attribute]:
        parts.append(f"{attribute}{len(parts)}")
    values = [name for part in parts for name in np.asarray(group.attrs[part]).ravel().tolist()]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in values]


def _of_kind(groups: dict[str, h5py.Group], kind: str, path: Path) -> list[list[np.ndarray]]:
    """Arrays of all layers of a kind, in the order of the numbers in their names."""
    numbered = []
    for name, group in groups.items():
        match = re.fullmatch(rf"{kind}(?:_(\d+))?", name)
        if match:
            numbered.append((int(match[1] or 0), group))
    numbered.sort(key=lambda pair: pair[0])
    if len(numbered) != len(_LAYERS[kind]):
        raise InputError(
            f"expected {len(_LAYERS[kind])} layers {kind} in {path}, as Gum-Net has, but found "
            f"{len(numbered)}."
        )
    return [_arrays(group, kind) for _, group in numbered]


def _arrays(group: h5py.Group, kind: str) -> list[np.ndarray]:
    names = _names(group, "weight_names")
    by_end = {name.rpartition("/")[2].partition(":")[0]: name for name in names}
    return [np.asarray(group[by_end[array]], np.float32) for array in _ARRAYS[kind]]


def _check_shapes(layer: keras.layers.Layer, arrays: list[np.ndarray], path: Path) -> None:
    for weight, array in zip(layer.weights, arrays, strict=True):
        if tuple(weight.shape) != array.shape:
            raise InputError(
                f"{path} holds {layer.name} of shape {array.shape}, but this Gum-Net has "
                f"{tuple(weight.shape)}: build it with the box and width of the file."
            )
