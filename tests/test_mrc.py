"""MRC files: every mode, every doubt about the header, every refusal."""

from __future__ import annotations

import bz2
import gzip
import logging
import pickle

import mrcfile
import numpy as np
import pytest
from mrcfile.dtypes import get_ext_header_dtype

from aitom_disca.errors import InputError
from aitom_disca.io import open_tomogram, read_mask, write_volume
from aitom_disca.io.tomogram_names import tomogram_name

SHAPE = (6, 9, 5)  # z, y, x
IMOD_STAMP = 1146047817


@pytest.fixture
def volume(rng):
    return rng.normal(size=SHAPE).astype(np.float32)


def make_mrc(path, data, voxel_size=13.48, **header):
    """An MRC file with header fields set by hand."""
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(data)
        if data.ndim == 3:
            mrc.set_volume()
        mrc.voxel_size = voxel_size
        for name, value in header.items():
            mrc.header[name] = value
    return path


def set_bytes(path, offset, values):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(np.array(values, "<i4").tobytes())


@pytest.mark.parametrize("ending", [".mrc", ".rec", ".map", ".mrc.gz", ".mrc.bz2"])
def test_what_is_written_is_read_back(tmp_path, volume, ending, caplog):
    path = tmp_path / f"TS_01.v2{ending}"
    write_volume(path, volume, 13.48, tilt_range_deg=(-53, 61.25))
    tomogram = open_tomogram(path)
    assert tomogram.name == "TS_01.v2"
    assert tomogram.shape_zyx == SHAPE
    assert tomogram.voxel_size_angstrom == 13.48
    assert tomogram.tilt_range_deg == (-53, 61.25)
    np.testing.assert_array_equal(tomogram.read(), volume)
    assert not caplog.records
    assert not list(tmp_path.glob("*.part*"))


def test_compressed_voxels_are_mapped_and_leave_no_file(tmp_path, volume, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    write_volume(tmp_path / "a.mrc.gz", volume, 10)
    tomogram = open_tomogram(tmp_path / "a.mrc.gz", tilt_range_deg=(-60, 60))
    assert isinstance(tomogram.data[...], np.memmap)
    region = (slice(1, 4), slice(2, 9), slice(0, 3))
    np.testing.assert_array_equal(tomogram.read(region), volume[region])
    del tomogram
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
def test_a_tomogram_is_sent_as_its_place_in_the_file(tmp_path, volume, name, monkeypatch, caplog):
    write_volume(tmp_path / name, volume, 10)
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(open_tomogram(name, tilt_range_deg=(-60, 60), dark_protein=True))
    assert volume[0].tobytes() not in sent
    monkeypatch.chdir("/")
    tomogram = pickle.loads(sent)
    assert tomogram.shape_zyx == SHAPE and tomogram.info.voxel_size_angstrom == 10
    np.testing.assert_array_equal(tomogram.read(), -volume)
    assert not caplog.records


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_modes_and_byte_orders(tmp_path, rng, dtype, order):
    data = rng.integers(0, 100, SHAPE).astype(order + dtype)
    path = make_mrc(tmp_path / "a.mrc", data)
    tomogram = open_tomogram(path)
    read = tomogram.read()
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, data.astype(float))
    assert tomogram.info.shape_zyx == SHAPE


@pytest.mark.parametrize(
    ("stamp", "flags", "dmin", "dmax", "unsigned"),
    [
        (IMOD_STAMP, 0, 0, 100, True),
        (IMOD_STAMP, 1, 0, 200, False),
        (IMOD_STAMP, 4, 0, 200, True),
        (0, 0, 0, 255, True),
        (0, 0, -128, 127, False),
        (0, 0, 3, 90, False),
    ],
)
def test_bytes_of_imod(tmp_path, rng, stamp, flags, dmin, dmax, unsigned):
    stored = rng.integers(0, 256, SHAPE).astype(np.uint8)
    path = make_mrc(tmp_path / "a.rec", stored.view(np.int8), dmin=dmin, dmax=dmax)
    set_bytes(path, 152, [stamp, flags])
    expected = stored if unsigned else stored.view(np.int8)
    np.testing.assert_array_equal(open_tomogram(path).read(), expected)


def test_dark_protein_is_turned_bright(tmp_path, volume):
    path = make_mrc(tmp_path / "a.mrc", volume)
    region = (slice(0, 6), slice(3, 4), slice(1, 5))
    read = open_tomogram(path, dark_protein=True).read(region)
    np.testing.assert_array_equal(read, -volume[region])


def test_reading_gives_a_copy(tmp_path, volume):
    tomogram = open_tomogram(make_mrc(tmp_path / "a.mrc", volume))
    tomogram.read()[:] = 0
    np.testing.assert_array_equal(tomogram.data[...], volume)


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
def test_non_finite_voxels_matter_only_where_read(tmp_path, volume):
    volume[0, 0, :2] = np.nan, np.inf
    tomogram = open_tomogram(make_mrc(tmp_path / "bad.mrc", volume))
    tomogram.read((slice(1, 6), slice(None), slice(None)))
    with pytest.raises(InputError, match="tomogram bad has 2 voxels that are not finite"):
        tomogram.read()


