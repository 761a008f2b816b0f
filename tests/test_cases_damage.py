"""Inputs that are damaged, cut or exchanged are noticed: no value is taken from elsewhere."""

from __future__ import annotations

import json
import os
import struct
import unicodedata
from dataclasses import replace

import h5py
import numpy as np
import pytest

from aitom_disca import pipeline
from aitom_disca.bridge.pickles import write_pickle
from aitom_disca.bridge.store_pickles import import_store
from aitom_disca.bridge.write_files import subvolumes_of
from aitom_disca.config import ExtractSettings, PickSettings, RunSettings
from aitom_disca.errors import InputError
from aitom_disca.io import (
    StoreWriter,
    open_store,
    open_tomogram,
    read_labels_csv,
    read_rows_csv,
    write_particles_star,
    write_volume,
)
from aitom_disca.io.disk import file_marks
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats import NAMES, Known, get_format, recognise
from aitom_disca.io.tomograms.defocus import read_defocus_file
from aitom_disca.io.tomograms.mrc import read_mask
from aitom_disca.io.tomograms.tilt_angles import read_tilts
from aitom_disca.mining.checkpoint import Checkpoint
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.picking.kept_picks import read_candidates
from aitom_disca.pipeline.average_inputs import map_names
from aitom_disca.reembedding import embed_averages
from aitom_disca.report.collect import _nuisance, _sorted
from aitom_disca.runs.run_folder import RunFolder
from aitom_disca.subtomograms import extract_subtomograms
from aitom_disca.subtomograms.from_files import import_subtomograms

VOXEL_ANGSTROM = 20.0
SETTINGS = RunSettings(
    pick=PickSettings(particle_diameter_angstrom=200),
    extract=ExtractSettings(particle_diameter_angstrom=200, box_px=12),
    until="mine",
)


def tomogram(path, seed=0, tilt=60, shape=(24, 40, 40)):
    """A tomogram of spots in noise, written."""
    rng = np.random.default_rng(seed)
    volume = rng.normal(size=shape)
    for z, y, x in rng.integers(6, np.array(shape) - 6, (12, 3)):
        volume[z - 3 : z + 3, y - 3 : y + 3, x - 3 : x + 3] += 4
    write_volume(path, volume, VOXEL_ANGSTROM, tilt_range_deg=(-tilt, tilt))
    return open_tomogram(path)


# -- --resume with other inputs ------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """A run that was killed before its sorting, and how to go on with it."""
    monkeypatch.chdir(tmp_path)
    one = tomogram("t.mrc")
    (tmp_path / "p.csv").write_text("tomogram,z,y,x\nt,12,20,20\nt,12,21,15\n")
    (tmp_path / "t_m.mrc").write_bytes((tmp_path / "t.mrc").read_bytes())

    def kill(*_):
        raise Killed

    for module in (pipeline.run_stages, pipeline.mine_clusters):
        monkeypatch.setattr(module, "mine_clusters", kill)

    def go(settings, opened=one, **options):
        with pytest.raises(Killed):
            pipeline.run([opened], "r", settings, **options)

    return go


def refused(settings, match, opened=None):
    before = (RunFolder("r").record_file).read_bytes()
    with pytest.raises(InputError, match=match):
        pipeline.run([opened or open_tomogram("t.mrc")], "r", settings, resume=True)
    assert RunFolder("r").record_file.read_bytes() == before


def test_a_run_is_not_gone_on_with_in_another_tomogram(killed, tmp_path):
    killed(SETTINGS)
    contents = (tmp_path / "t.mrc").read_bytes()
    tomogram("t.mrc", seed=1)
    refused(
        SETTINGS, r"t\.mrc is not what it was in the run in r \(other contents.*put the earlier"
    )
    (tmp_path / "t.mrc").write_bytes(contents)  # another time, the same contents
    os.utime("t.mrc", (1, 1))
    killed(SETTINGS, resume=True)
    (tmp_path / "t.mrc").write_bytes(contents + b"\0")
    refused(SETTINGS, r"t\.mrc is not what it was .*bytes then")
    tomogram("t.mrc", tilt=50)
    refused(SETTINGS, r"other voxel sizes, tilts or optics of its inputs \(.*60.*50")


