"""Comma-separated tables."""

from __future__ import annotations

import numpy as np
import pytest

from aitom_disca.errors import InputError
from aitom_disca.io import (
    read_labels_csv,
    read_picks,
    read_picks_csv,
    read_rows_csv,
    write_labels_csv,
    write_particles_star,
    write_picks_csv,
    write_rows_csv,
)
from aitom_disca.particles import ParticleSet, TomogramInfo

TOMOGRAMS = {"TS_01": TomogramInfo("TS_01", 13.48, (6, 9, 5))}


def test_labels(tmp_path):
    path = tmp_path / "labels.csv"
    cluster, posterior = np.array([2, -1, 0]), np.array([0.25, 0, 1], np.float32)
    write_labels_csv(path, cluster, posterior)
    assert path.read_text() == "index,cluster,posterior\n0,3,0.25\n1,0,0\n2,1,1\n"
    read_cluster, read_posterior = read_labels_csv(path)
    np.testing.assert_array_equal(read_cluster, cluster)
    np.testing.assert_array_equal(read_posterior, posterior)


def test_labels_with_further_columns(tmp_path):
    path = tmp_path / "labels.csv"
    more = {"outlier_score": np.array([0.5, np.nan]), "agreement": np.array([1.0, 1 / 3])}
    write_labels_csv(path, np.array([0, -7]), np.array([1.0, 0.0]), more=more)
    assert path.read_text().splitlines() == [
        "index,cluster,posterior,outlier_score,agreement",
        "0,1,1,0.5,1",
        "1,0,0,,0.333333333",
    ]
    cluster, posterior = read_labels_csv(path)
    assert cluster.tolist() == [0, -1] and posterior.tolist() == [1, 0]
    assert read_rows_csv(path)[1]["agreement"] == "0.333333333"


def test_labels_without_posteriors_in_another_order(tmp_path):
    path = tmp_path / "labels.csv"
    write_labels_csv(path, np.array([1, 0]))
    path.write_text("cluster,index\n1,1\n2,0\n")
    cluster, posterior = read_labels_csv(path)
    assert cluster.tolist() == [1, 0]
    assert posterior is None


@pytest.mark.parametrize("rows", ["0,1\n0,1\n", "0,1\n2,1\n"])
def test_labels_with_a_wrong_index(tmp_path, rows):
    (tmp_path / "a.csv").write_text("index,cluster\n" + rows)
    with pytest.raises(InputError, match="every index from 0 to 1 once"):
        read_labels_csv(tmp_path / "a.csv")


def test_picks(tmp_path):
    center = np.array([[1.5, 2, 1234.123456], [0, 5, 7]])
    picks = ParticleSet(np.array(["TS_01", "007"]), center, score=np.array([1e-9, 2.5]))
    write_picks_csv(tmp_path / "picks.csv", picks)
    read = read_picks_csv(tmp_path / "picks.csv")
    assert read.tomogram_name.tolist() == ["TS_01", "007"]
    np.testing.assert_array_equal(read.center_zyx_px, center)
    np.testing.assert_array_equal(read.score, picks.score)
    some = read_picks_csv(tmp_path / "picks.csv", tomograms=TOMOGRAMS)
    assert some.tomograms == TOMOGRAMS
    np.testing.assert_array_equal(some.center_zyx_px, center[:1])
    with pytest.raises(InputError, match=r"none of the tomograms given \(other\)"):
        read_picks_csv(tmp_path / "picks.csv", tomograms={"other": TOMOGRAMS["TS_01"]})
    write_picks_csv(tmp_path / "bare.csv", ParticleSet(picks.tomogram_name, center))
    assert read_picks_csv(tmp_path / "bare.csv").score is None


def test_picks_of_either_kind(tmp_path):
    picks = ParticleSet(np.array(["TS_01"]), np.array([[1, 2, 3.25]]), tomograms=TOMOGRAMS)
    write_picks_csv(tmp_path / "a.csv", picks)
    write_particles_star(tmp_path / "a.star", picks)
    for ending in ("csv", "star"):
        read = read_picks(tmp_path / f"a.{ending}", tomograms=TOMOGRAMS)
        np.testing.assert_array_equal(read.center_zyx_px, picks.center_zyx_px)
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(InputError, match=r"a.txt is of no particle format"):
        read_picks(tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"b.star does not exist"):
        read_picks(tmp_path / "b.star")


def test_tables_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(InputError, match="does not exist"):
        read_picks_csv(path)
    path.write_text("tomogram,x,y\na,1,2\n")
    with pytest.raises(InputError, match="missing: z; found: tomogram, x, y"):
        read_picks_csv(path)
    path.write_text("tomogram,x,y,z\n")
    with pytest.raises(InputError, match="holds no rows"):
        read_picks_csv(path)
    path.write_text("tomogram,x,y,z\na,1,two,3\n")
    with pytest.raises(InputError, match=r"no number as y in row 1 .*two"):
        read_picks_csv(path)
    path.write_text("")
    with pytest.raises(InputError, match="found: none"):
        read_labels_csv(path)


def test_rows_with_different_keys(tmp_path):
    write_rows_csv(tmp_path / "h.csv", [{"iteration": 0, "k": 5}, {"iteration": 1, "ddbi": 0.5}])
    assert (tmp_path / "h.csv").read_text() == "iteration,k,ddbi\n0,5,\n1,,0.5\n"


def test_a_table_in_another_encoding(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("tomogram,x,y,z\nT,1,2,3\n".encode("utf-16"))
    assert read_picks(path).center_zyx_px.tolist() == [[3, 2, 1]]