@pytest.mark.parametrize("voxel_size", [0, 1, -3])
def test_unknown_voxel_size(tmp_path, volume, voxel_size, caplog):
    path = make_mrc(tmp_path / "a.mrc", volume, voxel_size)
    with pytest.raises(InputError, match=r"does not say its voxel size .* --voxel-size-angstrom"):
        open_tomogram(path)
    given = open_tomogram(path, voxel_size_angstrom=1, tilt_range_deg=(-60, 60))
    assert given.voxel_size_angstrom == 1
    assert not caplog.records


def test_anisotropic_voxels(tmp_path, volume):
    path = make_mrc(tmp_path / "a.mrc", volume, (10, 10, 10.2))
    with pytest.raises(InputError, match=r"different edges \(x, y, z: 10, 10, 10.2 Angstrom\)"):
        open_tomogram(path)
    path = make_mrc(tmp_path / "b.mrc", volume, (10, 10, 10.05))
    assert open_tomogram(path).voxel_size_angstrom == 10


def test_given_voxel_size_overrides_the_header(tmp_path, volume, caplog):
    path = make_mrc(tmp_path / "a.mrc", volume, 10)
    near = open_tomogram(path, voxel_size_angstrom=10.05, tilt_range_deg=(-60, 60))
    assert near.voxel_size_angstrom == 10.05
    assert not caplog.records
    assert open_tomogram(path, voxel_size_angstrom=13.5).voxel_size_angstrom == 13.5
    assert "13.5 Angstrom, is used although the header has 10 x 10 x 10" in caplog.text


@pytest.mark.parametrize("bad", [0, -2, np.nan])
def test_given_voxel_size_must_be_positive(tmp_path, volume, bad):
    path = make_mrc(tmp_path / "a.mrc", volume)
    with pytest.raises(InputError, match="must be a positive number"):
        open_tomogram(path, voxel_size_angstrom=bad)


@pytest.mark.parametrize("bad", [(60, -60), (-100, 60), (5, 5)])
def test_given_tilt_range_must_be_one(tmp_path, volume, bad):
    path = make_mrc(tmp_path / "a.mrc", volume)
    with pytest.raises(InputError, match=r"the tilt range must be .* --tilt-range"):
        open_tomogram(path, tilt_range_deg=bad)


def test_tilt_range_that_nobody_knows(tmp_path, volume, caplog):
    assert open_tomogram(make_mrc(tmp_path / "a.mrc", volume)).tilt_range_deg == (-60, 60)
    assert "a.mrc does not say its tilt range; -60 to 60" in caplog.text


@pytest.mark.parametrize(("kind", "order"), [("FEI1", "<"), ("FEI2", "<"), ("FEI1", ">")])
def test_tilt_range_of_an_fei_header(tmp_path, volume, kind, order, caplog):
    record = get_ext_header_dtype(kind.encode(), order)
    records = np.zeros(1024, record)  # always 1024, those without an image empty
    records["Alpha tilt"][:41] = np.linspace(-51, 57, 41)
    records["Metadata size"][:41] = record.itemsize
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(volume.astype(order + "f4"))
        mrc.set_volume()
        mrc.voxel_size = 10
        mrc.set_extended_header(records.view("V1"))
        mrc.header.exttyp = kind
    tomogram = open_tomogram(tmp_path / "a.mrc")
    assert tomogram.tilt_range_deg == pytest.approx((-51, 57))
    np.testing.assert_array_equal(tomogram.read(), volume)
    assert not caplog.records
    given = open_tomogram(tmp_path / "a.mrc", tilt_range_deg=(-40, 40))
    assert given.tilt_range_deg == (-40, 40)


def test_files_that_are_no_tomogram(tmp_path, volume):
    with pytest.raises(InputError, match="does not exist"):
        open_tomogram(tmp_path / "none.mrc")
    with pytest.raises(InputError, match="is a folder"):
        open_tomogram(tmp_path)
    (tmp_path / "text.mrc").write_text("once upon a time " * 100)
    (tmp_path / "short.mrc").write_text("short")
    (tmp_path / "empty.mrc").touch()
    (tmp_path / "zeros.mrc").write_bytes(bytes(5000))
    (tmp_path / "packed.mrc").write_bytes(gzip.compress(b"text"))
    for name in ("text", "short", "empty", "zeros", "packed"):
        with pytest.raises(InputError, match=f"{name}.mrc is not an MRC file"):
            open_tomogram(tmp_path / f"{name}.mrc")


def test_a_file_that_may_not_be_read(tmp_path, volume, monkeypatch):
    path = make_mrc(tmp_path / "a.mrc", volume)

    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match=r"a.mrc may not be read"):
        open_tomogram(path)