@pytest.mark.parametrize(
    ("part", "file"), [("picks", "p.csv"), ("pick_on", "t_m.mrc"), ("membranes", "t_m.mrc")]
)
def test_a_run_is_not_gone_on_with_other_files(killed, tmp_path, part, file):
    settings = SETTINGS.model_copy(update={part: (file,)})
    if part == "membranes":
        pick = SETTINGS.pick.model_copy(update={part: (file,)})
        settings = SETTINGS.model_copy(update={"pick": pick})
        write_volume(file, np.zeros((24, 40, 40)), VOXEL_ANGSTROM)
    killed(settings)
    killed(settings, resume=True)
    data = bytearray((tmp_path / file).read_bytes())
    data[-2] ^= 1
    (tmp_path / file).write_bytes(data)
    refused(settings, rf"{file} is not what it was")


def test_picks_that_refer_to_other_files_are_looked_into(killed, tmp_path):
    star = "data_\n\nloop_\n_rlnMicrographName\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n"
    (tmp_path / "own.star").write_text(f"{star}t.mrc 20 20 12\nt.mrc 15 21 12\n")
    (tmp_path / "set.star").write_text("data_\n\n_rlnTomoParticlesFile own.star\n")
    settings = SETTINGS.model_copy(update={"picks": ("set.star",), "file_pixel_angstrom": 20.0})
    killed(settings)
    (tmp_path / "own.star").write_text(f"{star}t.mrc 20 20 12\nt.mrc 15 22 12\n")
    refused(settings, r"own\.star is not what it was")


def test_a_run_goes_on_with_its_own_store_only(killed, tmp_path):
    killed(SETTINGS)
    kept = (tmp_path / "r/subtomograms.h5").read_bytes()
    killed(SETTINGS, opened=tomogram("t.mrc", seed=3), overwrite=True)
    (tmp_path / "r/subtomograms.h5").write_bytes(kept)
    refused(SETTINGS, r"subtomograms\.h5 is not what it was in the run")


def test_a_sorting_is_not_gone_on_with_in_another_store(killed, tmp_path):
    killed(SETTINGS)
    (tmp_path / "r/subtomograms.h5").rename(tmp_path / "s.h5")
    with pytest.raises(Killed):
        pipeline.mine("s.h5", "mined")
    killed(SETTINGS, opened=tomogram("t.mrc", seed=3), overwrite=True)
    (tmp_path / "r/subtomograms.h5").replace(tmp_path / "s.h5")
    with pytest.raises(InputError, match=r"s\.h5 is not what it was in the run in mined"):
        pipeline.mine("s.h5", "mined", resume=True)
    folder = RunFolder.open("mined")
    with pytest.raises(InputError, match=r"s\.h5 is not what it was in the run in mined"):
        pipeline.report.store_of(folder)


def test_large_files_and_folders_are_looked_into_by_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(file_marks, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(file_marks, "_BLOCK_BYTES", 10)
    data = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8)
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "large"
    file.write_bytes(data.tobytes())
    marks = [file_marks.mark_of(path) for path in (file, file.parent)]
    assert marks[0]["bytes"] == marks[1]["bytes"] == 5000
    for changed in (data[::-1], data[:-1], np.concatenate([data[:-1], data[-1:] + 1])):
        file.write_bytes(changed.tobytes())
        assert file_marks.difference(marks[0], file_marks.mark_of(file))
    (tmp_path / "a" / "large").write_bytes(data.tobytes())
    assert [
        file_marks.difference(was, file_marks.mark_of(p))
        for was, p in zip(marks, (file, file.parent), strict=True)
    ] == [None, None]
    (tmp_path / "a" / "more").touch()
    assert file_marks.difference(marks[1], file_marks.mark_of(file.parent))
    assert file_marks.difference(None, None) is None
    assert file_marks.difference(marks[0], file_marks.mark_of("nowhere")) == "it is gone"


