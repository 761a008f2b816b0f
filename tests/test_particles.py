"""Particle sets: rows chosen and sets joined, with every column."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from aitom_disca.errors import InputError
from aitom_disca.particles import ParticleSet, TomogramInfo, concatenate


def made(n: int, **more: np.ndarray) -> ParticleSet:
    return ParticleSet(np.full(n, "t"), np.arange(3.0 * n).reshape(n, 3), more=more)


def test_further_columns_follow_their_rows() -> None:
    chosen = made(4, dose=np.arange(4)).select(np.array([3, 1]))
    assert chosen.more["dose"].tolist() == [3, 1]
    assert chosen.center_zyx_px[:, 0].tolist() == [9, 3]


def test_sets_are_joined_with_the_further_columns_that_all_hold() -> None:
    joined = concatenate([made(2, a=np.ones(2), b=np.ones(2)), made(1, a=np.zeros(1))])
    assert list(joined.more) == ["a"]
    assert joined.more["a"].tolist() == [1, 1, 0]


def test_a_further_column_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match="row of dose for each of 2 particles, but got 3"):
        made(2, dose=np.zeros(3))


# -- as a data frame -----------------------------------------------------------------------


@pytest.fixture
def everything(rng) -> ParticleSet:
    """Particles of which all is known."""
    columns = {
        name: rng.normal(size=(5, 3))
        for name in (
            "center_zyx_px",
            "euler_zyz_deg",
            "centered_xyz_angstrom",
            "box_center_zyx_px",
        )
    }
    return ParticleSet(
        np.array(["a", "b", "a", "007", "c"]),
        score=rng.normal(size=5),
        cluster=np.array([0, 3, -1, 2, 0]),
        posterior=rng.random(5),
        tomograms={"a": TomogramInfo("a", 10.0)},
        more={"dose": np.arange(5), "grid": np.array(list("xyxyx"))},
        **columns,
    )


def assert_same(one: ParticleSet, other: ParticleSet) -> None:
    for f in fields(ParticleSet):
        if f.name not in ("more", "more_blocks", "tomograms"):
            np.testing.assert_array_equal(getattr(one, f.name), getattr(other, f.name), f.name)
    assert [*one.more] == [*other.more] and one.tomograms == other.tomograms
    for name, column in one.more.items():
        np.testing.assert_array_equal(column, other.more[name])


def test_a_data_frame_and_back(everything, tmp_path) -> None:
    frame = everything.to_frame()
    assert frame["center_x_px"].tolist() == everything.center_zyx_px[:, 2].tolist()
    assert frame["psi_deg"].tolist() == everything.euler_zyz_deg[:, 2].tolist()
    assert frame["centered_x_angstrom"][0] == everything.centered_xyz_angstrom[0, 0]
    assert_same(ParticleSet.from_frame(frame, tomograms=everything.tomograms), everything)
    frame.to_csv(tmp_path / "particles.csv", index=False)
    read = pd.read_csv(tmp_path / "particles.csv", dtype={"tomogram_name": str})
    again = ParticleSet.from_frame(read, tomograms=everything.tomograms)
    np.testing.assert_allclose(again.euler_zyz_deg, everything.euler_zyz_deg)
    assert again.tomogram_name.tolist() == everything.tomogram_name.tolist()


def test_a_data_frame_of_positions_alone() -> None:
    bare = made(3)
    frame = bare.to_frame()
    assert [*frame] == ["tomogram_name", "center_z_px", "center_y_px", "center_x_px"]
    assert_same(ParticleSet.from_frame(frame), bare)
    assert len(ParticleSet.from_frame(frame[:0])) == 0


def test_no_cluster_is_an_empty_cell_too(everything) -> None:
    frame = everything.to_frame()
    frame["cluster"] = pd.array([0, None, -1, 2, 0], "Int64")
    assert ParticleSet.from_frame(frame).cluster.tolist() == [0, -1, -1, 2, 0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop(columns="tomogram_name"), "has no tomogram_name"),
        (lambda f: f.drop(columns="center_y_px"), "has no center_y_px"),
        (
            lambda f: f.drop(columns="tilt_deg"),
            "tilt_deg, psi_deg, but it has no tilt_deg",
        ),
        (lambda f: f.assign(score=["high"] * 5), "numbers in the column score"),
        (lambda f: f.assign(cluster=[0.5] * 5), "whole numbers from 0"),
    ],
)
def test_data_frames_that_are_no_particles(everything, change, said) -> None:
    with pytest.raises(InputError, match=said):
        ParticleSet.from_frame(change(everything.to_frame()))


def test_a_further_column_must_not_hide_one_of_ours() -> None:
    with pytest.raises(InputError, match="other names than rot_deg"):
        made(2, rot_deg=np.zeros(2)).to_frame()  # known of the file alone
