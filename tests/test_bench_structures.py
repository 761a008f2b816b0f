"""What the benchmark says of alignment, averages and refinement, on a few small volumes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aitom_disca import classification
from aitom_disca.bench import known_pairs, known_truth, load_templates
from aitom_disca.bench.cases import TEN
from aitom_disca.bench.plain_alignment import turned_plainly
from aitom_disca.classification.judge_known import Pair
from aitom_disca.cli.app import main
from aitom_disca.errors import InputError


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(known_truth, "_BOX_PX", 16)
    monkeypatch.setattr(known_truth, "_VOXEL_ANGSTROM", 20.0)
    monkeypatch.setattr(known_truth, "_PLAIN_STEP_DEG", 40.0)
    monkeypatch.setattr(known_truth, "_PLAIN_VOLUMES", 3)
    monkeypatch.setattr(known_truth, "_FIRST_STEP_DEG", 20.0)
    monkeypatch.setattr(known_truth, "SNRS", (0.5,))
    monkeypatch.setattr(known_truth, "STRUCTURES", (TEN[7],))  # whose stand-in has no symmetry


def test_alignment_is_measured_beside_the_plain_search(tmp_path) -> None:
    (row,) = known_truth.measure_alignment(tmp_path, load_templates(None), n=12)
    assert row["same_median_error_deg"] < row["plain_median_error_deg"]
    assert row["per_minute"] > 0 and row["plain_per_minute"] > 0
    assert row["ratio"] == pytest.approx(row["per_minute"] / row["plain_per_minute"])
    kept = json.loads((tmp_path / "alignment.json").read_text())
    assert kept["rows"] == [row] and kept["machine"]["cores"] >= 1


def test_averages_are_measured(tmp_path, capsys) -> None:
    command = ["bench", "--what", "averages", "--fraction", "0.08", "--out", str(tmp_path)]
    assert main([*command, "--seeds", "0"]) == 0
    row = json.loads((tmp_path / "averages.json").read_text())["rows"][0]
    assert row["n"] == 16 and row["correlation"] > 0.8 and row["seconds"] > 0
    assert "correlation" in capsys.readouterr().out


def test_pairs_of_clusters_are_asked_about(tmp_path, capsys, monkeypatch) -> None:
    """Ten structures, then fifteen clusters; the pairs that are asked about are played."""

    class Sorter:
        def __init__(self, volumes, tilt_range_deg, mask_radius_px, seed) -> None:
            assert len(volumes) == 20 and tilt_range_deg == (-60.0, 60.0) and seed == 3
            self.masked = mask_radius_px == 10

        def judge_known(self, labels):
            if labels.max() == 9:
                return [Pair(0, 1, -3.0, -1.0), Pair(2, 3, -1.0, -1.0)][self.masked :], None
            return [Pair(0, 10, 2.0, -1.0), Pair(2, 11, -4.0, -1.0), Pair(0, 1, -1.5, -1.0)], None

    monkeypatch.setattr(classification, "AlignmentSorter", Sorter)
    command = ["bench", "--what", "merges", "--fraction", "0.04", "--out", str(tmp_path)]
    assert main([*command, "--seeds", "3"]) == 0
    rows = json.loads((tmp_path / "merges.json").read_text())["rows"]
    assert [[row[n] for n in row if n not in ("seed", "seconds")] for row in rows] == [
        [10, False, 0, 0, None, 2, 1, 0.0],
        [10, True, 0, 0, None, 1, 1, 0.0],
        [15, False, 5, 1, -3.0, 1, 0, -0.5],
        [15, True, 5, 1, -3.0, 1, 0, -0.5],
    ]
    assert "said_to_be_one" in capsys.readouterr().out


def test_half_of_every_other_cluster_is_another() -> None:
    labels = known_pairs.in_halves(np.repeat(np.arange(3), 8), seed=1)
    assert np.bincount(labels).tolist() == [4, 8, 4, 4, 4]
    assert set(np.flatnonzero(labels == 3)) < set(range(8))
    assert set(np.flatnonzero(labels == 4)) < set(range(16, 24))
    with pytest.raises(InputError, match="larger --fraction"):
        known_pairs.in_halves(np.arange(3), seed=1)


def test_the_plain_turn_is_a_turn(tmp_path) -> None:
    from scipy.spatial.transform import Rotation

    volume = np.zeros((9, 9, 9))
    volume[4, 4, 7] = 1  # on x
    about_z = Rotation.from_rotvec([0, 0, np.pi / 2])
    turned = turned_plainly(volume, about_z)
    assert np.unravel_index(turned.argmax(), turned.shape) == (4, 7, 4)  # on y