# -- damaged stores, checkpoints and models ------------------------------------------------


def particles(names, seed=0):
    rng = np.random.default_rng(seed)
    infos = {str(n): TomogramInfo(str(n), VOXEL_ANGSTROM, (40, 60, 60)) for n in set(names)}
    places = rng.uniform(10, 30, (len(names), 3))
    score = rng.normal(size=len(names))
    return ParticleSet(np.array(names), places, score, tomograms=infos)


def store(path, names=("a", "a", "b", "b", "b")):
    rng = np.random.default_rng(1)
    with StoreWriter.create(path, (6, 6, 6), VOXEL_ANGSTROM, (-60, 60)) as writer:
        writer.append(rng.normal(size=(len(names), 6, 6, 6)).astype("f4"), particles(names))
    return path


def all_of(path):
    """Everything that a store says."""
    with open_store(path) as source:
        found = source.particles()
        held = [source.voxel_size_angstrom, source.tilt_range_deg, source.read()]
    return [*held, found.tomogram_name, found.center_zyx_px, found.score, found.tomograms]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_no_bit_of_a_store_changes_unnoticed(tmp_path):
    path = store(tmp_path / "s.h5")
    whole, right = path.read_bytes(), all_of(path)
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.choice(np.flatnonzero(np.frombuffer(whole, np.uint8)), 150, replace=False):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            assert same(all_of(path), right), at  # room that is not used
        except InputError:
            refused += 1
    assert refused > 50


def test_volumes_that_a_store_lost_are_no_zeros(tmp_path):
    path = store(tmp_path / "s.h5")
    with h5py.File(path, "a") as file:
        del file["crc32"]  # as stores of earlier versions, and of other programs
        del file["subtomograms"]
        lost = file.create_dataset("subtomograms", (5, 6, 6, 6), "f4", chunks=(1, 6, 6, 6))
        lost[:3] = 1
    with pytest.raises(InputError, match=r"of 5 pieces of /subtomograms it holds 3"):
        open_store(path)
    path = store(tmp_path / "t.h5")
    with h5py.File(path, "a") as file:
        file["subtomograms"][3, 2, 2, 2] += 1
    with open_store(path) as source:
        assert len(source.read([0, 1])) == 2
        with pytest.raises(InputError, match=r"1 subtomograms differ from their checksum .*3"):
            source.read()


@pytest.mark.parametrize("where", ["score", "tomogram_name", "attribute"])
def test_what_a_store_says_of_its_volumes_is_checked(tmp_path, where):
    path = store(tmp_path / "s.h5")
    with h5py.File(path, "a") as file:
        if where == "attribute":
            file.attrs["voxel_size_angstrom"] = 21.0
        else:
            file[where][1] = b"b" if where == "tomogram_name" else 3.0
    with pytest.raises(InputError, match="differs from its checksum"):
        all_of(path)
    with h5py.File(path, "a") as file:  # whoever changes it may say so
        del (file if where == "attribute" else file[where]).attrs["crc32"]
    all_of(path)


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path, caplog):
    path = tmp_path / "checkpoint.h5"
    Checkpoint(path, "a").save("first", {"value": np.arange(1000.0)})
    whole = path.read_bytes()
    at = whole.index(np.arange(1000.0).tobytes()) + 800
    path.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    kept = Checkpoint(path, "a")
    assert "checkpoint.h5 is damaged" in caplog.text
    assert kept.load("first") is None
    kept.save("second", {"value": np.arange(3)})
    assert Checkpoint(path, "a").load("first") is None
    assert Checkpoint(path, "a").load("second") is not None


# -- damaged results of a run ----------------------------------------------------------------


