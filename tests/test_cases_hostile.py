"""What once was lost or let in: files of the user, full disks, hostile files."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import logging
import os
import pickle
import re
import resource
import struct
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
from full_disk import files_no_larger_than
from hostile_pickles import HOSTILE

from aitom_disca.bridge.pickles import read_pickle
from aitom_disca.cli import main
from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, open_tomogram, read_picks, write_rows_csv, write_volume
from aitom_disca.io.disk.checksums import checksums_of
from aitom_disca.io.formats.relion.write_star import write_particles_star
from aitom_disca.io.stores.write_store import seal_store
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.reembedding import chimerax_script
from aitom_disca.report.cards import ClusterCard
from aitom_disca.report.html import render_report
from aitom_disca.report.report_data import ReportData
from aitom_disca.report.tomogram_view import KindInView, TomogramView

BOX_PX = 8


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """A store of twelve subtomograms in the working folder, and labels of three clusters."""
    monkeypatch.chdir(tmp_path)
    info = TomogramInfo("TS_1", 10.0, (24, 30, 36), (-60.0, 60.0))
    rng = np.random.default_rng(0)
    places = rng.uniform(8, 16, (12, 3))
    particles = ParticleSet(np.full(12, "TS_1"), places, tomograms={"TS_1": info})
    with StoreWriter.create("s.h5", (BOX_PX,) * 3, 10.0, (-60, 60), {"TS_1": info}) as writer:
        writer.append(rng.normal(size=(12, *(BOX_PX,) * 3)).astype(np.float32), particles)
    write_rows_csv("l.csv", [{"index": i, "cluster": 1 + i % 3} for i in range(12)])
    return tmp_path / "s.h5"


@pytest.fixture
def averages(store) -> Path:
    """Averages of the store, as `embed` takes them."""
    zyx = np.indices((BOX_PX,) * 3) - BOX_PX // 2
    with h5py.File(store) as file:
        places = file["center_zyx_px"][:]
    info = TomogramInfo("TS_1", 10.0, (24, 30, 36))
    for k in range(1, 3):
        folder = Path(f"averages/cluster_{k:02d}")
        write_volume(folder / "average.mrc", np.exp(-(zyx**2).sum(0) / 8.0), 10.0)
        angles = np.zeros((6, 3))
        members = ParticleSet(
            np.full(6, "TS_1"), places[k - 1 :: 2], euler_zyz_deg=angles, tomograms={"TS_1": info}
        )
        write_particles_star(folder / "particles.star", members)
    write_rows_csv("averages/averages.csv", [{"cluster": 1}, {"cluster": 2}])
    return Path("averages")


def files() -> dict[str, bytes]:
    """All files of the working folder, also hidden ones, and what they hold."""
    return {p.as_posix(): p.read_bytes() for p in sorted(Path().rglob("*")) if p.is_file()}


def refused(capsys, *arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2 and leaves all files as they are."""
    before = files()
    capsys.readouterr()
    logging.getLogger("aitom_disca").handlers.clear()  # which writes where an earlier test did
    assert main(list(map(str, arguments))) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "warning: " not in line]
    assert len(said) == 1 and said[0].startswith("error: ") and "unexpected" not in said[0]
    assert files() == before
    return said[0]


@pytest.mark.parametrize(
    "mine",
    [
        "clusters/cluster_07.star",
        "clusters/cluster_01.star",
        "junk/noise.star",
        "particles.star",
        "subtomograms/x",
    ],
)
def test_export_keeps_every_file_that_it_would_replace_or_remove(store, capsys, mine):
    Path(mine).parent.mkdir(exist_ok=True)
    Path(mine).write_text("mine")
    command = ["export", store, "--labels", "l.csv", "--out", ".", "--images"]
    assert f"{mine.split('/x')[0]} is there already" in refused(capsys, *command)
    assert main([*map(str, command), "--overwrite"]) == 0
    assert {p.name for p in Path("clusters").iterdir()} == {f"cluster_0{k}.star" for k in (1, 2, 3)}


