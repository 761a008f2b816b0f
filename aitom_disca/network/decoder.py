"""From features back to subtomograms, to see what a cluster looks like.

Features averaged over the rotations of the cube say nothing about orientation. The decoder is
therefore given the features of every subtomogram in the one orientation in which it is stored.
These still tell it roughly, so that a decoded member is that particle with its noise removed, in
its own orientation and with its missing wedge. The centre of a cluster lies between members of all
orientations: decoded it is close to their mean, a density with the size, shells and hollows of the
structure and without the rest.
"""

from __future__ import annotations

import keras
import numpy as np

from aitom_disca.computing.devices import compile_model
from aitom_disca.computing.keras_backend import BatchSize
from aitom_disca.network.autoencoder import build_decoder
from aitom_disca.network.batches import train_pass
from aitom_disca.network.features import predict
from aitom_disca.progress import step
from aitom_disca.subtomograms.dataset import PreparedVolumes, shuffled_rows

_LEARNING_RATE = 3e-3
_HELD_OUT_EVERY = 10  # one subtomogram in so many is not trained on, but tells when to stop
_PATIENCE = 3  # passes without a better one


class Decoder:
    """A network from features to subtomograms.

    Parameters
    ----------
    box_px : int
        Edge of the subtomograms.
    n_features : int
    batch_size : int
    seed : int
        Seed of the initial weights and of the order of the training data.
    """

    def __init__(
        self, box_px: int, n_features: int, *, batch_size: int = 32, seed: int = 0
    ) -> None:
        self._model = build_decoder(box_px, n_features, seed=seed)
        self._batch_size = BatchSize(batch_size)
        self._rng = np.random.default_rng(seed)
        self._mean = np.zeros(n_features, np.float32)
        self._scale = np.ones(n_features, np.float32)

    def fit(self, features: np.ndarray, volumes: PreparedVolumes, *, epochs: int) -> list[float]:
        """Learn the subtomograms from their features.

        One in ten is held out; the pass with the smallest error there is kept, and training ends
        three passes after it.

        Parameters
        ----------
        features : ndarray of shape (n_subtomograms, n_features)
        volumes : PreparedVolumes
            The subtomograms in the same order.
        epochs : int
            Passes over the data, at most.

        Returns
        -------
        list of float
            Mean squared error of those held out, pass by pass; 1 is the variance of a subtomogram.
        """
        self._mean, self._scale = features.mean(axis=0), features.std(axis=0) + 1e-6
        given = self._standardised(features)
        held_out = np.arange(0, len(given), _HELD_OUT_EVERY)
        rows = np.setdiff1d(np.arange(len(given)), held_out)
        compile_model(self._model, keras.optimizers.Adam, _LEARNING_RATE, "mean_squared_error")

        def make_batch(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return given[rows[chosen]], volumes.read(rows[chosen])[..., None]

        errors: list[float] = []
        best = self._model.get_weights()
        with step("training the decoder", epochs) as going_on:
            while len(errors) < epochs and len(errors) - _best(errors) <= _PATIENCE:
                order = shuffled_rows(len(rows), self._rng)
                train_pass(self._model, order, make_batch, self._batch_size)
                errors.append(self._error(given, volumes, held_out))
                if _best(errors) == len(errors):
                    best = self._model.get_weights()
                going_on.advance()
        self._model.set_weights(best)
        return errors

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Subtomograms (n, z, y, x), float32, of features (n, n_features)."""
        return self._decode(self._standardised(features))

    def _standardised(self, features: np.ndarray) -> np.ndarray:
        return ((features - self._mean) / self._scale).astype(np.float32)

    def _decode(self, given: np.ndarray) -> np.ndarray:
        return predict(self._model, given, self._batch_size)[..., 0]

    def _error(self, given: np.ndarray, volumes: PreparedVolumes, rows: np.ndarray) -> float:
        size = self._batch_size.value
        pieces = [rows[i : i + size] for i in range(0, len(rows), size)]
        errors = [((self._decode(given[p]) - volumes.read(p)) ** 2).sum() for p in pieces]
        return float(np.sum(errors) / (len(rows) * volumes.box_px**3))


def _best(errors: list[float]) -> int:
    """The pass, from 1, with the smallest error; 0 before the first."""
    return 1 + int(np.argmin(errors)) if errors else 0