def test_chunks_that_a_zarr_tomogram_lost_are_no_zeros(tmp_path):
    zarr = pytest.importorskip("zarr")
    axes = [{"name": axis, "type": "space", "unit": "angstrom"} for axis in "zyx"]
    scale = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [10.0] * 3}]}
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    array = group.create_array("0", shape=(20, 24, 24), chunks=(8, 8, 8), dtype="f4")
    volume = np.random.default_rng(0).normal(size=array.shape)
    volume[:, :, 14:] = 0  # a margin that a writer leaves out
    array[...] = volume
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [scale], "version": "0.4"}]
    assert len([*(tmp_path / "a.zarr/0").glob("[0-9]*")]) == 18
    open_tomogram(tmp_path / "a.zarr", tilt_range_deg=(-60, 60)).read()
    chunk = tmp_path / "a.zarr/0/2.1.0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.zarr is damaged: its chunk 2\.1\.0 has .* of .*copy"):
        open_tomogram(tmp_path / "a.zarr", tilt_range_deg=(-60, 60))
    chunk.write_bytes(bytes(len(whole)))
    damaged = open_tomogram(tmp_path / "a.zarr", tilt_range_deg=(-60, 60))
    with pytest.raises(InputError, match=r"a\.zarr cannot be read as OME-Zarr.*copy it again"):
        damaged.read()
    chunk.unlink()
    with pytest.raises(InputError, match=r"lacks 10 of its 27 chunks \(the first is 2\.1\.0\)"):
        open_tomogram(tmp_path / "a.zarr", tilt_range_deg=(-60, 60))


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\3\4", b"not a zip", {}, {"history": "[]"}, {"embedding": np.zeros((9, 2))}],
    ids=["empty", "cut", "text", "nothing", "no history", "other rows"],
)
def test_a_damaged_clusters_npz_is_one_sentence(tmp_path, content):
    path = tmp_path / "clusters.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        rows = json.dumps([{"kept": True}])
        usual = {"embedding": np.zeros((5, 2)), "averages": np.zeros(0), "history": rows}
        np.savez(path, **(usual | content if content else {}))
    with pytest.raises(InputError, match=r"clusters\.npz cannot be read as .*sort the store again"):
        _sorted(path, 5)


def test_damaged_picks_of_a_tomogram_are_one_sentence(tmp_path):
    (tmp_path / "TS_1.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"TS_1\.npz cannot be read as the picks .* picked again"):
        read_candidates(tmp_path / "TS_1.npz", None)


def test_an_npz_that_unfolds_to_far_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "clusters.npz"
    np.savez_compressed(path, embedding=np.zeros((5, 1 << 18)))
    with pytest.raises(InputError, match=r"unfolds from [0-9]+ bytes to"):
        _sorted(path, 5)


@pytest.mark.parametrize(
    "text",
    [
        "property,cluster,effect,large\nbrightness,1,x,1\n",
        "property,cluster,effect,large\nbrightness,1,1.5,1\n",
        "property,cluster,effect,large\nbrightness,one,0.5,1\n",
        "property,cluster,effect\nbrightness,1,0.5\n",
        "property,cluster,effect,large\nbrightness,1,0.5\n",
        "\0\0\0",
    ],
)
def test_a_damaged_nuisance_csv_is_one_sentence(tmp_path, text):
    folder = RunFolder(tmp_path)
    folder.record = {"stages": {}}
    folder.nuisance.write_text(text)
    with pytest.raises(InputError, match=r"nuisance\.csv"):
        _nuisance(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [("stages", []), ("stages", {"mine": 3}), ("inputs", {}), ("inputs", [3]), ("versions", None)],
)
def test_a_record_of_other_values_is_refused(tmp_path, name, value):
    usual = {"command": "run", "inputs": ["/a"], "settings": {}, "versions": {}, "stages": {}}
    (tmp_path / "run.json").write_text(json.dumps(usual))
    RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(usual | {name: value}))
    with pytest.raises(InputError, match=r"run\.json cannot be read as the record of a run"):
        RunFolder.open(tmp_path)


