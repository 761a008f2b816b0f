"""AITom's picking: our functions against its definition, and against AITom where it is at hand."""

from __future__ import annotations

import importlib
import itertools
import sys

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from aitom_disca import bridge
from aitom_disca.cli import main
from aitom_disca.config import PickSettings
from aitom_disca.errors import InputError
from aitom_disca.io import open_tomogram, read_picks, write_volume
from aitom_disca.picking import pick_particles
from aitom_disca.picking.other_picker import Picker
from aitom_disca.picking.peaks import Peaks

NEIGHBOURS = [
    step for step in itertools.product((-1, 0, 1), repeat=3) if 0 < sum(map(abs, step)) <= 2
]


def aitom(module: str):
    """A module of AITom, or a visible skip."""
    try:
        return importlib.import_module(f"aitom.{module}")
    except ImportError as error:
        pytest.skip(f"AITom is not on the path ({error})")


def noise(shape=(13, 16, 19), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def one_by_one(volume: np.ndarray, s1: float, s2: float, sign: int) -> list[tuple]:
    """Maxima of ``sign`` times the filtered volume, voxel by voxel: (value, place)."""
    filtered = ndimage.gaussian_filter(volume, s1) - ndimage.gaussian_filter(volume, s2)
    padded = np.pad(sign * filtered, 1, mode="symmetric")
    found = []
    for place in np.ndindex(filtered.shape):
        value = sign * filtered[place]
        around = [padded[tuple(np.add(place, 1) + step)] for step in NEIGHBOURS]
        if all(value >= other for other in around):
            found.append((float(filtered[place]), place))
    return sorted(found, key=lambda pair: -sign * pair[0])


def places(peaks) -> list[tuple]:
    return [tuple(int(i) for i in peak["x"]) for peak in peaks]


@pytest.mark.parametrize("find_maxima", [True, False])
def test_extrema_are_those_of_the_definition(find_maxima):
    volume = noise()
    peaks = bridge.dog_peaks(volume, 1.2, 1.32, find_maxima=find_maxima)
    expected = one_by_one(volume, 1.2, 1.32, 1 if find_maxima else -1)
    assert len(expected) > 10
    assert [(peak["val"], place) for peak, place in zip(peaks, places(peaks), strict=True)] == (
        expected
    )
    assert len({peak["uuid"] for peak in peaks}) == len(peaks)


def test_axes_are_x_y_z_and_the_narrow_gaussian_is_bright():
    volume = np.zeros((9, 12, 15))
    volume[3, 5, 10] = 1.0
    best = bridge.dog_peaks(volume, 1.0)[0]
    assert places([best]) == [(3, 5, 10)] and best["val"] > 0
    worst = bridge.dog_peaks(-volume, 1.0, find_maxima=False)[0]
    assert places([worst]) == [(3, 5, 10)] and worst["val"] == -best["val"]


def test_a_constant_volume_has_no_peak():
    assert bridge.dog_peaks(np.ones((6, 6, 6)), 1.0) == []


def test_integers_are_not_rounded():
    volume = np.random.default_rng(0).integers(0, 3, (10, 10, 10))
    expected = bridge.dog_peaks(volume.astype(np.float32), 1.0)
    assert places(bridge.dog_peaks(volume, 1.0)) == places(expected)


@pytest.mark.parametrize(("s1", "s2"), [(0, 1), (2, 2), (2, 1)])
def test_sigmas_out_of_order(s1, s2):
    with pytest.raises(InputError, match="0 < s1 < s2"):
        bridge.dog_peaks(noise(), s1, s2)


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), max_size=40), st.floats(-1, 8))
@settings(max_examples=60, deadline=None)
def test_kept_peaks_are_those_of_the_definition(listed, distance):
    peaks = [{"x": list(place), "row": row} for row, place in enumerate(listed)]
    kept: list = []
    for place in listed:
        if all(np.linalg.norm(np.subtract(place, other)) >= distance for other in kept):
            kept.append(place)
    assert places(bridge.filter_peaks(peaks, distance)) == kept


# -- against AITom -----------------------------------------------------------------------------


@pytest.mark.aitom
@pytest.mark.parametrize("find_maxima", [True, False])
@pytest.mark.parametrize("sigmas", [(1.0, 1.1), (2.0, 3.0)])
def test_the_same_extrema_as_aitom(find_maxima, sigmas, capsys):
    util = aitom("pick.dog.particle_picking_dog__util")
    volume = noise((20, 27, 24))
    volume[5:12, 6:9, 7:15] = 4.0  # plateaus, before they are smoothed
    theirs = util.peak__partition(volume, *sigmas, find_maxima=find_maxima)
    ours = bridge.dog_peaks(volume, *sigmas, find_maxima=find_maxima)
    assert len(theirs) > 20
    assert places(ours) == places(theirs)
    assert [peak["val"] for peak in ours] == [peak["val"] for peak in theirs]


@pytest.mark.aitom
def test_the_same_plateaus_as_aitom(capsys):
    util = aitom("pick.dog.particle_picking_dog__util")
    volume = np.zeros((24, 24, 24), np.float32)
    volume[8:10, 8:11, 12] = 5.0  # symmetric: voxels of equal height, and a flat surrounding
    for find_maxima in (True, False):
        theirs = util.peak__partition(volume, 1.0, 1.1, find_maxima=find_maxima)
        assert places(bridge.dog_peaks(volume, 1.0, 1.1, find_maxima=find_maxima)) == places(theirs)