@pytest.mark.parametrize(
    "mine", ["m/TS_1_labels.mrc", "m/TS_1.cxc", "m/TS_1_cluster_02.mrc", "m/legend.csv"]
)
def test_embed_keeps_every_file_that_it_would_replace(store, averages, capsys, mine):
    Path("m").mkdir()
    Path(mine).write_text("mine")
    command = ["embed", store, "--averages", averages, "--out", "m", "--per-cluster"]
    assert f"{mine} is there already" in refused(capsys, *command)
    assert main([*map(str, command), "--overwrite"]) == 0
    assert len(list(Path("m").iterdir())) == 6


def test_other_writers_keep_what_is_there_as_well(store, capsys):
    write_volume("t.mrc", np.random.default_rng(0).normal(size=(24, 30, 36)), 10.0)
    for mine in ("a/cluster_01/notes.txt", "p_junk/gold.star", "r.html", "d/truth.star", "d.json"):
        Path(mine).parent.mkdir(exist_ok=True, parents=True)
        Path(mine).write_text("mine")
    diameter = ["--particle-diameter-angstrom", 100]
    for mine, *command in (
        ("a/cluster_01/notes.txt", "average", store, "--out", "a"),
        ("p_junk/gold.star", "pick", "t.mrc", "--out", "p.csv", *diameter),
        ("r.html", "pick", "t.mrc", "--out", "q.csv", "--report", "r.html", *diameter),
        ("d/truth.star", "demo", "--out", "d"),
        ("d.json", "doctor", "--json", "d.json"),
    ):
        assert f"{mine} is there already" in refused(capsys, *command)


def test_no_name_of_a_tomogram_leads_out_of_the_folder(store):
    names = ["..", ".", "../../x", ".hidden", "/etc/x", "a" * 300, "\u00e9" * 200]
    with h5py.File(store, "a") as file:
        file["tomogram_name"][:] = [names[i % len(names)] for i in range(12)]
        del file.attrs["tomograms"]
        seal_store(file)
    before = set(files())
    for to, out in (("relion31", "sub/o.star"), ("copick", "sub/proj"), ("copick", "sub/c.json")):
        images = ["--images"] if to == "relion31" else []
        pixel = ["--voxel-size-angstrom", "10"]
        assert main(["convert", str(store), out, "--to", to, *images, *pixel]) == 0
    new = set(files()) - before
    inside = ("sub/o.star", "sub/o/", "sub/proj/ExperimentRuns/", "sub/c_")
    assert len(new) == 1 + 12 + 1 + 7 + 7 and all(path.startswith(inside) for path in new)
    assert not any(part.startswith(".") for path in new for part in Path(path).parts)


@pytest.mark.parametrize("fault", ["not finite", "constant", "full"])
def test_images_that_cannot_be_written_leave_no_star_file(store, capsys, fault):
    with h5py.File(store, "a") as file:
        if fault != "full":
            file["subtomograms"][11] = np.nan if fault == "not finite" else 1.0
            file["crc32"][11] = checksums_of(file["subtomograms"][11:12])[0]
            seal_store(file)
    largest = 4 * BOX_PX**3 if fault == "full" else 1 << 30  # no header has room beside it
    with files_no_larger_than(largest):
        refused(capsys, "convert", store, "sub/o.star", "--to", "relion31", "--images")
        refused(capsys, "export", store, "--labels", "l.csv", "--out", "e", "--images")
    assert not Path("sub").exists() and not Path("e").exists()


def test_images_that_cannot_be_written_again_stay_as_they_were(store, capsys):
    command = ["convert", str(store), "o.star", "--to", "relion31", "--images"]
    assert main(command) == 0
    with h5py.File(store, "a") as file:
        file["subtomograms"][0] += 1
        file["subtomograms"][11] = np.nan
        file["crc32"][:] = checksums_of(file["subtomograms"][:])
        seal_store(file)
    refused(capsys, *command, "--overwrite")