def test_whatever_a_parser_throws_is_one_sentence(tmp_path):
    for error in (KeyError("a"), RecursionError(), MemoryError(), OSError(5, "I/O error"),
                  struct.error("unpack\nrequires \x1b[2J")):  # fmt: skip
        with pytest.raises(InputError, match=r"^x cannot be read as a y \([^\n\x1b]+\); do z\.$"):
            with reading("a/x", "a y", "do z"):
                raise error
    with pytest.raises(InputError, match="own words"), reading("x", "y"):
        raise InputError("own words")
    with pytest.raises(KeyboardInterrupt), reading("x", "y"):
        raise KeyboardInterrupt
    readers = [get_format(name).read for name in NAMES]
    assert all(r is None or r.__name__ == "bordered" or hasattr(r, "__wrapped__") for r in readers)


# -- rows and values ---------------------------------------------------------------------------

STAR_ROWS = [
    "TS_1.mrc p_1.mrc 100 200 30 10 20 30 0.9 4",
    "TS_1.mrc p_2.mrc 110 210 31 11 21 31 0.8 4",
]
STAR_HEAD = "data_\n\nloop_\n" + "".join(
    f"_rln{label} #{i}\n"
    for i, label in enumerate(
        "MicrographName ImageName CoordinateX CoordinateY CoordinateZ AngleRot AngleTilt AnglePsi"
        " MaxValueProbDistribution NrOfSignificantSamples".split(),
        1,
    )
)
KNOWN = Known({"TS_1": TomogramInfo("TS_1", 10.0, (60, 300, 300))}, file_pixel_angstrom=10.0)


def read(path, name=None):
    own = get_format(name) if name else recognise(path)
    return own.read(path, replace(KNOWN, tomogram_name="TS_1" if own.one_tomogram else None))


@pytest.mark.parametrize("column", range(10))
@pytest.mark.parametrize("change", ["without", "with more"])
def test_rows_of_another_length_are_refused(tmp_path, column, change):  # fault_01
    words = STAR_ROWS[1].split()
    words[column : column + 1] = [] if change == "without" else [words[column], "7"]
    path = tmp_path / "a.star"
    path.write_text(STAR_HEAD + "\n".join([STAR_ROWS[0], " ".join(words), STAR_ROWS[0], ""]))
    with pytest.raises(InputError, match=rf"row 2 of the table .* has {len(words)} values"):
        read(path)


@pytest.mark.parametrize("name", ["dynamo", "csv"])
@pytest.mark.parametrize("change", [-1, 1])
def test_rows_of_another_length_are_refused_in_every_table(tmp_path, name, change):
    given = replace(particles(["TS_1"] * 3), tomograms=dict(KNOWN.tomograms))
    path = get_format(name).write(tmp_path / f"a{get_format(name).suffixes[0]}", given, KNOWN)[0]
    separator = "," if name == "csv" else " "
    lines = path.read_text().splitlines()
    words = lines[2].split(separator)
    lines[2] = separator.join(words[:4] + words[5:] if change < 0 else [*words, "1"])
    path.write_text("\n".join([*lines, ""]))
    with pytest.raises(InputError, match=rf"row \d has {len(words) + change} values"):
        read(path, name)


@pytest.mark.parametrize("change", [-1, 1])
def test_rows_of_another_length_are_refused_in_results(tmp_path, change):
    for name, read_, rows in (
        ("labels.csv", read_labels_csv, ["index,cluster,posterior", "0,1,0.5", "1,2,0.5"]),
        ("rows.csv", read_rows_csv, ["a,b,c", "1,2,3", "4,5,6"]),
    ):
        words = rows[2].split(",")
        rows[2] = ",".join(words[:-1] if change < 0 else [*words, "1"])
        (tmp_path / name).write_text("\n".join([*rows, ""]))
        with pytest.raises(InputError, match=rf"row 2 has {3 + change} values"):
            read_(tmp_path / name)