@pytest.mark.aitom
@pytest.mark.parametrize("distance", [0, 1, 1.5, 3, 7])
def test_the_same_survivors_as_aitom(distance):
    choose = aitom("pick.dog.particle_picking_dog__filter").do_filter
    peaks = bridge.dog_peaks(noise((30, 30, 30)), 1.0)
    assert len(peaks) > 100
    assert places(bridge.filter_peaks(peaks, distance)) == places(choose(peaks, distance))


# -- as a picker -------------------------------------------------------------------------------


def write_balls(path, sign=1) -> np.ndarray:
    """A tomogram of bright balls in noise; their centres (z, y, x)."""
    grid = np.indices((24, 32, 40))
    centres = np.array([[8, 9, 10], [15, 22, 12], [12, 16, 30]])
    volume = 0.1 * noise((24, 32, 40))
    for centre in centres:
        volume += ((grid - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 9
    write_volume(path, sign * volume, 10.0, tilt_range_deg=(-60, 60))
    return centres


def ours_as_picker() -> Picker:
    """A picker made of our functions, in AITom's ways."""

    def extrema(volume, sigma, ratio):
        xyz = volume.transpose(2, 1, 0)
        return tuple(
            bridge.aitom_picking.as_peaks(
                bridge.dog_peaks(xyz, sigma, sigma * ratio, find_maxima=sign > 0), sign=sign
            )
            for sign in (1, -1)
        )

    def apart(peaks, distance):
        listed = [{"x": zyx, "row": row} for row, zyx in enumerate(peaks.zyx)]
        return peaks.select(
            np.array([peak["row"] for peak in bridge.filter_peaks(listed, distance)], int)
        )

    return Picker(extrema, apart)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_picker_finds_the_particles(tmp_path, sign):
    centres = write_balls(tmp_path / "t.mrc", sign)
    tomogram = open_tomogram(tmp_path / "t.mrc", dark_protein=sign < 0)
    chosen = PickSettings(particle_diameter_angstrom=60)
    picks = pick_particles(tomogram, chosen, picker=ours_as_picker())
    assert {*map(tuple, picks.center_zyx_px)} == {*map(tuple, centres.astype(float))}
    assert (np.diff(picks.score) <= 0).all()


def test_the_rule_of_aitom_counts_peaks_of_the_whole_volume(tmp_path):
    """T lies C of 20 steps between the lowest and the highest maximum, near the faces as well."""
    write_balls(tmp_path / "t.mrc")
    zyx = np.array([[0, 0, 0], [12, 12, 12], [12, 12, 20], [12, 20, 20], [1, 1, 1]])
    found = Peaks(zyx, np.array([15.0, 9.0, 4.0, -2.0, -5.0]))
    picker = Picker(lambda *_: (found, found.select(np.zeros(0, int))), lambda peaks, _: peaks)
    chosen = PickSettings(particle_diameter_angstrom=60, threshold_rule="aitom")

    def picked(c):
        tomogram = open_tomogram(tmp_path / "t.mrc")
        return pick_particles(tomogram, chosen.changed(threshold=c), picker=picker).score.tolist()

    assert picked(9) == [9.0, 4.0]  # T = -5 + 9 * 20 / 20 = 4
    assert picked(9.1) == [9.0]
    assert picked(2.9) == [9.0, 4.0, -2.0]


def test_peaks_of_minima_become_positive_heights():
    peaks = bridge.aitom_picking.as_peaks([{"x": [1, 2, 3], "val": -4.0}], sign=-1)
    assert peaks.zyx.tolist() == [[3, 2, 1]] and peaks.height.tolist() == [4.0]
    assert isinstance(bridge.aitom_picking.as_peaks([], sign=1), Peaks)


def test_without_aitom_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "aitom.pick.dog.particle_picking_dog__util", None)
    write_balls(tmp_path / "t.mrc")
    arguments = ["t.mrc", "--out", "p.csv", "--picker", "aitom"]
    assert main(["pick", *arguments, "--particle-diameter-angstrom", "60"]) == 2
    said = capsys.readouterr().err
    assert "cannot be imported here" in said and "leave out --picker aitom" in said
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.aitom
def test_the_command_with_aitoms_picker(tmp_path, monkeypatch):
    aitom("pick.dog.particle_picking_dog__util")
    monkeypatch.chdir(tmp_path)
    centres = write_balls(tmp_path / "t.mrc")
    arguments = ["t.mrc", "--out", "p.csv", "--picker", "aitom"]
    assert main(["pick", *arguments, "--particle-diameter-angstrom", "60"]) == 0
    with mrcfile.open(tmp_path / "t.mrc") as file:
        assert file.data.shape == (24, 32, 40)
    picks = read_picks("p.csv", tomograms={"t": open_tomogram("t.mrc").info})
    assert {*map(tuple, picks.center_zyx_px)} == {*map(tuple, centres.astype(float))}
    mine = pick_particles(
        open_tomogram(tmp_path / "t.mrc"),
        PickSettings(particle_diameter_angstrom=60),
        picker=ours_as_picker(),
    )
    np.testing.assert_array_equal(picks.center_zyx_px, mine.center_zyx_px)
    np.testing.assert_allclose(picks.score, mine.score, rtol=1e-5)
