"""RELION star files: what is written, and what is read of every generation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import starfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry import rotation_from_euler_zyz_deg
from aitom_disca.io import (
    open_store,
    read_particles_star,
    write_cluster_stars,
    write_particles_star,
)
from aitom_disca.particles import ParticleSet, TomogramInfo

TOMOGRAMS = {  # three different edges; the second reconstructed at a binning that is no integer
    "TS_01": TomogramInfo("TS_01", 13.48, (41, 96, 60)),
    "007": TomogramInfo("007", 14.0, (49, 91, 64), (-51, 57), None, 1.724, (398.0, 739.0, 520.0)),
}
XYZ = [f"rlnCoordinate{axis}" for axis in "XYZ"]
CENTERED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ORIGINS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]


@pytest.fixture
def particles(rng):
    n = 7
    return ParticleSet(
        np.array(["TS_01", "007"] * 3 + ["TS_01"]),
        rng.uniform(0, 40, (n, 3)).round(6),
        score=rng.uniform(0, 1e-5, n),
        euler_zyz_deg=rng.uniform(-90, 90, (n, 3)).round(6),
        cluster=np.array([0, 2, 2, -1, 0, 2, 2]),
        posterior=rng.uniform(0, 1, n).round(6),
        tomograms=TOMOGRAMS,
    )


def blocks(path):
    return starfile.read(path, always_dict=True, parse_as_string=["rlnTomoName"])


def check_places(table, particles):
    """Boxes at the nearest whole voxel, the rest in the origins: RELION 3 drops fractions."""
    box = table[XYZ].to_numpy()
    np.testing.assert_array_equal(box, np.floor(particles.center_zyx_px[:, ::-1] + 0.5))
    sizes = [TOMOGRAMS[name].voxel_size_angstrom for name in particles.tomogram_name.tolist()]
    origin = table[ORIGINS].to_numpy() / np.array(sizes)[:, None]
    np.testing.assert_allclose(box - origin, particles.center_zyx_px[:, ::-1], atol=1e-6)


def test_relion_31(tmp_path, particles):
    path = tmp_path / "particles.star"
    write_particles_star(path, particles, box_px=24)
    text = path.read_text()
    assert text.count("# version 30001") == 2
    optics, table = blocks(path)["optics"], blocks(path)["particles"]
    check_places(table, particles)
    np.testing.assert_array_equal(table[ANGLES], particles.euler_zyz_deg)
    assert table["rlnTomoName"].tolist() == particles.tomogram_name.tolist()
    assert (table["rlnMicrographName"].astype(str).str[-1] == table["rlnTomoName"].str[-1]).all()
    assert table["rlnClassNumber"].tolist() == [1, 3, 3, 0, 1, 3, 3]
    np.testing.assert_array_equal(table["rlnMaxValueProbDistribution"], particles.posterior)
    np.testing.assert_allclose(table["rlnAutopickFigureOfMerit"], particles.score, rtol=1e-8)
    assert table["rlnOpticsGroup"].tolist() == [1, 2, 1, 2, 1, 2, 1]
    assert optics["rlnImagePixelSize"].tolist() == [13.48, 14.0]
    assert optics["rlnImageSize"].tolist() == [24, 24]
    assert optics["rlnImageDimensionality"].tolist() == [3, 3]
    # with these, RELION 4 and 5 would take the coordinates for unbinned pixels
    assert "rlnTomoTiltSeriesPixelSize" not in text


def test_relion_5(tmp_path, particles):
    path = tmp_path / "particles.star"
    write_particles_star(path, particles, relion="5")
    assert path.read_text().count("# version 50001") == 1
    assert list(blocks(path)) == ["particles"]  # RELION takes the optics from tomograms.star
    table = blocks(path)["particles"]
    assert not set(XYZ) & set(table.columns)
    for i, name in enumerate(particles.tomogram_name):
        info = TOMOGRAMS[name]
        # RELION's own conversion: unbinned pixel = centred / pixel size + half the unbinned size
        pixel = info.tilt_series_pixel_size_angstrom or info.voxel_size_angstrom
        half = np.array((info.unbinned_shape_zyx or info.shape_zyx)[::-1]) / 2
        unbinned = table.loc[i, CENTERED].to_numpy(float) / pixel + half
        binned_zyx = unbinned[::-1] * pixel / info.voxel_size_angstrom
        np.testing.assert_allclose(binned_zyx, particles.center_zyx_px[i], atol=1e-6)


def test_centred_coordinates_are_exact(tmp_path):
    center = np.array([[20.5, 48.0, 30.0], [0, 0, 0]])
    picks = ParticleSet(np.array(["TS_01", "TS_01"]), center, tomograms=TOMOGRAMS)
    write_particles_star(tmp_path / "a.star", picks, relion="5")
    table = blocks(tmp_path / "a.star")["particles"]
    assert table[CENTERED].to_numpy().tolist() == [[0, 0, 0], [-404.4, -647.04, -276.34]]


def test_only_picks(tmp_path):
    picks = ParticleSet(
        np.array(["a b"]),
        np.array([[1, 2, 3]]),
        tomograms={"a b": TomogramInfo("a b", 10, (6, 9, 5))},
    )
    write_particles_star(tmp_path / "a.star", picks)
    table = blocks(tmp_path / "a.star")["particles"]
    assert "rlnClassNumber" not in table
    assert table["rlnTomoName"].tolist() == ["a b"]
    assert (table[ANGLES] == 0).all(axis=None)


def test_writing_is_reproducible(tmp_path, particles):
    write_particles_star(tmp_path / "a.star", particles)
    write_particles_star(tmp_path / "b.star", particles)
    assert (tmp_path / "a.star").read_text() == (tmp_path / "b.star").read_text()
    assert str(np.datetime64("today").astype(object).year) not in (tmp_path / "a.star").read_text()


def test_cluster_stars(tmp_path, particles):
    paths = write_cluster_stars(tmp_path, particles)
    assert [path.name for path in paths] == ["cluster_01.star", "cluster_03.star"]
    assert len(blocks(paths[0])["particles"]) == 2
    third = blocks(paths[1])["particles"]
    check_places(third, particles.select(particles.cluster == 2))
    assert (third["rlnClassNumber"] == 3).all()
    with pytest.raises(InputError, match="have no clusters yet"):
        write_cluster_stars(tmp_path, replace(particles, cluster=None))


@pytest.mark.parametrize("relion", ["3.1", "5"])
def test_round_trip(tmp_path, particles, relion):
    path = tmp_path / "a.star"
    write_particles_star(path, particles, relion=relion)
    read = read_particles_star(path, tomograms=TOMOGRAMS)
    assert read.tomogram_name.tolist() == particles.tomogram_name.tolist()
    np.testing.assert_allclose(read.center_zyx_px, particles.center_zyx_px, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(read.euler_zyz_deg, particles.euler_zyz_deg)
    np.testing.assert_array_equal(read.cluster, particles.cluster)
    np.testing.assert_array_equal(read.posterior, particles.posterior)
    np.testing.assert_allclose(read.score, particles.score, rtol=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-5000, 5000).map(lambda v: round(v, 6)), min_size=3, max_size=3))
def test_six_decimals_survive(tmp_path_factory, center):
    path = tmp_path_factory.mktemp("star") / "a.star"
    picks = ParticleSet(np.array(["TS_01"]), np.array([center]), tomograms=TOMOGRAMS)
    write_particles_star(path, picks)
    check_places(blocks(path)["particles"], picks)


def test_ribosomes_know_only_centred_positions(tmp_path, shared_data):
    with open_store(shared_data / "subtomograms" / "ribosome_24.h5") as store:
        particles = store.particles()
    write_particles_star(tmp_path / "a.star", particles, relion="5")
    table = blocks(tmp_path / "a.star")["particles"]
    np.testing.assert_allclose(table[CENTERED], particles.centered_xyz_angstrom, atol=1e-6)
    with pytest.raises(InputError, match=r"24 of 24 particles have no voxel position.*--relion 5"):
        write_particles_star(tmp_path / "b.star", particles)
    assert not (tmp_path / "b.star").exists()
    read = read_particles_star(tmp_path / "a.star")
    assert not read.has_positions
    np.testing.assert_allclose(
        read.centered_xyz_angstrom, particles.centered_xyz_angstrom, atol=1e-6
    )


def test_positions_that_are_not_known(tmp_path, particles):
    lost = replace(particles, center_zyx_px=np.full((7, 3), np.nan))
    for relion in ("3.1", "5"):
        with pytest.raises(InputError, match="7 of 7 particles have no position"):
            write_particles_star(tmp_path / "a.star", lost, relion=relion)
    sizeless = {name: TomogramInfo(name, 10) for name in TOMOGRAMS}
    with pytest.raises(InputError, match=r"the size of tomogram 007 is unknown.*--relion 3.1"):
        write_particles_star(
            tmp_path / "a.star", replace(particles, tomograms=sizeless), relion="5"
        )
    with pytest.raises(InputError, match="the voxel size of tomogram 007 is unknown"):
        write_particles_star(tmp_path / "a.star", replace(particles, tomograms={}))
    with pytest.raises(InputError, match=r"choose 3.1 or 5"):
        write_particles_star(tmp_path / "a.star", particles, relion="2")


# Reading what others wrote


def test_relion_30_with_pixel_origins(shared_data):
    path = shared_data / "star" / "relion30_subtomo_pixel_origins.star"
    with pytest.raises(InputError, match=r"does not say its pixel size; .*--file-pixel-angstrom"):
        read_particles_star(path)
    read = read_particles_star(path, voxel_size_angstrom=5)
    expected = np.array([602.812 + 10.223163, 1138.678 - 6.581837, 219.334 - 15.971837])
    np.testing.assert_allclose(read.center_zyx_px[0, ::-1], expected, atol=1e-9)
    assert read.tomograms[str(read.tomogram_name[0])].voxel_size_angstrom == 5
    np.testing.assert_allclose(read.euler_zyz_deg[0], [-79.127504, 92.717698, -21.492079])


def test_warp_is_scaled_to_the_tomogram(shared_data, caplog):
    path = shared_data / "star" / "relion30_warp_subtomo_excerpt.star"
    alone = read_particles_star(path)
    assert alone.center_zyx_px[0].tolist() == [208, 398, 806]
    given = {"tomo200528_100": TomogramInfo("tomo200528_100", 13.792, (250, 500, 500))}
    read = read_particles_star(path, tomograms=given)
    assert set(read.tomogram_name) == {"tomo200528_100"}
    np.testing.assert_allclose(read.center_zyx_px[0], np.array([208, 398, 806]) / 2)
    assert "counts in pixels of 6.896 Angstrom, the tomogram has 13.792" in caplog.text
    same = read_particles_star(path, tomograms=given, voxel_size_angstrom=13.792)
    assert same.center_zyx_px[0].tolist() == [208, 398, 806]


def test_angstrom_origins_without_optics(shared_data):
    path = shared_data / "star" / "relion31_warp_m_no_optics.star"
    read = read_particles_star(path)  # its pixel size, 10.96, is that of rlnPixelSize
    raw = starfile.read(path)
    offset = raw[[f"rlnOrigin{axis}Angst" for axis in "ZYX"]].to_numpy() / 10.96
    np.testing.assert_allclose(read.center_zyx_px, raw[XYZ[::-1]].to_numpy() - offset)


def test_warptools_counts_in_particle_pixels(shared_data):
    path = shared_data / "star" / "relion4_warptools_2dstacks.star"
    read = read_particles_star(path)
    assert read.tomograms["Unt_083.tomostar"].voxel_size_angstrom == 12
    np.testing.assert_allclose(read.center_zyx_px[0, ::-1], [494.521, 564.065, 28.146])


def test_relion_4_counts_in_unbinned_pixels(tmp_path):
    (tmp_path / "a.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnTomoTiltSeriesPixelSize #2\n"
        "_rlnTomoSubtomogramBinning #3\n_rlnImagePixelSize #4\n1 1.685 4 6.74\n\n"
        "data_particles\n\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n"
        "_rlnCoordinateZ #4\n_rlnOpticsGroup #5\n_rlnOriginXAngst #6\n_rlnOriginYAngst #7\n"
        "_rlnOriginZAngst #8\nTS_01 80 160 240 1 13.48 0 0\n"
    )
    read = read_particles_star(tmp_path / "a.star", tomograms=TOMOGRAMS)
    np.testing.assert_allclose(read.center_zyx_px, [[30, 20, 9]], rtol=1e-12)


def test_relion_5_refinement(shared_data):
    path = shared_data / "star" / "relion5_refine3d_3d_subtomos.star"
    read = read_particles_star(path)
    np.testing.assert_allclose(
        read.centered_xyz_angstrom[0],
        [-176.940000 + 2.41904, 765.480050 - 2.498456, 11.160000 + 6.78404],
    )
    assert not read.has_positions
    given = {
        name: TomogramInfo(name, 12.42, (36, 206, 94), (-60, 60), None, 3.105, (144, 824, 376))
        for name in ("TS_01", "TS_02")
    }
    placed = read_particles_star(path, tomograms=given)
    # RELION: unbinned pixel = centred / pixel size + half the size, then over the binning of 4
    expected = (read.centered_xyz_angstrom[0] / 3.105 + np.array([376, 824, 144]) / 2) / 4
    np.testing.assert_allclose(placed.center_zyx_px[0, ::-1], expected, rtol=1e-12)


def test_relion_5_two_stage_orientations(shared_data):
    path = shared_data / "star" / "relion5_class3d_2dstacks.star"
    read = read_particles_star(path)
    row = starfile.read(path)["particles"].iloc[0]
    outer, inner = (
        Rotation.from_euler("ZYZ", row[columns].to_numpy(float), degrees=True).as_matrix().T
        for columns in ([f"rlnTomoSubtomogram{a}" for a in ("Rot", "Tilt", "Psi")], ANGLES)
    )
    own = rotation_from_euler_zyz_deg(read.euler_zyz_deg[:1]).as_matrix()[0]
    np.testing.assert_allclose(own, outer @ inner, atol=1e-12)
    origin = row[[f"rlnOrigin{axis}Angst" for axis in "XYZ"]].to_numpy(float)
    centered = row[CENTERED].to_numpy(float)
    np.testing.assert_allclose(read.centered_xyz_angstrom[0], centered - outer @ origin)


def test_imported_poses_in_the_outer_stage_alone(tmp_path, particles):
    path = tmp_path / "a.star"
    write_particles_star(path, particles, relion="5")
    path.write_text(path.read_text().replace("rlnAngle", "rlnTomoSubtomogram"))
    np.testing.assert_array_equal(read_particles_star(path).euler_zyz_deg, particles.euler_zyz_deg)


def test_simulated_truth(tmp_path):
    (tmp_path / "t.star").write_text(
        "\ndata_particles\n\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n"
        "_rlnCoordinateZ #4\n_rlnClassNumber #5\n_className #6\n007 1.5 2 3 2 4v4r\n\n"
    )
    read = read_particles_star(tmp_path / "t.star", tomograms=TOMOGRAMS)
    assert read.center_zyx_px.tolist() == [[3, 2, 1.5]]
    assert read.cluster.tolist() == [1]
    assert read.euler_zyz_deg is None


def test_particles_of_other_tomograms(tmp_path, particles, caplog):
    write_particles_star(tmp_path / "a.star", particles)
    read = read_particles_star(tmp_path / "a.star", tomograms={"007": TOMOGRAMS["007"]})
    np.testing.assert_array_equal(read.center_zyx_px, particles.center_zyx_px[1::2])
    assert "4 of 7 particles are in tomograms that were not given" in caplog.text
    with pytest.raises(InputError, match=r"particles of 007, TS_01, none of the .* \(other\)"):
        read_particles_star(tmp_path / "a.star", tomograms={"other": TOMOGRAMS["007"]})


@pytest.mark.parametrize("relion", ["3.1", "5"])
def test_what_was_written_without_rows_is_read(tmp_path, relion):
    none = ParticleSet(np.zeros(0, str), np.zeros((0, 3)), tomograms=TOMOGRAMS)
    path = tmp_path / "none.star"
    write_particles_star(path, none, relion=relion)
    for tomograms in (None, TOMOGRAMS):
        assert len(read_particles_star(path, tomograms=tomograms)) == 0


def test_a_selection_without_rows_keeps_its_optics(tmp_path, particles):
    path = tmp_path / "none.star"
    write_particles_star(path, particles)
    mark = "# version 30001"
    header, optics, table = path.read_text().split(mark)
    rows = [line for line in table.splitlines() if line.startswith(("TS_01", "007"))]
    assert len(rows) == len(particles)
    for row in rows:
        table = table.replace(row + "\n", "")
    for order in ([optics, table], [table, optics]):  # a comment behind the rows that are not there
        path.write_text(mark.join([header, *order]))
        read = read_particles_star(path, tomograms=TOMOGRAMS)
        assert len(read) == 0 and len(read.more_blocks["relion:optics"]) == 2


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.star"
    with pytest.raises(InputError, match="does not exist"):
        read_particles_star(path)
    path.write_text("nothing of the kind\n")
    with pytest.raises(InputError, match="is not a star file"):
        read_particles_star(path)
    path.write_text("data_\n\nloop_\n_a #1\n_b #2\n1 2\n1 2 3\n")
    with pytest.raises(InputError, match=r"cannot be read as a star file: .*row 2 .*3 val"):
        read_particles_star(path)
    path.write_text("data_\n\nloop_\n_rlnFoo #1\n_rlnBar #2\n1 2\n")
    with pytest.raises(InputError, match=r"one of the columns rlnCoordinateX, .*: rlnBar, rlnFoo"):
        read_particles_star(path)
    path.write_text("data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n1 2\n")
    with pytest.raises(InputError, match="missing: rlnCoordinateZ; found: rlnCoordinateX, rln"):
        read_particles_star(path)
    head = "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n_rlnCoordinateZ #3\n"
    path.write_text(head + "1 2 3\n")
    with pytest.raises(InputError, match="needs the column rlnTomoName or rlnMicrographName"):
        read_particles_star(path)
    path.write_text(head + "_rlnTomoName #4\n1 two 3 TS_01\n")
    with pytest.raises(InputError, match=r"no number as rlnCoordinateY in row 1 .*two"):
        read_particles_star(path, voxel_size_angstrom=10)
    path.write_text(head + "_rlnTomoName #4\n1 nan 3 TS_01\n2 1 3 TS_01\n")
    with pytest.raises(InputError, match="no number as rlnCoordinateY in row 1"):
        read_particles_star(path, voxel_size_angstrom=10)


def test_rows_without_a_group_are_in_the_only_one(tmp_path):
    optics = "data_optics\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n1 10\n"
    table = "\ndata_particles\nloop_\n_rlnTomoName\n_rlnCoordinateX\n_rlnCoordinateY\n"
    table += "_rlnCoordinateZ\nTS_01 6 11 16\n"
    (tmp_path / "a.star").write_text(optics + table)
    info = TomogramInfo("TS_01", 5.0, (40, 50, 60))
    read = read_particles_star(tmp_path / "a.star", tomograms={"TS_01": info})
    assert read.center_zyx_px.tolist() == [[32, 22, 12]]
    (tmp_path / "a.star").write_text(f"{optics}2 20\n{table}")  # which, nothing says
    read = read_particles_star(tmp_path / "a.star", tomograms={"TS_01": info})
    assert read.center_zyx_px.tolist() == [[16, 11, 6]]


@pytest.mark.parametrize("start", ["rlnAngle", "rlnTomoSubtomogram", "rlnOrigin", "rlnOriginAngst"])
@pytest.mark.parametrize("given", [0, 1, 2])
def test_one_column_of_three_is_not_enough(tmp_path, start, given):
    """Nothing of it is left out without a word, whichever it is."""
    of_place = start.startswith("rlnOrigin")
    label = start.replace("Angst", "") + (
        "XYZ"[given] if of_place else ("Rot", "Tilt", "Psi")[given]
    )
    label += "Angst" if start.endswith("Angst") else ""
    labels = ["rlnTomoName", *XYZ, "rlnPixelSize", label]
    text = "".join(f"_{one}\n" for one in labels) + "TS_01 1 2 3 10 4\n"
    (tmp_path / "a.star").write_text(f"data_particles\nloop_\n{text}")
    with pytest.raises(InputError, match=f"missing: .*; found: .*{label}"):
        read_particles_star(tmp_path / "a.star")