@pytest.mark.parametrize("value", ["-0.2", "1.2", "4", "high", "inf"])
def test_a_posterior_outside_of_its_range_is_refused(tmp_path, value):
    rows = [STAR_ROWS[0], STAR_ROWS[1].replace("0.8", value)]
    (tmp_path / "a.star").write_text(STAR_HEAD + "\n".join([*rows, ""]))
    (tmp_path / "a.csv").write_text(
        f"tomogram,x,y,z,posterior\nTS_1,1,2,3,0.5\nTS_1,1,2,4,{value}\n"
    )
    (tmp_path / "labels.csv").write_text(f"index,cluster,posterior\n0,1,0.5\n1,1,{value}\n")
    for name, of in (("a.star", read), ("a.csv", read), ("labels.csv", read_labels_csv)):
        with pytest.raises(InputError, match=rf"{name} has no .*row 2 \('?{value}"):
            of(tmp_path / name)


def test_points_of_json_of_another_length_are_refused(tmp_path):
    given = replace(particles(["TS_1"] * 3), tomograms=dict(KNOWN.tomograms))
    path = get_format("eman2").write(tmp_path / "TS_1_info.json", given, KNOWN)[0]
    content = json.loads(path.read_text())
    for row in ([1, 2, 3, "m", 1], [1, 2, 3, 0.5, 1, "m"], [1, 2, "m", 0.5, 1], [1, 2], []):
        path.write_text(json.dumps(content | {"boxes_3d": [content["boxes_3d"][0], row]}))
        with pytest.raises(InputError):
            read(path, "eman2")
    path = get_format("copick").write(tmp_path / "a.json", given, KNOWN)[0]
    content = json.loads(path.read_text())
    for at, value in (("location", {"x": 1, "y": 2}), ("transformation_", [[1, 0], [0, 1]])):
        points = [content["points"][0], content["points"][1] | {at: value}]
        path.write_text(json.dumps(content | {"points": points}))
        with pytest.raises(InputError):
            read(path, "copick")
    path.write_text('{"pickable_object_name": "a", "points": [], "points": []}')
    with pytest.raises(InputError, match="has 'points' twice"):
        read(path, "copick")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_value_that_is_not_finite_gets_into_a_store(tmp_path, value):
    volumes = np.random.default_rng(0).normal(size=(3, 6, 6, 6)).astype("f4")
    given = replace(
        particles(["a"] * 3), center_zyx_px=np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9.5]])
    )
    path = tmp_path / "s.h5"
    for columns in ({"raw_mean": np.array([0, 0, value])}, {}):
        volumes[2, 0, 0, 0] = 0 if columns else value
        with pytest.raises(InputError, match=r"1 subtomograms .* at 9\.5, 8, 7 \(x, y, z\) in a;"):
            with StoreWriter.create(path, (6, 6, 6), 10.0, (-60, 60)) as writer:
                writer.append(volumes, given, **columns)
        assert not path.exists()
    volume = np.random.default_rng(0).normal(size=(20, 20, 20)).astype("f4")
    volume[5, 6, 7] = value
    write_volume(tmp_path / "a.mrc", volume, 10.0, tilt_range_deg=(-60, 60))
    tomograms, settings = [open_tomogram(tmp_path / "a.mrc")], ExtractSettings(box_px=8)
    with pytest.raises(InputError, match=r"the first at 7, 6, 5 \(x, y, z from 0\)"):
        extract_subtomograms(
            tomograms, replace(given, center_zyx_px=np.full((3, 3), 6.0)), path, settings
        )
    with pytest.raises(InputError, match=r"not finite.*the first at 7, 6, 5"):
        import_subtomograms(tmp_path, path)
    entries = {"u": {"v": volume, "id": "u", "center": [9, 9, 9], "tomogram_id": "a"}}
    write_pickle(tmp_path / "a.pickle", {"v_siz": np.array([20] * 3), "vs": entries})
    with pytest.raises(InputError, match=r"1 subtomograms hold values that are not finite"):
        import_store(tmp_path / "a.pickle", path, voxel_size_angstrom=10.0)
    assert not path.exists()


