"""Decoded centres of the clusters of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aitom_disca.io import open_store, read_labels_csv, write_volume
from aitom_disca.io.disk.outputs import refuse_existing
from aitom_disca.pipeline.report import finished_run, report_again, store_of
from aitom_disca.runs.run_folder import RunFolder


def decode(path: str | Path, *, epochs: int = 20, overwrite: bool = False) -> RunFolder:
    """Decode the centre of every cluster of a finished run, and the member nearest to it.

    Writes ``decoded/cluster_01_center.mrc``, ``decoded/cluster_01_member.mrc`` and so on, and the
    report again, which shows them.

    Parameters
    ----------
    path : path
        Folder of the run.
    epochs : int
        Passes of the decoder's training over the subtomograms, at most.
    overwrite : bool
        Whether maps may be replaced that are not of an earlier decoding.

    Raises
    ------
    InputError
        If the folder holds no finished run, or its store is gone, or such maps are there.
    """
    from aitom_disca.mining import DISCA
    from aitom_disca.mining.decoded_centres import decode_clusters

    folder = finished_run(path)
    labels, _ = read_labels_csv(folder.labels)
    ours = "decode" in folder.record["stages"]
    refuse_existing(folder.decoded.glob("cluster_*.mrc"), overwrite or ours)

    def work() -> dict[str, Any]:
        disca = DISCA.load(folder.model)
        with open_store(store_of(folder)) as source:
            seed = disca.settings.seed
            decoded = decode_clusters(disca, source, labels, epochs=epochs, seed=seed)
            voxel_size = source.voxel_size_angstrom * source.box_shape_zyx[0]
            voxel_size /= decoded.centers.shape[-1]
            tilts = source.common_tilt_range_deg
        for stale in folder.decoded.glob("cluster_*.mrc"):
            stale.unlink()
        for i, cluster in enumerate(decoded.clusters):
            stem = folder.decoded / f"cluster_{cluster + 1:02d}"
            for name, volumes in (("center", decoded.centers), ("member", decoded.members)):
                write_volume(f"{stem}_{name}.mrc", volumes[i], voxel_size, tilt_range_deg=tilts)
        return {
            "clusters": decoded.clusters.tolist(),
            "members": decoded.member_rows.tolist(),
            "errors": [round(error, 5) for error in decoded.errors],
            "ms_per_subtomogram": round(1000 * decoded.seconds_per_subtomogram, 2),
        }

    folder.record["stages"].pop("decode", None)  # again, if it was done before
    folder.stage("decode", work)
    report_again(path)
    return folder
