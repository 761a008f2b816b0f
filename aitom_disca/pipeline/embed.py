"""The averages of a run, put back into its tomograms."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from aitom_disca.reembedding import embed_averages
from aitom_disca.runs.run_folder import RunFolder


def embed_clusters(
    folder: RunFolder, store: str | Path, executor: Executor | None = None
) -> dict[str, Any]:
    """Put every average back where its members lie; tomograms are tasks of the executor."""
    if not folder.averages.is_dir():
        return {"tomograms": 0, "particles": 0}
    embedded = embed_averages(
        store, folder.averages, folder.embedded, overwrite=True, executor=executor
    )
    return {
        "tomograms": len(embedded),
        "particles": sum(one.n_particles for one in embedded),
    }