# -- two names, one file -----------------------------------------------------------------------

ALIKE = ["a b", "a-b", "A-b", "a/b", "a:b", "a-b-2", "a_b", "\u00e9", "e\u0301"]
WRITERS = [name for name in NAMES if get_format(name).write]


@pytest.mark.parametrize("name", WRITERS)
def test_no_particle_is_lost_to_a_name(tmp_path, name):  # fault_02
    given = particles(ALIKE)
    out = tmp_path / f"o{get_format(name).suffixes[0]}"
    known = Known(given.tomograms, shape_zyx=(40, 60, 60), binning=4.0)
    try:
        files = get_format(name).write(out, given, known)
    except InputError as error:
        assert "cannot" in str(error)
        return
    as_others_see_them = [unicodedata.normalize("NFC", str(file)).casefold() for file in files]
    assert len({*as_others_see_them}) == len(files)
    assert {*files} == {file for file in tmp_path.rglob("*") if file.is_file()}
    if get_format(name).one_tomogram:
        assert len(files) >= len(ALIKE)


def test_picks_of_several_users_are_several_files(tmp_path):
    more = {"user_id": np.array(["ann", "bob", "bob"]), "session_id": np.array(["0", "0", "1"])}
    more["pickable_object_name"] = np.array(["ribosome"] * 3)
    given = replace(particles(["a"] * 3), more=more)
    files = get_format("copick").write(tmp_path / "o.json", given, Known(given.tomograms))
    assert len({*files}) == 3
    points = [len(json.loads(file.read_text())["points"]) for file in files]
    assert points == [1, 1, 1]


def test_maps_and_subvolumes_of_one_name_stay_apart():
    assert map_names(["one/m.mrc", "two/m.mrc", "two/M.rec.gz"]) == ["m", "m-2", "M-3"]
    given = replace(particles(["a"] * 3), more={"uuid": np.array(["u", "u", "v"])})
    volumes = np.ones((3, 4, 4, 4))
    assert len(subvolumes_of(given, volumes)["vs"]) == 3


@pytest.mark.parametrize("size", [0, 2**64 - 8, 2**40])
@pytest.mark.parametrize("of", ["attributes", "column"])
def test_a_heap_that_hdf5_would_read_for_ever_is_refused(tmp_path, size, of):
    path = tmp_path / "s.h5"
    store(path, names=[f"a long name of the tomogram {i}" for i in range(300)])
    whole = path.read_bytes()
    heap = whole.index(b"GCOL") if of == "attributes" else whole.rindex(b"GCOL")
    second = 16 + int.from_bytes(whole[heap + 24 : heap + 32], "little") + 7 & ~7
    at = heap + 16 + second
    assert int.from_bytes(whole[at : at + 2], "little") == 2  # the number of the second object
    damage = struct.pack("<HHxxxxQ", 0 if size == 0 else 2, 1, size)
    path.write_bytes(whole[:at] + damage + whole[at + 16 :])
    with pytest.raises(InputError, match="damaged in a text"):
        open_store(path)
    path.write_bytes(whole)
    assert len(all_of(path)[3]) == 300


@pytest.mark.parametrize(
    ("name", "text", "reader"),
    [
        ("a_ctffind4.txt", "# x\n" + "1 20000 21000 45 0 0.1 8\n" * 3, read_defocus_file),
        ("a.defocus", "1 0 0 0 0 3\n" + "1 1 -60 -60 2000 2100 45\n" * 3, read_defocus_file),
        ("a.aln", "# SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT\n"
         + "0 1 1 2 3 1 1 1 0 -60\n0 1 1 2 3 1 1 1 0 0\n0 1 1 2 3 1 1 1 0 60\n", read_tilts),
    ],
)  # fmt: skip
def test_rows_of_another_length_are_refused_beside_tomograms(tmp_path, name, text, reader):
    (tmp_path / name).write_text(text)
    assert reader(tmp_path / name)
    lines = text.splitlines()
    for changed in (lines[2].split(" ", 1)[1], lines[2] + " 1"):
        (tmp_path / name).write_text("\n".join([*lines[:2], changed, *lines[3:], ""]))
        with pytest.raises(InputError, match=rf"{name}.* values"):
            reader(tmp_path / name)


