"""A trained model sorts the subtomograms of another store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aitom_disca.computing.parallel import in_tasks
from aitom_disca.config import RelionVersion
from aitom_disca.curation import Curation, Decision
from aitom_disca.curation.replay import in_force, of_clusters
from aitom_disca.errors import InputError
from aitom_disca.io import open_store, read_labels_csv, write_labels_csv
from aitom_disca.io.stores.read_store import SubtomogramStore
from aitom_disca.number_text import counted
from aitom_disca.pipeline.array_job_parts import Part, read_predicted, write_predicted
from aitom_disca.pipeline.mine_clusters import sizes_of
from aitom_disca.pipeline.star_files import write_stars
from aitom_disca.progress import say, track
from aitom_disca.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from aitom_disca.mining import DISCA
    from aitom_disca.mining.predicting import PredictBy, Prediction, Predictor


def predict(
    store: str | Path,
    model: str | Path,
    out: str | Path,
    *,
    by: PredictBy | None = None,
    outlier_quantile: float | None = None,
    relion: RelionVersion = "3.1",
    overwrite: bool = False,
    executor: Executor | None = None,
) -> tuple[RunFolder, np.ndarray]:
    """Sort the subtomograms of a store with a trained model; write labels and star files.

    Where a person decided about the clusters of the model (``curation.json`` beside it), what
    was merged, left out or named is so here, too; ``labels_sorted.csv`` holds what was predicted.

    Parameters
    ----------
    store, model, out : path
    by : {"alignment", "network"}, optional
        What decides; by default alignment to the averages, where the model has any.
    outlier_quantile : float, optional
        In place of the model's own setting: subtomograms with a higher outlier score belong to no
        cluster; 1 for none of them.
    relion, overwrite
        As in `run`.
    executor : Executor, optional
        Computes chunks of the subtomograms as its tasks.

    Returns
    -------
    folder : RunFolder
    labels : ndarray of int, shape (n_subtomograms,)

    Raises
    ------
    InputError
        If the store does not suit the model, or the folder holds another run.
    """
    disca, decisions = _loaded(model, outlier_quantile), _decisions_of(model)
    start = time.perf_counter()
    folder = RunFolder(out)
    with open_store(store) as source:
        disca.check_source(source)
        about = _about(disca, store, model, relion, by)
        _begin(folder, about, overwrite)

        def sort() -> dict[str, Any]:
            found = _sorted(disca, source, Path(model), by, outlier_quantile, executor)
            return _write_labels(folder, found, about, decisions) | {
                "subtomograms_per_second": round(len(source) / (time.perf_counter() - start), 1),
            }

        folder.stage("predict", sort)
    folder.stage("write", lambda: write_stars(store, folder.labels, out, relion=relion))
    return folder, read_labels_csv(folder.labels)[0]


def predict_part(
    store: str | Path,
    model: str | Path,
    out: str | Path,
    part: Part,
    *,
    by: PredictBy | None = None,
    outlier_quantile: float | None = None,
    relion: RelionVersion = "3.1",
    overwrite: bool = False,
) -> int:
    """Sort a share of the subtomograms only, for `merge_predicted`; return how many.

    Parameters and errors as in `predict`.
    """
    from aitom_disca.mining.predicting import Prediction, chunks

    path = part.path(Path(out) / "predicted.npz")
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already: this part was made; add --overwrite.")
    disca = _loaded(model, outlier_quantile)
    with open_store(store) as source:
        disca.check_source(source)
        rows = part.share(chunks(len(source)), "chunks of subtomograms")
        predictor = disca.predictor(source, by=by)
        found = Prediction.joined(map(predictor, track(rows, "predicting")))
        write_predicted(path, found, _about(disca, store, model, relion, by))
    return len(found.labels)


def merge_predicted(out: str | Path, *, overwrite: bool = False) -> RunFolder:
    """Make the parts of a prediction what `predict` writes.

    Raises
    ------
    InputError
        If parts are missing or do not belong together, or the folder holds a run.
    """
    found, about = read_predicted(Path(out))
    decisions = _decisions_of(about["inputs"][1])
    folder = RunFolder(out)
    _begin(folder, about, overwrite)
    folder.stage("predict", lambda: _write_labels(folder, found, about, decisions))
    store, relion = about["inputs"][0], about["settings"]["relion"]
    folder.stage("write", lambda: write_stars(store, folder.labels, out, relion=relion))
    return folder


def _about(
    disca: DISCA, store: str | Path, model: str | Path, relion: str, by: PredictBy | None
) -> dict[str, Any]:
    quantile = disca.settings.outlier_quantile
    return {
        "inputs": [str(Path(path).resolve()) for path in (store, model)],
        "settings": {"relion": relion, "by": by, "outlier_quantile": quantile},
        "n_clusters": disca.n_clusters_,
    }


def _begin(folder: RunFolder, about: dict[str, Any], overwrite: bool) -> None:
    folder.start("predict", about["settings"], about["inputs"], overwrite=overwrite)


def _decisions_of(model: str | Path) -> list[Decision]:
    """What a person decided about the clusters of a model, beside which it lies.

    Raises
    ------
    InputError
        If these decisions are of other labels.
    """
    folder = RunFolder(Path(model).parent)
    if Path(model).name != folder.model.name or not folder.curation.is_file():
        return []
    every = Curation(folder.path).decisions
    found = of_clusters(every)
    n_left_out = len(in_force(every)) - len(found)
    if n_left_out:
        say(
            f"left out: {counted(n_left_out, 'decision')} about the model's clusters that cannot "
            "hold for others (about single particles, or parts of a cluster that was split)"
        )
    return found


def _write_labels(
    folder: RunFolder, found: Prediction, about: dict[str, Any], decisions: Sequence[Decision]
) -> dict[str, Any]:
    """Write what was predicted, after what was decided about the model's own clusters."""
    posterior = np.where(found.labels < 0, 0.0, found.posterior)
    more = {"outlier_score": found.outlier_score}
    write_labels_csv(folder.labels, found.labels, posterior, more=more)
    labels, n_clusters, n_largest = found.labels, about["n_clusters"], about["n_clusters"]
    decided: dict[str, Any] = {}
    if decisions:
        curated = Curation(folder.path, n_clusters=n_clusters).add(decisions)
        said = counted(len(decisions), "decision")
        say(f"made for these too: {said} about the model's clusters")
        labels, n_clusters = curated.labels, len(curated.known)
        decided = {"decisions": len(decisions)}
    return {
        "n_clusters": n_clusters,
        "sizes": sizes_of(labels, n_largest),
        "in_no_cluster": int((labels < 0).sum()),
        **decided,
    }


