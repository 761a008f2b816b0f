"""Networks in Keras 3: ``keras.ops`` only, so that every backend runs them.

Importing this package imports Keras and its backend, which takes seconds: import it where a
network is built.
"""

from aitom_disca.computing.keras_backend import import_keras

import_keras()

from aitom_disca.network.augmentation import rotate_volumes
from aitom_disca.network.features import extract_features
from aitom_disca.network.training import Classifier
from aitom_disca.network.yopo import build_classification_layer, build_feature_extractor

__all__ = [
    "Classifier",
    "build_classification_layer",
    "build_feature_extractor",
    "extract_features",
    "rotate_volumes",
]
