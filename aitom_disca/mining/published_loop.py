"""The generalised expectation-maximisation loop of DISCA."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.config import MineSettings
from aitom_disca.errors import InputError, IterationError
from aitom_disca.mining.checkpoint import Checkpoint
from aitom_disca.mining.clusters_of_features import cluster_features
from aitom_disca.mining.feature_extraction import build_extractor, compute_features
from aitom_disca.mining.solution import (
    LoopResult,
    Solution,
    history_from_json,
    join_events,
    label_change,
    pack,
    record,
    unpack_solution,
)
from aitom_disca.progress import say
from aitom_disca.subtomograms.dataset import PreparedVolumes

if TYPE_CHECKING:
    from aitom_disca.network import Classifier
    from aitom_disca.network.training import RotateVolumes

_STEP = "iteration"  # its name in the checkpoint
_ATTEMPTS = 4  # at an iteration, each with half the learning rate of the one before


def run_loop(
    volumes: PreparedVolumes,
    settings: MineSettings,
    checkpoint: Checkpoint | None = None,
    rotate: RotateVolumes | None = None,
) -> LoopResult:
    """Extract features, cluster them, train on the clusters, and again.

    The solution with the lowest DDBI is kept. The loop ends when K and ``stop_fraction`` of the
    labels stay for ``stop_iterations`` iterations in a row, when there is nothing to tell apart
    (K = 1), or after ``max_iterations``.

    An iteration that fails (a loss or features that are not numbers, clusters that cannot be
    computed, or all subtomograms in one) is tried again from the iteration before with half the
    learning rate, and after four attempts the loop ends with what it has.

    Parameters
    ----------
    volumes : PreparedVolumes
    settings : MineSettings
    checkpoint : Checkpoint, optional
        Where every iteration is kept. One that holds iterations is gone on with.
    rotate : callable, optional
        What rotates training copies, see `aitom_disca.network.training.Classifier`.

    Raises
    ------
    InputError
        If not even the features of the untrained network can be clustered.
    """
    from aitom_disca.network import Classifier

    extractor = build_extractor(volumes.box_px, settings)
    classifier = Classifier(
        extractor, batch_size=settings.batch_size, seed=settings.seed, rotate=rotate
    )
    loop = _Loop(volumes, settings, classifier, extractor)
    checkpoint = checkpoint or Checkpoint.nowhere()
    loop.resume(checkpoint)
    while not loop.done:
        loop.iterate()
        loop.keep(checkpoint)
    assert loop.result is not None  # noqa: S101  one iteration at least was done
    return loop.result


class _Loop:
    """Where the loop stands after an iteration: all that decides how it goes on."""

    def __init__(
        self,
        volumes: PreparedVolumes,
        settings: MineSettings,
        classifier: Classifier,
        extractor: Any,
    ) -> None:
        self._volumes, self._settings = volumes, settings
        self._classifier, self._extractor = classifier, extractor
        self._features: np.ndarray | None = None  # of the last iteration
        self._last: Solution | None = None
        self._smoothing, self._rate = settings.label_smoothing, settings.learning_rate
        self._n_stayed = 0
        self.result: LoopResult | None = None
        self.done = False

    # -- one iteration -----------------------------------------------------------------------

    def iterate(self) -> None:
        """Train on the last clusters and cluster anew; where that fails, with half the rate."""
        before, features = self._classifier.state(), self._features
        events: list[str] = []
        for _ in range(_ATTEMPTS):
            try:
                return self._advance(events)
            except IterationError as error:
                reason = str(error)
            if self._last is None:
                raise InputError(
                    f"the subtomograms cannot be sorted, since {reason}; look at their values, "
                    "and leave out those that are empty or extreme."
                )
            self._classifier.set_state(*before)
            self._features = features
            self._rate /= 2
            back = f"went back to iteration {self._last.iteration} with half the rate"
            events.append(f"{reason}; {back}")
            say(f"iteration {self._last.iteration + 1}: {events[-1]}")
        self._stop(f"stopped here: in {_ATTEMPTS} attempts at the next iteration {reason}")

    def _stop(self, event: str) -> None:
        assert self.result is not None  # noqa: S101
        row = self.result.history[-1]
        row["event"] = join_events(row["event"], event)
        say(f"iteration {row['iteration']}: {event}")
        self.done = True

    def _advance(self, events: list[str]) -> None:
        settings = self._settings
        iteration = 1 if self._last is None else self._last.iteration + 1
        loss = None if self._last is None else self._train()
        start = time.perf_counter()
        features = compute_features(self._extractor, self._volumes, settings)
        solution = cluster_features(features, self._last, settings, iteration)
        if solution.k == 1 and self._last is not None:
            raise IterationError("all subtomograms fell into one cluster")
        solution = replace(
            solution,
            weights=self._extractor.get_weights(),
            event=join_events(*events, solution.event),
        )
        if self.result is not None:
            self.result.history[-1]["loss"] = loss
            self._smoothing *= settings.label_smoothing_decay
            self._rate *= settings.learning_rate_decay
        change = label_change(self._last, solution)
        self.result = record(self.result, solution, change, time.perf_counter() - start)
        self._last, self._features = solution, features
        self._n_stayed = self._n_stayed + 1 if 1 - change >= settings.stop_fraction else 0
        self.result.converged = self._n_stayed >= settings.stop_iterations or solution.k == 1
        self.done = self.result.converged or iteration == settings.max_iterations

    def _train(self) -> float:
        """Train the network once on the last clusters, with a new head where K changed."""
        assert self._last is not None and self.result is not None  # noqa: S101
        settings, row, start = self._settings, self.result.history[-1], time.perf_counter()
        rows = np.flatnonzero(self._last.labels >= 0)
        labels = self._last.labels[rows]
        if row["label_change"] == 1.0:
            if self._features is None:  # after a new start
                self._features = compute_features(self._extractor, self._volumes, settings)
            self._classifier.new_head(
                self._features[rows], labels, self._last.k, epochs=settings.head_epochs
            )
        loss = self._classifier.train_epoch(
            lambda batch: self._volumes.read(rows[batch]),
            labels,
            smoothing=self._smoothing,
            learning_rate=self._rate,
            rotated_copies=settings.rotated_copies,
        )
        row["seconds"] += time.perf_counter() - start
        if not np.isfinite(loss):
            raise IterationError("the loss was not a number")
        return loss

    # -- coming back ---------------------------------------------------------------------------

    def keep(self, checkpoint: Checkpoint) -> None:
        """Save where the loop stands."""
        assert self._last is not None and self.result is not None  # noqa: S101
        parts: dict[str, tuple[Any, Any]] = {
            "last": pack(self._last),
            "best": pack(self.result.best),
            "classifier": self._classifier.state(),
        }
        meta: dict[str, Any] = {name: values for name, (_, values) in parts.items()}
        meta |= {"history": self.result.history, "converged": self.result.converged}
        meta |= {"smoothing": self._smoothing, "rate": self._rate}
        meta |= {"n_stayed": self._n_stayed, "done": self.done}
        arrays = {f"{name}:{k}": v for name, (held, _) in parts.items() for k, v in held.items()}
        checkpoint.save(_STEP, arrays, meta)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from where a checkpoint stands, if it holds an iteration."""
        step = checkpoint.load(_STEP)
        if step is None:
            return
        arrays, meta = step
        parts: dict[str, dict[str, Any]] = {"last": {}, "best": {}, "classifier": {}}
        for key, value in arrays.items():
            part, name = key.split(":", 1)
            parts[part][name] = value
        self._classifier.set_state(parts["classifier"], meta["classifier"])
        self._last = unpack_solution(parts["last"], meta["last"])
        best = unpack_solution(parts["best"], meta["best"])
        self.result = LoopResult(best, history_from_json(meta["history"]), meta["converged"])
        self._smoothing, self._rate = meta["smoothing"], meta["rate"]
        self._n_stayed, self.done = meta["n_stayed"], meta["done"]
        say(f"going on after iteration {self._last.iteration}")