def _sorted(
    disca: DISCA,
    source: SubtomogramStore,
    model: Path,
    by: PredictBy | None,
    outlier_quantile: float | None,
    executor: Executor | None,
) -> Prediction:
    from aitom_disca.mining.predicting import Prediction, chunks

    if executor is None:
        return disca.predict_all(source, by=by)
    task = partial(
        _predict_chunk,
        store=source.path.absolute(),
        model=model.absolute(),
        by=by,
        outlier_quantile=outlier_quantile,
        written=(source.path.stat().st_mtime_ns, model.stat().st_mtime_ns),
    )
    return Prediction.joined(in_tasks(task, chunks(len(source)), executor, "predicting"))


def _predict_chunk(rows: np.ndarray, **of_what: Any) -> Prediction:
    return _predictor(**of_what)(rows)


@lru_cache(maxsize=1)  # a process that has another chunk next goes on with what it has
def _predictor(
    store: Path,
    model: Path,
    by: PredictBy | None,
    outlier_quantile: float | None,
    written: tuple[int, int],
) -> Predictor:
    """The model before a store; ``written`` tells files of the same names apart."""
    return _loaded(model, outlier_quantile).predictor(open_store(store), by=by)


def _loaded(model: str | Path, outlier_quantile: float | None) -> DISCA:
    from aitom_disca.mining import DISCA

    disca = DISCA.load(model)
    if outlier_quantile is not None:
        disca.set_params(outlier_quantile=outlier_quantile)
    return disca