def test_what_does_not_fit_on_the_disk_is_refused_before_it_begins(
    store, averages, capsys, monkeypatch
):
    write_volume("t.mrc", np.random.default_rng(0).normal(size=(24, 30, 36)), 10.0)
    Path("p.csv").write_text("tomogram,z,y,x\nt,12,15,18\nt,12,15,17\n")
    free = type("Usage", (), {"free": 4000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    extract = ["extract", "t.mrc", "--picks", "p.csv", "--out", "new/x.h5", "--box-px", "8"]
    run = ["run", "t.mrc", "--out", "new", "--particle-diameter-angstrom", 100]
    for n_bytes, *command in (
        ("4.1 kB", *extract),  # 2 * 4 * 8^3
        ("156 kB", "embed", store, "--averages", averages, "--out", "new"),  # 6 * 24 * 30 * 36
        ("39.9 kB", "convert", store, "new.star", "--to", "relion31", "--images"),
        ("39.9 kB", "export", store, "--labels", "l.csv", "--out", "new", "--images"),
        ("156 kB", *run),
    ):
        said = refused(capsys, *command)
        assert n_bytes in said and "only 4 kB are free in " in said and "free some" in said
    free.free = 1 << 40
    assert main(extract) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"4.1 kB to be written, 1100 GB are free in {Path('new').absolute()}" in said


@pytest.mark.parametrize("size", [0, 500, 30000, 100000])
def test_a_disk_that_becomes_full_leaves_no_half_results(store, averages, capsys, size):
    write_volume("t.mrc", np.random.default_rng(0).normal(size=(24, 30, 36)), 10.0)
    Path("p.csv").write_text("tomogram,z,y,x\n" + "t,12,15,18\n" * 60)
    for command in (
        ["extract", "t.mrc", "--picks", "p.csv", "--out", "new/x.h5", "--box-px", "8"],
        ["embed", store, "--averages", averages, "--out", "new"],
        ["aitom-export", store, "--out", "new.pickle", "--to", "subvolumes"],
        ["convert", store, "new.csv", "--to", "csv"],
    ):
        if size < 30000 or command[0] in ("extract", "embed"):
            with files_no_larger_than(size):
                said = refused(capsys, *command)
            assert "larger than a file in" in said and "new" in said


@contextmanager
def memory_no_larger_than(n_bytes: int):
    """Of this process, beside what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_pickle_cannot_take_all_memory_or_time(tmp_path, capsys, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    Path("a.pickle").write_bytes(HOSTILE[kind])
    start = time.monotonic()
    with memory_no_larger_than(1 << 29):
        said = refused(capsys, "aitom-import", "a.pickle", "--out", "o.csv")
    assert "a.pickle is no pickle that can be read (" in said and "MemoryError" not in said
    assert time.monotonic() - start < 10


def test_pickles_that_share_what_is_shared_in_earnest_are_read(tmp_path):
    volume, wedge = np.ones((4, 4, 4), np.float32), np.ones((4, 4, 4))
    rows = [
        {"v": volume * k, "m": wedge, "id": "a" * 100, "x": (1, 2, (3, b"x"))} for k in range(9)
    ]
    for protocol in range(5):
        path = tmp_path / "a.pickle"
        path.write_bytes(pickle.dumps({"vs": rows, "s": {1, 2}, "b": bytearray(b"ab")}, protocol))
        held = read_pickle(path)
        assert held["vs"][3]["v"][0, 0, 0] == 3 and held["vs"][0]["m"] is held["vs"][1]["m"]
        assert held["s"] == {1, 2} and held["b"] == b"ab" and held["vs"][8]["x"][2] == (3, b"x")


_LAUGHS = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 12))
_PARTICLE = '<PickPosition X="1" Y="2" Z="3" Origin="t"/>'
_LIST = "<ParticleList><Particle>{}</Particle></ParticleList>"


@pytest.mark.parametrize(
    "text",
    [
        f'<!DOCTYPE x [<!ENTITY a0 "ha">{_LAUGHS}]>' + _LIST.format("<a>&a11;</a>"),
        '<!DOCTYPE x [<!ENTITY a SYSTEM "/etc/passwd">]>' + _LIST.format("<a>&a;</a>"),
        '<!DOCTYPE x SYSTEM "http://localhost/x.dtd">' + _LIST.format(_PARTICLE),
        _LIST.format("<a>" * 100_000 + "</a>" * 100_000),
        _LIST.format("".join(f"<a{k}/>" for k in range(30_000)) + "<a1/>"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_cannot_unfold_or_reach_other_files(tmp_path, capsys, monkeypatch, text, encoding):
    monkeypatch.chdir(tmp_path)
    Path("a.xml").write_text(text, encoding=encoding)
    start = time.monotonic()
    command = ["convert", "a.xml", "o.csv", "--from", "pytom", "--to", "csv"]
    said = refused(capsys, *command, "--voxel-size-angstrom", "10")
    assert "root:" not in said and time.monotonic() - start < 10


@pytest.mark.parametrize("begin", ["[", '{"a":', '[{"x":'])
@pytest.mark.parametrize("name", ["a.json", "a.ndjson"])
def test_json_nested_without_end_is_one_sentence(tmp_path, capsys, monkeypatch, begin, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(begin * 100_000)
    refused(capsys, "aitom-import", name, "--out", "o.csv")
    for of in ("copick", "eman2", "portal"):
        refused(capsys, "convert", name, "o.csv", "--from", of, "--to", "csv")


def mrc_of(shape_zyx=(24, 32, 40), extended: int = 0, kind: bytes = b"") -> bytes:
    """Header and voxels of a map of ones, and how large an extended header it promises."""
    write_volume("m.mrc", np.ones(shape_zyx), 10.0, tilt_range_deg=(-60, 60))
    content = bytearray(Path("m.mrc").read_bytes())
    content[92:96], content[104:108] = struct.pack("<i", extended), kind.ljust(4)
    Path("m.mrc").unlink()
    return bytes(content)


@pytest.mark.parametrize("packer", [gzip, bz2])
def test_of_a_packed_tomogram_no_more_is_unpacked_than_its_header_says(
    tmp_path, monkeypatch, capsys, packer
):
    monkeypatch.chdir(tmp_path)
    with packer.open("t.mrc.gz", "wb", 1) as file:
        file.write(mrc_of())
        for _ in range(64):
            file.write(bytes(1 << 20))
    with files_no_larger_than(1 << 20):  # the temporary file
        assert main(["info", "t.mrc.gz"]) == 0
    tomogram = open_tomogram("t.mrc.gz")
    assert tomogram.shape_zyx == (24, 32, 40) and tomogram.read().sum() == 24 * 32 * 40


@pytest.mark.parametrize("kind", [b"", b"FEI1", b"SERI"])
def test_an_extended_header_is_not_read_for_its_promise(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    promised = 2**31 - 1 - 2**20
    content = mrc_of(extended=promised, kind=kind)
    with gzip.open("t.mrc.gz", "wb") as file:
        file.write(content)
    with open("sparse.mrc", "wb") as file:  # it has what it promises, as a hole
        file.write(content[:1024])
        file.seek(promised, 1)
        file.write(content[1024:])
    with memory_no_larger_than(3 << 30):  # the hole is mapped, but takes no memory
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert main(["info", "t.mrc.gz"]) == 2
        assert f"extended header of {promised} bytes" in capsys.readouterr().err
        assert open_tomogram("sparse.mrc").read().sum() == 24 * 32 * 40
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_packed_tomogram_that_cannot_be_unpacked_is_refused_at_once(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    content = bytearray(mrc_of())
    content[:12] = struct.pack("<3i", 40_000, 40_000, 40_000)
    with gzip.open("t.mrc.gz", "wb") as file:
        file.write(content)
    said = refused(capsys, "info", "t.mrc.gz")
    assert "takes 256000 GB unpacked" in said and "TMPDIR" in said


def test_lower_bounds_leave_out_versions_that_do_not_serve():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    for name, least in (("typer", (0, 16)), ("keras", (3, 11, 3)), ("jinja2", (3, 1, 6))):
        (found,) = re.findall(rf'"{name}>=([\d.]+)"', text)
        assert tuple(map(int, found.split("."))) >= least


HOSTILE_NAMES = (
    't"; runscript evil.py; #',
    "t'; runscript evil.py",
    "t; runscript evil.py",
    "=cmd|' C calc'!A0",
    "@SUM(1+1)",
    "+1+cmd",
    "-2+3+cmd",
    "'=1",
    "<script>alert(1)<script>",
    "a\"b'c d",
    "loop_",
    "data_",
    "#x",
    "$x^{",
    "[bold][",
    "%s{0}",
    "back\\slash",
)


def commands_of(script: Path) -> list[str]:
    """First words of the lines of a script, apart from comments."""
    lines = script.read_text(encoding="utf-8").splitlines()
    assert all(
        line.count('"') in (0, 2, 4) and "\\" not in line for line in lines if line[0] != "#"
    )
    return [line.split()[0] for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("names", [HOSTILE_NAMES[:9], HOSTILE_NAMES[9:]])
def test_no_name_becomes_a_command_a_formula_or_a_tag(store, names):
    names = [names[i % len(names)] for i in range(12)]
    infos = []
    for name in dict.fromkeys(names):
        file = Path(f"{name}.mrc")
        write_volume(file, np.ones((24, 30, 36)), 10.0)
        known = {"name": name, "voxel_size_angstrom": 10.0, "shape_zyx": [24, 30, 36]}
        infos.append(known | {"tilt_range_deg": [-60, 60], "path": str(file.resolve())})
    with h5py.File(store, "a") as content:
        content["tomogram_name"][:] = names
        content.attrs["tomograms"] = json.dumps(infos)
        seal_store(content)
    allowed = {"set", "open", "volume", "segmentation", "lighting", "view", "artiax"}
    for to in ("chimerax", "artiax"):
        assert main(["convert", str(store), f"{to}.cxc", "--to", to, "--labels", "l.csv"]) == 0
        scripts = list(Path().glob(f"{to}*.cxc"))
        assert len(scripts) == len(infos)
        assert set().union(*map(commands_of, scripts)) <= allowed
    for to, out in (("csv", "o.csv"), ("relion31", "o.star"), ("relion30", "p.star")):
        assert main(["convert", str(store), out, "--to", to]) == 0
        assert read_picks(out).tomogram_name.tolist() == names
    with open("o.csv", encoding="utf-8", newline="") as table:
        cells = [cell for row in csv.reader(table) for cell in row]
    assert not [c for c in cells if c.startswith(("=", "@", "+", "-"))]
    for name in names:
        view = TomogramView(name, 9, 9, 9, 1.0, (), [KindInView(name, 1, "#000000", False, 3)])
        card = ClusterCard(1, 3, 1.0, name, doubts=[name])
        data = ReportData(name, [card], problems=[name], tomograms=[view], command_line=name)
        text = render_report(data)
        assert "<script>" not in text


def test_the_script_of_a_tomogram_with_a_quote_in_its_name_leaves_it_out(tmp_path):
    file = tmp_path / 't"; runscript evil.py; #.mrc'
    write_volume(file, np.ones((8, 8, 8)), 10.0)
    info = TomogramInfo("a\nrunscript evil.py", 10.0, (8, 8, 8), path=file)
    (tmp_path / "o.cxc").write_text(
        chimerax_script(tmp_path, info, [1], tmp_path / "l.mrc", {}), encoding="utf-8"
    )
    assert commands_of(tmp_path / "o.cxc").count("open") == 1  # of the labels
    with pytest.raises(InputError, match="a quote, a backslash or a line end"):
        chimerax_script(tmp_path, info, [1], tmp_path / 'l".mrc', {})


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_a_tomogram_that_becomes_shorter_while_it_is_read_is_said(tmp_path, dtype):
    path = tmp_path / "t.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data((np.indices((40, 50, 60)).sum(0) % 90).astype(dtype))
        mrc.voxel_size = 10.0
    tomogram = open_tomogram(path, tilt_range_deg=(-60, 60))
    size = path.stat().st_size
    os.truncate(path, 2000)
    with pytest.raises(InputError, match="has become shorter while it was read"):
        tomogram.read()
    os.truncate(path, size)
    path.unlink()  # a file that is only taken away can still be read
    assert tomogram.read().shape == (40, 50, 60)
