"""RELION of every generation and Warp: what samples hold survives; layouts as RELION counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import starfile
from scipy import ndimage
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, open_store, open_tomogram, read_particles_star, write_volume
from aitom_disca.io.formats import Known, get_format, recognise
from aitom_disca.io.formats.relion.generations import optimisation_set
from aitom_disca.io.formats.relion.relion5 import write_optimisation_set, write_tomograms_star
from aitom_disca.io.formats.relion.star_blocks import texts
from aitom_disca.io.formats.relion.subtomogram_images import (
    export_subtomograms,
    normalise_background,
)
from aitom_disca.io.formats.tomogram_infos import tomogram_infos
from aitom_disca.io.tomograms.wedge_volume import wedge_volume
from aitom_disca.particles import ParticleSet, TomogramInfo

XYZ = [f"rlnCoordinate{axis}" for axis in "XYZ"]
CENTERED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
OUTER = ["rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi"]
ORIGINS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
INFO = TomogramInfo("TS_01", 13.48, (41, 96, 60), tilt_series_pixel_size_angstrom=1.685)

SAMPLES = {  # file: its format, what the layout adds to its columns
    "relion30_subtomo_pixel_origins.star": (
        "relion30",
        {"rlnMagnification", "rlnDetectorPixelSize"},
    ),
    "relion30_warp_subtomo_excerpt.star": ("warp", set()),
    "relion31_warp_m_no_optics.star": ("relion31", {"rlnTomoName"}),
    "relion4_warptools_2dstacks.star": ("relion4", set()),
    "relion5_class3d_2dstacks.star": ("relion5", set()),
    "relion5_refine3d_3d_subtomos.star": ("relion5", set()),
}


def raw(path, name="particles"):
    """A table as it stands in the file, every value as text."""
    labels = [
        w[0][1:] for w in map(str.split, path.read_text().splitlines()) if w and w[0][0] == "_"
    ]
    blocks = starfile.read(path, always_dict=True, parse_as_string=labels)
    return blocks.get(name, blocks.get(""))


def matrices(table, columns):
    euler = table[columns].astype(float).to_numpy()
    return Rotation.from_euler("ZYZ", euler, degrees=True).as_matrix().transpose(0, 2, 1)


def poses(n, rng):
    return Rotation.random(n, random_state=int(rng.integers(1000))).inv().as_euler("ZYZ", True)


@pytest.fixture
def particles(rng):
    center = rng.uniform(5, 40, (6, 3))
    return ParticleSet(
        np.array(["TS_01"] * 6),
        center,
        score=rng.uniform(0, 1e-5, 6),
        euler_zyz_deg=poses(6, rng),
        cluster=np.array([0, 2, 2, -1, 0, 2]),
        posterior=rng.uniform(0, 1, 6),
        box_center_zyx_px=np.floor(center + 0.5),
        tomograms={"TS_01": INFO},
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_keep_every_column(tmp_path, shared_data, name):
    source, (format_name, added) = shared_data / "star" / name, SAMPLES[name]
    found = recognise(source)
    assert found.name == format_name
    known = Known(file_pixel_angstrom=5.0) if "pixel_origins" in name else Known()
    out = tmp_path / name
    assert found.write(out, found.read(source, known), known) == [out]
    assert recognise(out) is found
    before, after = raw(source), raw(out)
    assert set(after) == set(before) | added
    for column in set(before) - set(ANGLES):
        old = pd.to_numeric(before[column], errors="coerce")
        if old.isna().any():
            assert after[column].tolist() == before[column].tolist(), column
            continue
        np.testing.assert_allclose(after[column].astype(float), old, atol=1e-6, rtol=1e-9)
        if before[column].str.fullmatch(r"-?\d+").all():  # whole numbers stay whole
            whole = after[column].str.fullmatch(r"-?\d+").all()
            assert whole or column == "rlnAngleRot", column
    np.testing.assert_allclose(matrices(after, ANGLES), matrices(before, ANGLES), atol=1e-7)
    for block in ("optics", "general"):
        old = starfile.read(source, always_dict=True).get(block)
        if old is not None:
            new = starfile.read(out, always_dict=True)[block]
            assert new == old if isinstance(old, dict) else new.equals(old)


SIZES = {  # unbinned, as options; where files count in unbinned pixels the binning as well
    "relion30_subtomo_pixel_origins.star": Known(file_pixel_angstrom=5.0, binning=2),
    "relion30_warp_subtomo_excerpt.star": Known(binning=4),
    "relion31_warp_m_no_optics.star": Known(file_pixel_angstrom=2.74, binning=2),
    "relion4_warptools_2dstacks.star": Known(),
    "relion5_class3d_2dstacks.star": Known(binning=6),
    "relion5_refine3d_3d_subtomos.star": Known(binning=8),
}


@pytest.mark.parametrize("layout", ["relion30", "relion31", "relion4", "relion5", "warp"])
@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_in_every_layout(tmp_path, shared_data, name, layout):
    """Places in Angstrom, boxes, poses, classes and optics stay what they are."""
    known = replace(SIZES[name], unbinned_shape_zyx=(1201, 4092, 5760))
    source = shared_data / "star" / name
    old = recognise(source).read(source, known)
    path = tmp_path / "a.star"
    get_format(layout).write(path, old, replace(known, file_pixel_angstrom=None))
    by_warp = "relion31_warp" in name or "relion30_warp" in name
    by_warp &= layout == "relion30"  # micrographs called .tomostar say who made the file
    assert recognise(path).name == ("warp" if by_warp else layout)
    new = recognise(path).read(path, replace(known, file_pixel_angstrom=None))
    assert new.tomogram_name.tolist() == old.tomogram_name.tolist()
    for places in ("center_zyx_px", "box_center_zyx_px"):
        before, after = (getattr(one, places) for one in (old, new))
        if before is None and places == "box_center_zyx_px":
            before = old.center_zyx_px
        after = new.center_zyx_px if after is None else after
        if places == "box_center_zyx_px" and layout in ("relion30", "relion31"):
            if "rlnImageName" not in new.more:  # RELION 3 would cut at whole voxels
                moved = np.abs(in_angstrom(after, new) - in_angstrom(before, old))
                assert (moved <= in_angstrom(np.full((1, 3), 0.5), new) + 1e-5).all()
                assert (after == np.round(after)).all()
                continue
        np.testing.assert_allclose(in_angstrom(after, new), in_angstrom(before, old), atol=1e-4)
    turned = (
        Rotation.from_euler("ZYZ", one.euler_zyz_deg, degrees=True).as_matrix()
        for one in (old, new)
    )
    np.testing.assert_allclose(next(turned), next(turned), atol=1e-6)
    if old.cluster is not None:
        assert new.cluster.tolist() == old.cluster.tolist()
    for column in ("rlnRandomSubset", "rlnGroupNumber"):
        if column in old.more:
            assert new.more[column].tolist() == old.more[column].tolist()


def in_angstrom(zyx_px, particles):
    sizes = [particles.tomograms[n].voxel_size_angstrom for n in particles.tomogram_name.tolist()]
    return zyx_px * np.array(sizes)[:, None]


def test_box_centres_and_further_columns(shared_data):
    path = shared_data / "star" / "relion30_subtomo_pixel_origins.star"
    read = read_particles_star(path, voxel_size_angstrom=5)
    table = raw(path)
    np.testing.assert_allclose(read.box_center_zyx_px[:, ::-1], table[XYZ].astype(float))
    assert read.more["rlnRandomSubset"].dtype.kind == "i"
    assert read.more["rlnImageName"].tolist() == table["rlnImageName"].tolist()
    assert not {*XYZ, *ANGLES, "rlnClassNumber", "rlnMicrographName"} & set(read.more)
    plain = get_format("relion30").read(path, Known(file_pixel_angstrom=5))
    assert set(plain.tomogram_name) == {"tomo13_z190_ves_1"}  # without folder and type
    assert plain.more["rlnMicrographName"].tolist() == read.tomogram_name.tolist()


def test_optics_are_kept(shared_data):
    read = read_particles_star(shared_data / "star" / "relion5_class3d_2dstacks.star")
    assert read.more_blocks["relion:optics"]["rlnTomoSubtomogramBinning"].tolist() == [2.0]
    assert read.more_blocks["relion:general"] == {"rlnTomoSubTomosAre2DStacks": 1}


def test_relion_30_layout(tmp_path, particles):
    path = tmp_path / "a.star"
    get_format("relion30").write(path, particles, Known())
    text = path.read_text()
    assert "data_\n" in text and "# version" not in text
    assert text.startswith("# Coordinates count pixels from 0")
    table = starfile.read(path)
    pixel = 1e4 * table["rlnDetectorPixelSize"] / table["rlnMagnification"]
    np.testing.assert_allclose(pixel, 13.48)
    origin = table[["rlnOriginX", "rlnOriginY", "rlnOriginZ"]].to_numpy()
    np.testing.assert_allclose(
        table[XYZ].to_numpy() - origin, particles.center_zyx_px[:, ::-1], atol=1e-6
    )
    assert table[XYZ].to_numpy().tolist() == particles.box_center_zyx_px[:, ::-1].tolist()
    assert table["rlnMicrographName"].unique().tolist() == ["TS_01"]
    assert table["rlnClassNumber"].tolist() == [1, 3, 3, 0, 1, 3]


def test_relion_4_counts_unbinned(tmp_path, particles):
    path = tmp_path / "a.star"
    get_format("relion4").write(path, particles, Known(box_px=32))
    blocks = starfile.read(path)
    table, optics = blocks["particles"], blocks["optics"]
    np.testing.assert_allclose(table[XYZ] / 8, particles.box_center_zyx_px[:, ::-1])
    assert optics["rlnTomoTiltSeriesPixelSize"].tolist() == [1.685]
    assert optics["rlnTomoSubtomogramBinning"].tolist() == [8]
    assert optics["rlnImagePixelSize"].tolist() == [13.48]
    assert optics["rlnImageSize"].tolist() == [32]
    assert table["rlnTomoParticleName"].tolist() == [f"TS_01/{i}" for i in range(1, 7)]
    unbinned = replace(particles, tomograms={"TS_01": TomogramInfo("TS_01", 13.48)})
    with pytest.raises(InputError, match="--binning"):
        get_format("relion4").write(tmp_path / "b.star", unbinned, Known())
    get_format("relion4").write(tmp_path / "b.star", unbinned, Known(binning=8))
    pd.testing.assert_frame_equal(starfile.read(tmp_path / "b.star")["particles"], table)


def test_relion_5_counts_from_the_unbinned_centre(tmp_path, particles):
    """RELION: unbinned pixel = centred / pixel + half the size; binned = unbinned / binning."""
    known = Known(unbinned_shape_zyx=(331, 768, 481), binning=8)
    relion5 = get_format("relion5")
    relion5.write(tmp_path / "a.star", particles, known)
    table = starfile.read(tmp_path / "a.star")
    unbinned = table[CENTERED].to_numpy() / 1.685 + np.array([481, 768, 331]) / 2
    np.testing.assert_allclose(unbinned / 8, particles.box_center_zyx_px[:, ::-1], atol=1e-6)
    shifted = replace(known, centre_offset_px=1)
    relion5.write(tmp_path / "b.star", particles, shifted)
    other = starfile.read(tmp_path / "b.star")[CENTERED].to_numpy()
    np.testing.assert_allclose(other - table[CENTERED].to_numpy(), 1.685, atol=1e-5)
    back = relion5.read(tmp_path / "b.star", replace(shifted, voxel_size_angstrom=13.48))
    np.testing.assert_allclose(back.center_zyx_px, particles.center_zyx_px, atol=1e-6)
    np.testing.assert_allclose(back.box_center_zyx_px, particles.box_center_zyx_px, atol=1e-6)
    unknown = relion5.read(tmp_path / "a.star", Known())
    assert not unknown.has_positions and unknown.box_center_zyx_px is None
    relion5.write(tmp_path / "c.star", unknown, Known())
    again = starfile.read(tmp_path / "c.star")
    np.testing.assert_allclose(again[CENTERED], table[CENTERED], atol=1e-6)
    np.testing.assert_allclose(again[ORIGINS], table[ORIGINS], atol=1e-6)


def test_sizes_from_the_options(shared_data):
    path = shared_data / "star" / "relion5_refine3d_3d_subtomos.star"
    read = get_format("relion5").read(path, Known(unbinned_shape_zyx=(144, 824, 377), binning=4))
    half = np.array([377, 824, 144]) / 2
    expected = (read.centered_xyz_angstrom / 3.105 + half) / 4
    np.testing.assert_allclose(read.center_zyx_px[:, ::-1], expected)
    assert read.tomograms["TS_01"].voxel_size_angstrom == pytest.approx(12.42)


@pytest.mark.parametrize("name", ["relion4", "relion5"])
def test_two_stages_are_split_again(tmp_path, particles, rng, name):
    """Pose = outer * inner; origins count in the frame of the outer stage."""
    outer = poses(6, rng)
    staged = replace(particles, more=dict(zip(OUTER, outer.T, strict=True)))
    path = tmp_path / "a.star"
    get_format(name).write(path, staged, Known())
    table = starfile.read(path)
    table = table["particles"] if isinstance(table, dict) else table
    first, second = matrices(table, OUTER), matrices(table, ANGLES)
    whole = Rotation.from_euler("ZYZ", particles.euler_zyz_deg, degrees=True).inv().as_matrix()
    np.testing.assert_allclose(first @ second, whole, atol=1e-6)
    turned = np.einsum("nij,nj->ni", first, table[ORIGINS].to_numpy())
    moved = (particles.box_center_zyx_px - particles.center_zyx_px)[:, ::-1] * 13.48
    np.testing.assert_allclose(turned, moved, atol=1e-5)
    back = get_format(name).read(path, Known(tomograms={"TS_01": INFO}))
    np.testing.assert_allclose(back.center_zyx_px, particles.center_zyx_px, atol=1e-6)


def test_file_pixel_and_voxel_size(tmp_path, shared_data, caplog):
    path = shared_data / "star" / "relion31_warp_m_no_optics.star"
    relion31 = get_format("relion31")
    plain = relion31.read(path, Known())
    assert "says a pixel size of 10.96 Angstrom, the names of its images 2.74" in caplog.text
    read = relion31.read(path, Known(file_pixel_angstrom=2.74, voxel_size_angstrom=10.96))
    np.testing.assert_allclose(read.box_center_zyx_px, plain.box_center_zyx_px / 4)
    origins = raw(path)[ORIGINS].astype(float).to_numpy()
    moved = (read.box_center_zyx_px - read.center_zyx_px)[:, ::-1] * 10.96
    np.testing.assert_allclose(moved, origins, atol=1e-6)
    # the images have pixels of 2.74 A: coordinates go on counting in them, unless told otherwise
    corrected = relion31.read(path, Known(file_pixel_angstrom=2.74))
    relion31.write(tmp_path / "a.star", corrected, Known())
    blocks = starfile.read(tmp_path / "a.star")
    assert blocks["optics"]["rlnImagePixelSize"].tolist() == [2.74]
    assert set(blocks["particles"]["rlnPixelSize"]) == {2.74}
    np.testing.assert_allclose(blocks["particles"][XYZ], raw(path)[XYZ].astype(float))
    known = Known(voxel_size_angstrom=10.96)
    in_voxels = replace(corrected, tomograms=read.tomograms)
    assert "of pixels of 2.74 A" in get_format("relion30").loses(in_voxels, known)[0]
    relion31.write(tmp_path / "b.star", in_voxels, known)
    blocks = starfile.read(tmp_path / "b.star")
    assert blocks["optics"]["rlnImagePixelSize"].tolist() == [2.74]
    assert blocks["optics"]["rlnMicrographOriginalPixelSize"].tolist() == [10.96]
    np.testing.assert_allclose(blocks["particles"][XYZ], in_voxels.box_center_zyx_px[:, ::-1])


def test_sizes_that_were_rounded(tmp_path, shared_data):
    """Less than 1 % apart, voxels and pixels are the same; each keeps its size."""
    path = shared_data / "star" / "relion30_warp_subtomo_excerpt.star"
    given = {f"tomo200528_{n}": TomogramInfo(f"tomo200528_{n}", 6.9) for n in range(90, 120)}
    read = get_format("warp").read(path, Known(tomograms=given))
    assert read.center_zyx_px[0].tolist() == [208, 398, 806]
    get_format("warp").write(tmp_path / "a.star", read, Known(tomograms=given))
    for column in (*XYZ, "rlnDetectorPixelSize", "rlnPixelSize"):
        old, new = raw(path)[column].astype(float), raw(tmp_path / "a.star")[column].astype(float)
        np.testing.assert_allclose(new, old, rtol=1e-9)
    get_format("relion31").write(tmp_path / "b.star", read, Known(tomograms=given))
    assert starfile.read(tmp_path / "b.star")["optics"]["rlnImagePixelSize"].tolist() == [6.896]


def test_sizes_that_conflict(tmp_path):
    head = "data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n_rlnMicrographName\n"
    (tmp_path / "a.star").write_text(
        head + "_rlnMagnification\n_rlnDetectorPixelSize\n_rlnPixelSize\n1 2 3 TS_01 10000 5 6\n"
    )
    with pytest.raises(InputError, match=r"says two pixel sizes, 5 .* and 6 .*--file-pixel-angst"):
        get_format("relion30").read(tmp_path / "a.star", Known())
    read = get_format("relion30").read(tmp_path / "a.star", Known(file_pixel_angstrom=5))
    assert read.tomograms["TS_01"].voxel_size_angstrom == 5
    (tmp_path / "b.star").write_text(head + "1 2 3 TS_01\n")
    nameless = (tmp_path / "b.star").read_text().replace("_rlnMicrographName", "_rlnSomething")
    (tmp_path / "c.star").write_text(nameless)
    known = Known(file_pixel_angstrom=5, tomogram_name="TS_09")
    assert get_format("relion30").read(tmp_path / "c.star", known).tomogram_name == ["TS_09"]
    with pytest.raises(InputError, match=r"does not say its pixel size; .*--file-pixel-angstrom"):
        get_format("relion30").read(tmp_path / "b.star", Known())


def test_what_is_written(tmp_path):
    assert texts(np.array([1.5, 1e-9, np.nan, 123.4567891])) == [
        "1.500000",
        "1e-09",
        "0.000000",
        "123.4567891",
    ]
    assert texts(np.array([7, 0])) == ["7", "0"]
    path = tmp_path / "a.star"
    info = TomogramInfo("007", 10.0)
    more = {
        "rlnGroupName": np.array(["007", "a b"]),
        "rlnGroupNumber": np.array([3, 4]),
        "cc": [1, 2],
    }
    picks = ParticleSet(np.array(["007"] * 2), np.ones((2, 3)), tomograms={"007": info}, more=more)
    get_format("relion31").write(path, picks, Known())
    assert get_format("relion31").loses(picks, Known()) == ["further columns cc"]
    back = get_format("relion31").read(path, Known())
    assert back.tomogram_name.tolist() == ["007", "007"]
    assert back.more["rlnGroupName"].tolist() == ["007", "a b"]
    assert back.more["rlnGroupNumber"].tolist() == [3, 4]
    assert "cc" not in back.more


@pytest.mark.parametrize("loop", [False, True])
def test_optimisation_sets(tmp_path, monkeypatch, particles, loop):
    (tmp_path / "job").mkdir()
    get_format("relion5").write(tmp_path / "job" / "particles.star", particles, Known())
    write_tomograms_star(tmp_path / "tomograms.star", [INFO])
    path = tmp_path / "job" / "optimisation_set.star"
    write_optimisation_set(path, "job/particles.star", "tomograms.star")
    if loop:
        path.write_text(
            "data_optimisation_set\n\nloop_\n_rlnTomoTomogramsFile #1\n_rlnTomoParticlesFile #2\n"
            '_rlnTomoManifoldsFile #3\ntomograms.star job/particles.star ""\n'
        )
    assert recognise(path).name == "relion5"
    assert optimisation_set(path)["rlnTomoTomogramsFile"] == tmp_path / "tomograms.star"
    read = recognise(path).read(path, Known())
    assert read.tomograms["TS_01"].shape_zyx == INFO.shape_zyx
    np.testing.assert_allclose(read.center_zyx_px, particles.center_zyx_px, atol=1e-6)
    (tmp_path / "job" / "particles.star").unlink()
    with pytest.raises(InputError, match=r"the particles 'job/particles.star' .* are neither"):
        get_format("relion5").read(path, Known())


def test_sizes_of_tomograms_that_are_elsewhere(shared_data):
    infos = tomogram_infos([shared_data / "star" / "relion5_tomograms.star"])
    info = infos["tomo200528_100"]
    assert info.voxel_size_angstrom == pytest.approx(1.724 * 8.12065)
    assert info.unbinned_shape_zyx == (2000, 4000, 4000)
    assert info.shape_zyx == (246, 493, 493)


# Images


@pytest.mark.parametrize("tilts", [(-60, 60), (-51, 57), (-90, 90)])
def test_wedge_volume(tilts):
    n = 12
    wedge = wedge_volume(n, tilts)
    assert wedge.shape == (n, n, n) and wedge.dtype == np.float32
    assert wedge[n // 2, n // 2, n // 2] == 1
    index = (-np.arange(n)) % n  # where RELION looks for the other half
    centred = np.roll(wedge, -(n // 2), (0, 1, 2))
    np.testing.assert_array_equal(centred[np.ix_(index, index, index)], centred)
    for kz, kx in [(1, 4), (-2, 3), (3, 1), (-3, -1), (4, -3)]:  # one plane measures each
        measured = tilts[0] <= np.degrees(np.arctan(kz / kx)) <= tilts[1]
        assert (wedge[n // 2 + kz, :, n // 2 + kx] == measured).all()
    with pytest.raises(InputError, match="even"):
        wedge_volume(13, tilts)


def test_background(rng):
    volumes = rng.normal(7, 3, (2, 16, 16, 16)).astype(np.float32)
    volumes[:, 6:10, 6:10, 6:10] += 50
    z, y, x = np.ogrid[-8:8, -8:8, -8:8]
    outside = normalise_background(volumes)[:, z**2 + y**2 + x**2 > 36]
    np.testing.assert_allclose(outside.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(outside.std(1), 1, rtol=1e-5)


@pytest.fixture
def store(tmp_path, rng):
    """A blob at a fractional place in boxes of 24 voxels of 10 A, reduced to 16 of 15 A."""
    from aitom_disca.config import ExtractSettings
    from aitom_disca.subtomograms.extract import extract_subtomograms

    center = np.array([[20.3, 16.6, 16.9], [22.0, 38.45, 42.7]])
    volume = rng.normal(0, 0.01, (44, 56, 60))
    grid = np.indices(volume.shape).transpose(1, 2, 3, 0)
    for point in center:
        volume += np.exp(-((grid - point) ** 2).sum(-1) / (2 * 2.5**2))
    write_volume(tmp_path / "TS_01.mrc", volume.astype(np.float32), 10.0)
    tomogram = open_tomogram(tmp_path / "TS_01.mrc", tilt_range_deg=(-57, 60))
    picks = ParticleSet(np.array(["TS_01"] * 2), center)
    settings = ExtractSettings(box_px=16, working_voxel_size_angstrom=15.0)
    extract_subtomograms([tomogram], picks, tmp_path / "s.h5", settings)
    with open_store(tmp_path / "s.h5") as opened:
        yield opened


@pytest.mark.parametrize("to", ["relion31", "relion4", "relion5"])
def test_exported_subtomograms(tmp_path, monkeypatch, store, to):
    monkeypatch.chdir(tmp_path)
    known = Known() if to == "relion31" else Known(binning=8)
    paths = export_subtomograms(
        store, tmp_path / "out", store.particles(), "out.star", to=to, known=known
    )
    assert [path.name for path in paths] == ["out.star", "wedge_-57_60.mrc"]
    blocks = starfile.read("out.star")
    table, optics = blocks["particles"], blocks["optics"]
    assert optics["rlnImagePixelSize"].tolist() == [15.0]
    assert ("rlnMicrographOriginalPixelSize" in optics) == (to == "relion31")
    assert optics["rlnImageSize"].tolist() == [16]
    assert optics["rlnImageDimensionality"].tolist() == [3]
    assert {"rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"} <= set(optics)
    assert table["rlnImageName"].tolist() == ["out/TS_01/000001.mrc", "out/TS_01/000002.mrc"]
    assert set(table["rlnCtfImage"]) == {"out/wedge_-57_60.mrc"}
    assert ("rlnTomoName" in table) and (to != "relion31" or "rlnMicrographName" in table)
    wedge = open_tomogram("out/wedge_-57_60.mrc", tilt_range_deg=(-60, 60)).read()
    np.testing.assert_array_equal(wedge, wedge_volume(16, (-57, 60)))
    for row, center in enumerate(store.particles().center_zyx_px):
        opened = open_tomogram(table["rlnImageName"][row], tilt_range_deg=(-60, 60))
        assert opened.voxel_size_angstrom == pytest.approx(15.0)
        bright = np.where(opened.read() > 3, opened.read(), 0)
        # moving the image by +origin centres it
        blob = (np.array(ndimage.center_of_mass(bright)) - 8)[::-1] * 15
        np.testing.assert_allclose(blob, -table[ORIGINS].to_numpy(float)[row], atol=1.5)
        if to != "relion5":
            pixel = {"relion31": 10.0, "relion4": 1.25}[to]
            place = table[XYZ].to_numpy(float)[row] * pixel - table[ORIGINS].to_numpy(float)[row]
            np.testing.assert_allclose(place, center[::-1] * 10, atol=1e-4)
    back = read_particles_star("out.star", tomograms=store.particles().tomograms)
    np.testing.assert_allclose(back.center_zyx_px, store.particles().center_zyx_px, atol=1e-5)


def test_images_that_cannot_be(tmp_path, store):
    with pytest.raises(InputError, match="images go with relion30, relion31"):
        export_subtomograms(store, tmp_path / "o", store.particles(), "o.star", to="warp")
    for to in ("relion4", "relion5"):
        with pytest.raises(InputError, match="--binning, or use --to relion31"):
            export_subtomograms(store, tmp_path / "o", store.particles(), "o.star", to=to)
    box = (9, 9, 8)
    with StoreWriter.create(tmp_path / "odd.h5", box, 10.0, (-60, 60)) as writer:
        writer.append(np.ones((1, *box), np.float32), ParticleSet(np.array(["a"]), np.ones((1, 3))))
    with open_store(tmp_path / "odd.h5") as odd:
        with pytest.raises(InputError, match="cubic images only"):
            export_subtomograms(odd, tmp_path / "o", odd.particles(), tmp_path / "o.star")
    assert not (tmp_path / "o").exists() and not (tmp_path / "o.star").exists()


def test_odd_boxes_keep_their_centre(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    box = (9, 9, 9)
    volumes = rng.normal(size=(1, *box)).astype(np.float32)
    with StoreWriter.create("odd.h5", box, 10.0, (-60, 60)) as writer:
        writer.append(volumes, ParticleSet(np.array(["a"]), np.ones((1, 3))))
    with open_store("odd.h5") as odd:
        export_subtomograms(odd, tmp_path / "o", odd.particles(), "o.star")
    blocks = starfile.read("o.star", always_dict=True)
    image = open_tomogram(blocks["particles"]["rlnImageName"][0], tilt_range_deg=(-60, 60)).read()
    assert image.shape == (8, 8, 8) and blocks["optics"]["rlnImageSize"].tolist() == [8]
    cut = volumes[0, :8, :8, :8]  # voxel 4 is the middle of both
    assert np.corrcoef(image.ravel(), cut.ravel())[0, 1] > 0.999999
    wedge = open_tomogram("o/wedge_-60_60.mrc")
    assert wedge.shape_zyx == (8, 8, 8) and wedge.tilt_range_deg == (-60, 60)


@pytest.mark.parametrize("to", ["relion30", "relion31", "relion4", "relion5", "warp"])
@pytest.mark.parametrize("column", ["rlnVoltage", "rlnPixelSize", "rlnTomoSubtomogramTilt"])
def test_columns_that_are_no_numbers_where_they_are_needed(tmp_path, particles, column, to):
    """One sentence, also where reading made no use of them."""
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnVoltage": [300], "rlnImagePixelSize": 13.48})
    more = {"rlnOpticsGroup": np.ones(6, int), "rlnImageName": np.array(["a.mrc"] * 6)}
    if column in optics:
        optics[column] = "1,5"
    elif column.startswith("rlnTomo"):
        more |= {c: np.array(["x"] * 6) for c in OUTER}
    else:
        more[column] = np.array(["x"] * 6)
    brought = replace(particles, more=more, more_blocks={"relion:optics": optics})
    try:
        get_format(to).write(tmp_path / "a.star", brought, Known(binning=8))
    except InputError as error:
        assert "the star file has no number as rln" in str(error)
