"""Plant real structures, pick, extract, sort, score: the whole way, against the truth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import starfile
from sklearn.metrics import adjusted_rand_score

from aitom_disca.config import MineSettings, RunSettings
from aitom_disca.io import open_store, open_tomogram, read_labels_csv
from aitom_disca.pipeline import run
from aitom_disca.simulation import match_picks

TEMPLATES = ("3j9i", "4v4r", "6rd4")


def test_three_real_structures_are_found_and_sorted(shared_data: Path, tmp_path: Path) -> None:
    maker = shared_data.parent / "tools" / "make_benchmark.py"
    maps = [str(shared_data / "templates" / f"{name}.mrc.gz") for name in TEMPLATES]
    size = ["--size", "190", "180", "90", "--copies", "75", "--voxel-size", "14", "--snr", "0.1"]
    command = [sys.executable, str(maker), "--templates", *maps, "--tomogram", *size]
    subprocess.run([*command, "--out", str(tmp_path / "cell.mrc"), "--seed", "5"], check=True)
    truth = starfile.read(tmp_path / "cell.star")
    true_zyx = truth[["rlnCoordinateZ", "rlnCoordinateY", "rlnCoordinateX"]].to_numpy()

    settings = RunSettings(mine=MineSettings(width=0.25, n_starts=1, max_iterations=2))
    tomogram = open_tomogram(tmp_path / "cell.mrc", tilt_range_deg=(-60, 60))
    folder = run([tomogram], tmp_path / "results", settings)

    labels, _ = read_labels_csv(folder.labels)
    with open_store(folder.store) as store:
        found = store.particles()
    score = match_picks(found.center_zyx_px, true_zyx, tolerance_px=7)
    assert score.precision > 0.9
    assert score.recall > 0.75  # particles at the faces have no whole box
    true_class = truth["rlnClassNumber"].to_numpy()[score.pairs[:, 1]]
    assert adjusted_rand_score(true_class, labels[score.pairs[:, 0]]) > 0.9
    assert labels.max() + 1 == len(TEMPLATES)
    written = starfile.read(folder.star)["particles"]
    np.testing.assert_allclose(
        written[["rlnCoordinateZ", "rlnCoordinateY", "rlnCoordinateX"]], found.center_zyx_px
    )
