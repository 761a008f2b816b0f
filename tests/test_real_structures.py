"""Plant real structures, pick, extract, sort, average, score: the whole way, against the truth.

With phantoms and in a small tomogram `test_demo.py` goes this way whenever pytest runs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import starfile
from sklearn.metrics import adjusted_rand_score

from aitom_disca.averaging import compare_with_map
from aitom_disca.config import (
    AverageSettings,
    ExtractSettings,
    MineSettings,
    PickSettings,
    RunSettings,
)
from aitom_disca.io import (
    open_store,
    open_tomogram,
    read_labels_csv,
    read_rows_csv,
    write_particles_star,
    write_volume,
)
from aitom_disca.pipeline import run
from aitom_disca.simulation import match_picks, read_template, simulate_tomogram

TEMPLATES = ("3j9i", "4v4r", "6rd4")


def correlations(folder, shared_data: Path, names: tuple[str, ...]) -> np.ndarray:
    """Of every average with every structure, shape (clusters, structures)."""
    found = []
    for row in read_rows_csv(folder.averages / "averages.csv"):
        path = folder.averages / f"cluster_{int(row['cluster']):02d}" / "average.mrc"
        average = open_tomogram(path, tilt_range_deg=(-90, 90))
        voxel = average.voxel_size_angstrom
        maps = [read_template(shared_data / "templates" / f"{name}.mrc.gz") for name in names]
        sizes = {"voxel_size_angstrom": voxel, "known_voxel_size_angstrom": voxel}
        box = average.shape_zyx[0]
        compared = [compare_with_map(average.read(), m.density(box, voxel), **sizes) for m in maps]
        found.append([one.correlation for one in compared])
    return np.array(found)


@pytest.mark.full
def test_three_real_structures_are_found_and_sorted(shared_data: Path, tmp_path: Path) -> None:
    maker = shared_data.parent / "tools" / "make_benchmark.py"
    maps = [str(shared_data / "templates" / f"{name}.mrc.gz") for name in TEMPLATES]
    size = ["--size", "190", "180", "90", "--copies", "75", "--voxel-size", "14", "--snr", "0.1"]
    command = [sys.executable, str(maker), "--templates", *maps, "--tomogram", *size]
    subprocess.run([*command, "--out", str(tmp_path / "cell.mrc"), "--seed", "5"], check=True)
    truth = starfile.read(tmp_path / "cell.star")
    true_zyx = truth[["rlnCoordinateZ", "rlnCoordinateY", "rlnCoordinateX"]].to_numpy()

    settings = RunSettings(
        mine=MineSettings(width=0.25, n_starts=1, max_iterations=2),
        average=AverageSettings(null_test="none"),
    )
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
    box, moved = (
        written[[name.format(axis) for axis in "ZYX"]].to_numpy()
        for name in ("rlnCoordinate{}", "rlnOrigin{}Angst")
    )
    place = box - moved / tomogram.voxel_size_angstrom
    np.testing.assert_allclose(place, found.center_zyx_px, atol=1e-4)

    # Few copies of each: the averages are poor, but not mistaken for one another.
    alike = correlations(folder, shared_data, TEMPLATES)
    assert sorted(alike.argmax(axis=1)) == [0, 1, 2]
    assert alike.max(axis=1).min() > 0.75
    assert (folder.embedded / "cell_density.mrc").exists()


@pytest.mark.full
def test_a_tomogram_becomes_averages_that_are_its_structures(
    shared_data: Path, tmp_path: Path
) -> None:
    """One command, SNR 0.1, more than 60 copies of each: every average is its template."""
    names = ("4v4r", "2uv8", "3j9i")
    templates = [read_template(shared_data / "templates" / f"{name}.mrc.gz") for name in names]
    made = simulate_tomogram(
        templates, 330, (110, 380, 380), 12.0, 0.1, seed=0, gap_px=3, border_px=3, name="three"
    )
    write_volume(tmp_path / "three.mrc", made.volume, 12.0, tilt_range_deg=(-60, 60))
    write_particles_star(tmp_path / "truth.star", made.truth)
    size = {"particle_diameter_angstrom": 180.0}
    settings = RunSettings(pick=PickSettings(**size), extract=ExtractSettings(**size, box_px=32))
    folder = run([open_tomogram(tmp_path / "three.mrc")], tmp_path / "results", settings)
    alike = correlations(folder, shared_data, names)
    assert sorted(alike.argmax(axis=1)) == [0, 1, 2]
    assert alike.max(axis=1).min() >= 0.9
    rows = folder.record["stages"]["average"]["rows"]
    assert all(row["members"] >= 60 and row["p_value"] < 1e-6 for row in rows)
    assert (folder.embedded / "three.cxc").exists()