def test_2d_and_4d_data(tmp_path, rng):
    path = make_mrc(tmp_path / "a.mrc", rng.normal(size=(7, 5)).astype(np.float32))
    with pytest.raises(InputError, match="a single 2D image; expected one 3D tomogram"):
        open_tomogram(path)
    with mrcfile.new(tmp_path / "b.mrc") as mrc:
        mrc.set_data(rng.normal(size=(2, 3, 7, 5)).astype(np.float32))
    with pytest.raises(InputError, match="4D data, a stack of volumes"):
        open_tomogram(tmp_path / "b.mrc")


def test_an_image_stack_header_is_taken_as_a_volume(tmp_path, volume):
    path = make_mrc(tmp_path / "a.mrc", volume, ispg=0)
    np.testing.assert_array_equal(open_tomogram(path).read(), volume)


def test_complex_and_odd_modes(tmp_path, volume):
    path = make_mrc(tmp_path / "a.mrc", volume.astype(np.complex64))
    with pytest.raises(InputError, match=r"complex numbers \(mode 4\)"):
        open_tomogram(path)
    path = make_mrc(tmp_path / "b.mrc", volume, mode=101)
    with pytest.raises(InputError, match="mode 101, which is not read"):
        open_tomogram(path)


def test_axes_in_another_order_are_reported(tmp_path, volume, caplog):
    open_tomogram(make_mrc(tmp_path / "a.mrc", volume, mapc=3, maps=1))
    assert "not stored in the order x, y, z" in caplog.text


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_truncated_files(tmp_path, rng, ending, pack):
    whole = make_mrc(tmp_path / "a.mrc", rng.normal(size=(20, 31, 12)).astype(np.float32))
    content = whole.read_bytes()
    whole.write_bytes(content[:-8])
    with pytest.raises(
        InputError, match="cut short: its header promises 30784 bytes, it has 30776"
    ):
        open_tomogram(whole)
    packed = tmp_path / f"b.mrc{ending}"
    packed.write_bytes(pack(content)[:-2000])
    with pytest.raises(InputError, match=r"b.mrc.* is cut short or damaged; copy it again"):
        open_tomogram(packed)


def test_no_room_to_unpack(tmp_path, volume, monkeypatch):
    write_volume(tmp_path / "a.mrc.gz", volume, 10)

    def full(**_):
        raise OSError("No space left on device")

    with monkeypatch.context() as changed, pytest.raises(InputError, match=r"set TMPDIR"):
        changed.setattr("tempfile.TemporaryFile", full)
        open_tomogram(tmp_path / "a.mrc.gz")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(InputError, match=r"only 0.1 kB are free in .* set TMPDIR"):
        open_tomogram(tmp_path / "a.mrc.gz")


@pytest.mark.parametrize("voxel_size", [0.0, 1.0, 13.48, (10, 10, 14)])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4"])
def test_a_mask_needs_no_more_than_voxels(tmp_path, voxel_size, dtype, caplog):
    inside = np.zeros(SHAPE, bool)
    inside[2:4, 3:8, 1:4] = True
    make_mrc(tmp_path / "mask.mrc", inside.astype(dtype), voxel_size)
    found = read_mask(tmp_path / "mask.mrc")
    assert found.dtype == bool
    np.testing.assert_array_equal(found, inside)
    assert not caplog.records


def test_a_packed_mask(tmp_path, caplog):
    mask = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3
    write_volume(tmp_path / "mask.mrc.gz", -mask, 1.0)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.mrc.gz"), mask > 0)
    assert not caplog.records


def test_what_is_no_mask(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_mask(tmp_path / "none.mrc")
    (tmp_path / "text.mrc").write_text("no MRC")
    with pytest.raises(InputError, match="not an MRC file"):
        read_mask(tmp_path / "text.mrc")


def test_only_volumes_are_written(tmp_path):
    with pytest.raises(ValueError, match="three axes"):
        write_volume(tmp_path / "a.mrc", np.zeros((3, 4)), 10)
    assert not list(tmp_path.iterdir())


def test_names():
    assert tomogram_name("/a/b/TS_01.rec") == "TS_01"
    assert tomogram_name("TS_01_13.48Apx.mrc.gz") == "TS_01_13.48Apx"
    assert tomogram_name("tomo200528_100.mrc.tomostar") == "tomo200528_100"


def test_real_tomogram(shared_data, caplog):
    caplog.set_level(logging.ERROR)
    tomogram = open_tomogram(shared_data / "tomograms" / "microtubule_13pf.mrc")
    assert tomogram.shape_zyx == (36, 206, 94)
    assert tomogram.voxel_size_angstrom == 10.52
    with_template = open_tomogram(shared_data / "templates" / "4v4r.mrc.gz")
    assert with_template.voxel_size_angstrom == 10
    assert with_template.read().max() > 1