def test_a_mask_that_is_not_finite_is_refused(tmp_path):
    volume = np.zeros((4, 4, 4), np.float32)
    volume[1, 1, 1] = np.nan
    with pytest.warns(RuntimeWarning):
        write_volume(tmp_path / "m.mrc", volume, 10.0)
    with pytest.raises(InputError, match=r"the mask m\.mrc holds values that are not finite"):
        read_mask(tmp_path / "m.mrc")


@pytest.mark.parametrize("what", ["posterior", "tilt_range"])
def test_values_of_a_store_outside_of_their_range_are_refused(tmp_path, what):
    path = store(tmp_path / "s.h5")
    with h5py.File(path, "a") as file:
        del file.attrs["crc32"]  # as of another program
        if what == "posterior":
            file["posterior"] = np.array([0.5, 0.5, 1.5, 0.5, 0.5])
        else:
            file.attrs["tilt_range"] = (-60.0, 600.0)
    with pytest.raises(InputError, match=r"row 3 \(1\.5\)|cannot be \(-60 to 600 degrees"):
        all_of(path)


def test_a_damaged_label_of_tilts_is_one_sentence(tmp_path):
    path = tmp_path / "a.mrc"
    write_volume(path, np.ones((4, 4, 4)), 10.0, tilt_range_deg=(-50, 60))
    path.write_bytes(path.read_bytes().replace(b"-50.000", b"-5v.000"))
    with pytest.raises(InputError, match=r"a\.mrc cannot be read as an MRC file .*; copy it again"):
        open_tomogram(path)


@pytest.fixture
def averaged(tmp_path):
    """A store of tomograms whose names are alike, and an average of its only cluster."""
    given = particles(["a/b", "a_b", "A:B"])
    given = replace(given, euler_zyz_deg=np.zeros((3, 3)), cluster=np.zeros(3, int))
    infos = {n: replace(i, shape_zyx=(40, 40, 40)) for n, i in given.tomograms.items()}
    given = replace(given, tomograms=infos)
    with StoreWriter.create(tmp_path / "s.h5", (6, 6, 6), VOXEL_ANGSTROM, (-60, 60), infos) as one:
        one.append(np.random.default_rng(0).normal(size=(3, 6, 6, 6)).astype("f4"), given)
    own = tmp_path / "averages/cluster_01"
    volume = np.zeros((14, 14, 14))
    volume[5:10, 5:10, 5:10] = 1
    write_volume(own / "average.mrc", volume, VOXEL_ANGSTROM, tilt_range_deg=(-60, 60))
    write_particles_star(own / "particles.star", given)
    (tmp_path / "averages/averages.csv").write_text("cluster,members\n1,3\n")
    return tmp_path


def test_every_tomogram_has_maps_of_its_own(averaged):  # fault_02
    out = averaged / "out"
    done = embed_averages(averaged / "s.h5", averaged / "averages", out)
    assert len(done) == 3 and [one.n_particles for one in done] == [1, 1, 1]
    maps = [path.name.casefold() for one in done for path in (one.density, one.labels, one.script)]
    assert len({*maps}) == 9
    assert {path.name.casefold() for path in out.iterdir()} == {*maps, "legend.csv"}


@pytest.mark.parametrize(
    "text", ["", "cluster\n", "members\n3\n", "cluster\none\n", "cluster\n1,2\n"]
)
def test_a_damaged_table_of_averages_is_one_sentence(averaged, text):
    (averaged / "averages/averages.csv").write_text(text)
    with pytest.raises(InputError, match=r"averages\.csv|no average"):
        embed_averages(averaged / "s.h5", averaged / "averages", averaged / "out")
