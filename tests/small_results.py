"""A folder as a run leaves it, of any size, made in a moment: blobs instead of particles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from aitom_disca.io import write_labels_csv, write_volume
from aitom_disca.io.result_tables import write_rows_csv
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.runs.run_folder import RunFolder

VOXEL_SIZE = 10.0
_BATCH = 20_000


def make_results(folder: Path, n: int = 60, n_clusters: int = 4, box_px: int = 8) -> RunFolder:
    """Labels, store, tomogram, averages, embedding and record; the last three are in no cluster.

    Cluster k holds a blob that is longer the larger k is.
    """
    rng = np.random.default_rng(3)
    files = RunFolder(folder)
    folder.mkdir(exist_ok=True)
    shape = (24, 60, 80)
    write_volume(folder / "TS_1.mrc", rng.normal(size=shape).astype(np.float32), VOXEL_SIZE,
                 tilt_range_deg=(-60, 60))  # fmt: skip
    info = TomogramInfo("TS_1", VOXEL_SIZE, shape, path=folder / "TS_1.mrc")
    labels = np.arange(n) % n_clusters
    labels[-3:] = -1
    places = np.column_stack([rng.uniform(4, size - 4, n) for size in shape])
    score = rng.normal(10, 2, n)
    blobs = np.stack([_blob(box_px, 1 + 0.5 * k) for k in range(n_clusters)])
    known = {"TS_1": info}
    with StoreWriter.create(files.store, (box_px,) * 3, VOXEL_SIZE, (-60, 60), known) as store:
        for start in range(0, n, _BATCH):
            rows = np.arange(start, min(start + _BATCH, n))
            noise = rng.normal(0, 0.2, (len(rows), box_px, box_px, box_px))
            volumes = (blobs[labels[rows]] + noise).astype(np.float32)
            particles = ParticleSet(
                np.full(len(rows), "TS_1"), places[rows], score[rows], tomograms=known
            )
            store.append(volumes, particles)
    write_labels_csv(files.labels, labels, np.where(labels < 0, 0.0, rng.uniform(0.6, 1, n)))
    bic = {str(k): float((k - n_clusters) ** 2) for k in range(1, 8)}
    sizes = np.bincount(labels[labels >= 0]).tolist()
    history = [
        {"iteration": i, "k": n_clusters, "ddbi": 0.2, "label_change": 0.1, "sizes": sizes,
         "kept": i == 2, "bic": bic}
        for i in (1, 2)
    ]  # fmt: skip
    embedding = rng.normal(size=(n, 3)) + 6 * np.eye(3)[labels % 3]
    np.savez(files.clusters, embedding=embedding.astype(np.float32), averages=blobs,
             history=np.array(json.dumps(history)))  # fmt: skip
    _write_averages(files, blobs, sizes)
    return files


def _write_averages(files: RunFolder, blobs: np.ndarray, sizes: list[int]) -> None:
    rows = []
    for k, blob in enumerate(blobs[:-1]):  # the last cluster was not averaged
        own = files.averages / f"cluster_{k + 1:02d}"
        own.mkdir(parents=True)
        write_volume(own / "filtered.mrc", blob, VOXEL_SIZE)
        rows.append({"cluster": k + 1, "members": sizes[k], "resolution": f"{30 + k}.0 A",
                     "resolution_0.143_angstrom": 30.0 + k, "verdict": "more than noise",
                     "p_value": 1e-6})  # fmt: skip
    write_rows_csv(files.averages / "averages.csv", rows)
    stages = {"mine": {"seconds": 1.0}, "average": {"seconds": 1.0, "rows": rows}}
    record = {"command": "run", "inputs": [], "settings": {"dark_protein": False}, "versions": {},
              "stages": stages}  # fmt: skip
    files.record_file.write_text(json.dumps(record))


def _blob(n: int, length: float) -> np.ndarray:
    z, y, x = np.indices((n, n, n)) - n // 2
    return np.exp(-(z**2 + y**2 + (x / length) ** 2) / 3).astype(np.float32)
