"""Lists of tomograms: MRC files, RELION's tomograms.star, and both."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from aitom_disca.errors import InputError
from aitom_disca.io import open_tomograms, read_tomograms_star, write_volume
from aitom_disca.io.tomograms.tomogram_lists import with_own_names

SHAPE = (6, 9, 5)
HEADER = (
    "\n# version 50001\n\ndata_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoTiltSeriesPixelSize #2\n"
    "_rlnTomoTiltSeriesStarFile #3\n_rlnTomoTomogramBinning #4\n_rlnTomoSizeX #5\n"
    "_rlnTomoSizeY #6\n_rlnTomoSizeZ #7\n_rlnTomoReconstructedTomogram #8\n"
)


@pytest.fixture
def project(tmp_path):
    """A RELION project: paths count from its root, the star file is two folders down."""
    folder = tmp_path / "Tomograms" / "job009"
    for name in ("TS_01", "007"):
        write_volume(folder / f"rec_{name}.mrc", np.zeros(SHAPE), 1.724 * 8.12065)
        rows = "".join(f"{nominal} {aligned}\n" for nominal, aligned in [(-48, -51), (60, 57)])
        (folder / f"{name}.star").write_text(
            f"data_{name}\n\nloop_\n_rlnTomoNominalStageTiltAngle #1\n_rlnTomoYTilt #2\n0 -3\n"
            + rows
        )
    star = folder / "tomograms.star"
    star.write_text(
        HEADER
        + "".join(
            f"{name} 1.724 Tomograms/job009/{name}.star 8.12065 41 73 48 "
            f"Tomograms/job009/rec_{name}.mrc\n"
            for name in ("TS_01", "007")
        )
    )
    return star


def test_tomograms_star(project, caplog):
    first, second = read_tomograms_star(project)
    assert (first.name, second.name) == ("TS_01", "007")
    assert first.voxel_size_angstrom == pytest.approx(14.0000006, abs=1e-9)
    assert first.tilt_range_deg == (-51, 57)
    assert first.info.unbinned_shape_zyx == (48, 73, 41)
    np.testing.assert_allclose(
        first.info.centre_xyz_angstrom, np.array([41, 73, 48]) / 2 * 1.724, rtol=1e-12
    )
    assert not caplog.records


def test_options_override_the_list(project):
    tomogram = read_tomograms_star(
        project, voxel_size_angstrom=14, tilt_range_deg=(-40, 40), dark_protein=True
    )[0]
    assert tomogram.voxel_size_angstrom == 14
    assert tomogram.tilt_range_deg == (-40, 40)
    assert tomogram.dark_protein


def test_nominal_tilts_where_there_are_no_aligned_ones(project):
    tilt_series = project.parent / "TS_01.star"
    tilt_series.write_text("data_TS_01\n\nloop_\n_rlnTomoNominalStageTiltAngle #1\n3\n-48\n60\n")
    assert read_tomograms_star(project)[0].tilt_range_deg == (-48, 60)


def test_tilts_in_the_list_itself_as_in_relion_4(project, caplog):
    (project.parent / "TS_01.star").unlink()
    project.write_text(
        project.read_text() + "\ndata_TS_01\n\nloop_\n_rlnTomoYTilt #1\n-33\n44\n0\n"
    )
    assert read_tomograms_star(project)[0].tilt_range_deg == (-33, 44)


def test_no_tilt_series_gives_the_usual_range(project, caplog):
    (project.parent / "TS_01.star").unlink()
    assert read_tomograms_star(project)[0].tilt_range_deg == (-60, 60)
    assert "does not say its tilt range" in caplog.text


def test_paths_from_the_working_folder(project, monkeypatch, tmp_path):
    moved = tmp_path / "elsewhere" / "list.star"
    moved.parent.mkdir()
    moved.write_text(project.read_text())
    project.unlink()
    monkeypatch.chdir(tmp_path)
    assert len(read_tomograms_star(moved)) == 2


def test_missing_tomogram(project):
    (project.parent / "rec_007.mrc").unlink()
    with pytest.raises(InputError, match=r"rec_007.mrc of tomograms.star is neither"):
        read_tomograms_star(project)


def test_list_without_reconstructions(project):
    project.write_text(project.read_text().replace("_rlnTomoReconstructedTomogram", "_other"))
    with pytest.raises(
        InputError, match=r"one of the columns rlnTomoReconstructedTomogram, .*other"
    ):
        read_tomograms_star(project)


def test_tomogram_not_reconstructed_yet(project):
    project.write_text(project.read_text().replace("Tomograms/job009/rec_007.mrc", "None"))
    with pytest.raises(InputError, match="names no reconstructed tomogram for 007"):
        read_tomograms_star(project)


def test_list_without_names(project):
    project.write_text(project.read_text().replace("_rlnTomoName", "_other"))
    with pytest.raises(InputError, match="needs the column rlnTomoName"):
        read_tomograms_star(project)


def test_mixture(project, tmp_path):
    write_volume(tmp_path / "extra.mrc", np.zeros(SHAPE), 10, tilt_range_deg=(-50, 50))
    tomograms = open_tomograms([tmp_path / "extra.mrc", str(project)])
    assert [t.name for t in tomograms] == ["extra", "TS_01", "007"]


def test_one_name_twice(tmp_path):
    for folder in ("a", "b"):
        write_volume(tmp_path / folder / "t.mrc", np.zeros(SHAPE), 10)
    with pytest.raises(InputError, match="two tomograms are called t "):
        open_tomograms([tmp_path / "a" / "t.mrc", tmp_path / "b" / "t.mrc"])
    infos = [open_tomograms([tmp_path / folder / "t.mrc"])[0].info for folder in ("a", "b")]
    assert [one.name for one in with_own_names(infos, by_any_folder=True)] == ["a/t", "b/t"]
    with pytest.raises(InputError, match="two tomograms are called t "):
        with_own_names([*infos, infos[0]], by_any_folder=True)


def test_folders_tell_tomograms_apart(tmp_path):
    paths = [tmp_path / folder / "rec.mrc" for folder in ("TS_03", "TS_04")]
    for path in paths:
        write_volume(path, np.zeros(SHAPE), 10)
    assert [one.name for one in open_tomograms(paths)] == ["TS_03/rec", "TS_04/rec"]
    assert [one.name for one in open_tomograms(paths[:1])] == ["rec"]
    with pytest.raises(InputError, match="two tomograms are called rec "):
        open_tomograms([*paths, paths[0]])


def test_no_paths():
    with pytest.raises(InputError, match="no tomogram was given"):
        open_tomograms([])


def test_real_list_names_what_is_missing(shared_data):
    with pytest.raises(InputError, match=r"rec_tomo200528_100.mrc of relion5_tomograms.star"):
        read_tomograms_star(shared_data / "star" / "relion5_tomograms.star")


def halves_only(project, second="Tomograms/job009/half2.mrc"):
    """The list with two half tomograms in place of the whole one of TS_01."""
    text = project.read_text().replace("Tomogram #8\n", "TomogramHalf1 #8\n")
    lines = text.replace("Half1 #8\n", "Half1 #8\n_rlnTomoReconstructedTomogramHalf2 #9\n")
    lines = lines.splitlines()[:-1]  # without the second tomogram
    project.write_text("\n".join(lines) + f" {second}\n")


def test_half_tomograms(project, rng):
    folder = project.parent
    one, other = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    for name, volume in (("rec_TS_01", one), ("half2", other)):
        write_volume(folder / f"{name}.mrc", volume, 14.0)
    halves_only(project)
    (tomogram,) = read_tomograms_star(project)
    np.testing.assert_allclose(tomogram.read(), (one + other) / 2, rtol=1e-6)
    sent = pickle.dumps(tomogram)  # to another process
    assert one[0].tobytes() not in sent and other[0].tobytes() not in sent
    np.testing.assert_array_equal(pickle.loads(sent).read(), tomogram.read())
    slices = (slice(1, 3), slice(0, 4), slice(2, 3))
    np.testing.assert_array_equal(tomogram.read(slices), tomogram.read()[slices])
    assert [path.name for path in tomogram.paths] == ["rec_TS_01.mrc", "half2.mrc"]
    write_volume(folder / "half2.mrc", other[:4], 14.0)
    with pytest.raises(InputError, match="half tomograms of TS_01 have different sizes"):
        read_tomograms_star(project)


def test_what_is_nowhere_gives_way_to_what_is_there(tmp_path, rng, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    one, other = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    for name, volume in (("h1", one), ("h2", other), ("denoised", 2 * one)):
        write_volume(tmp_path / f"{name}.mrc", volume, 14.0, tilt_range_deg=(-60, 60))
    columns = ["Tomogram", "TomogramDenoised", "TomogramHalf1", "TomogramHalf2"]
    head = "".join(f"_rlnTomoReconstructed{column}\n" for column in columns)
    for denoised, expected in (("denoised.mrc", 2 * one), ("None", (one + other) / 2)):
        row = f"TS_01 nowhere.mrc {denoised} h1.mrc h2.mrc\n"
        (tmp_path / "list.star").write_text(f"data_global\nloop_\n_rlnTomoName\n{head}{row}")
        (tomogram,) = read_tomograms_star("list.star")
        np.testing.assert_allclose(tomogram.read(), expected, rtol=1e-6)
        assert "nowhere.mrc of TS_01 is nowhere" in caplog.text
        caplog.clear()
    (tmp_path / "list.star").write_text(
        f"data_global\nloop_\n_rlnTomoName\n{head}T a.mrc None h h\n"
    )
    with pytest.raises(InputError, match=r"the tomogram h of list\.star is neither"):
        read_tomograms_star("list.star")


@pytest.mark.parametrize(("second", "match"), [("None", "names one half"), ("no.mrc", "neither")])
def test_one_half_tomogram(project, second, match):
    halves_only(project, second)
    with pytest.raises(InputError, match=match):
        read_tomograms_star(project)


def test_a_size_that_is_another(project, caplog):
    project.write_text(project.read_text().replace("8.12065 41 73 48", "8.12065 41 173 48"))
    read_tomograms_star(project)
    assert caplog.text.count("TS_01 has 5.049 x 21.3 x 5.911 voxels (x, y, z), but its vol") == 1


@pytest.mark.parametrize(
    ("said", "match"),
    [("bin8", "no number as rlnTomoTomogramBinning"), ("0", "binning of 0"), ("inf", "no number")],
)
def test_a_binning_that_cannot_be_used(project, said, match):
    project.write_text(project.read_text().replace("8.12065", said))
    with pytest.raises(InputError, match=match):
        read_tomograms_star(project)
