"""The functions of AITom's DISCA under their names, on current libraries.

For scripts that were written against ``aitom.classify.deep.unsupervised.disca``: they import from
here instead. Volumes are (n, x, y, z, 1), labels run from 0, and randomness follows
``np.random.seed``, as there. What these functions do differently is said with each.

The names ``keras``, ``np`` and ``Input`` come along with ``import *``. They have what scripts of
that time use and the libraries have no more: ``keras.backend.set_value``, ``np.float`` and so on,
and inputs whose layer has an ``input``. So AITom's own ``DISCA.py`` runs with this line in place of
that which imports its ``util``, provided it is the last of the imports.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy

from aitom_disca.bridge.disca_clusters import (
    DDBI,
    align_cluster_index,
    convergence_check,
    remove_empty_cluster,
    statistical_fitting,
)
from aitom_disca.bridge.disca_network import (
    Input,
    YOPO_classification,
    YOPO_feature,
    data_augmentation,
    image_normalization,
    one_hot,
    prepare_training_data,
    random_rotation_matrix,
    rotate3d_zyz,
    smooth_labels,
    update_output_layer,
)
from aitom_disca.bridge.pickles import read_pickle, write_pickle

import keras as _keras  # isort: skip

__all__ = [
    "DDBI",
    "Input",
    "YOPO_classification",
    "YOPO_feature",
    "align_cluster_index",
    "convergence_check",
    "data_augmentation",
    "image_normalization",
    "keras",
    "np",
    "one_hot",
    "pickle_dump",
    "pickle_load",
    "prepare_training_data",
    "random_rotation_matrix",
    "remove_empty_cluster",
    "rotate3d_zyz",
    "smooth_labels",
    "statistical_fitting",
    "update_output_layer",
]

if TYPE_CHECKING:
    import numpy as np
else:  # with the names that NumPy has no more
    np = ModuleType("numpy")
    np.__dict__.update({kind.__name__: kind for kind in (bool, int, float, complex, object, str)})
    np.__dict__.update(vars(numpy))


def pickle_load(path: str | Path) -> Any:
    """Read a pickle of arrays and plain containers; anything else in it is refused."""
    return read_pickle(path)


def pickle_dump(o: Any, path: str | Path, protocol: int = 2) -> None:
    """Write a pickle of protocol 2, which AITom reads with any NumPy."""
    write_pickle(path, o)


def _with_set_value() -> ModuleType:
    """Keras, and the function of its backend that scripts set the learning rate with."""
    backend = ModuleType("keras.backend")
    backend.__dict__.update(vars(_keras.backend))
    backend.set_value = lambda variable, value: variable.assign(value)  # type: ignore[attr-defined]
    module = ModuleType("keras")
    module.__dict__.update(vars(_keras), backend=backend)
    return module


keras = _with_set_value()
