"""Every format: names of tomograms come back as they were written, or are refused in a sentence."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aitom_disca.cli import main
from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, write_volume
from aitom_disca.io.formats import NAMES, get_format
from aitom_disca.io.formats.format import Known
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.io.picks import read_picks
from aitom_disca.io.tomogram_names import fault_of, series_name, short_names
from aitom_disca.particles import ParticleSet, TomogramInfo

SHAPE = (40, 50, 60)
RELION = shutil.which("relion_star_handler")
READ = [name for name in NAMES if get_format(name).read and get_format(name).write]
OF_ONE = [name for name in READ if get_format(name).one_tomogram]
OF_SEVERAL = [name for name in READ if name not in OF_ONE]
WORDS = """TS_1 TS_10 TS_1_2 o'brien_01 grid#3 1 007 data_x _x #1 a,b a;b 1e5 -1 TS_1.5 d/rec e/rec
nan <b>& x=1 %2"""
LIKELY = st.sampled_from([*WORDS.split(), "Zürich 1", '"a" b'])
ANY = LIKELY | st.text("aB1_.-# '\"/<&\t\n", min_size=0, max_size=5)


def particles(names: list[str]) -> ParticleSet:
    """One particle a tomogram, each at a place of its own."""
    infos = {name: TomogramInfo(name, 10.0, SHAPE) for name in names}
    center = np.arange(3.0 * len(names)).reshape(-1, 3) + 5
    poses = np.zeros((len(names), 3))
    return ParticleSet(np.array(names), center, euler_zyz_deg=poses, tomograms=infos)


def known(names: list[str]) -> Known:
    infos = {name: TomogramInfo(name, 10.0, SHAPE) for name in names}
    return Known(tomograms=infos, voxel_size_angstrom=10.0, shape_zyx=SHAPE, binning=4.0)


def places(one: ParticleSet) -> dict[str, list[float]]:
    rows = zip(one.tomogram_name.tolist(), one.center_zyx_px.round(6).tolist(), strict=True)
    return {str(name): place for name, place in rows}


def write(name: str, folder: str, given: ParticleSet) -> list[Path] | None:
    """Files that a format wrote; None where it refused the names, of which one is none."""
    out = Path(folder) / f"out{get_format(name).suffixes[0]}"
    writer = get_format(name).write
    assert writer is not None
    try:
        return writer(out, given, known([]))
    except InputError as error:
        faults = [fault_of(n) for n in given.tomogram_name.tolist()]
        assert any(faults) or "cannot be written" in str(error)
        return None


@pytest.mark.parametrize("name", OF_SEVERAL)
@given(names=st.lists(ANY, min_size=1, max_size=3, unique=True))
@settings(max_examples=15, deadline=None)
def test_names_come_back(name, names):
    given_ = particles(names)
    with TemporaryDirectory() as folder:
        files = write(name, folder, given_)
        if files is None:
            return
        here = known([])
        sources = files if name == "copick" else files[:1]  # others have one, and lists beside it
        try:
            again = read_particles(sources, from_=name, known=here)
        except InputError as error:  # such as "1" for a tomogram that a list only numbers
            assert str(error).count("\n") == 0
            return
        expected = _expected(name, names)
        assert places(again) == {expected[n]: place for n, place in places(given_).items()}
        # beside the tomograms themselves they are those
        if len(sources) > 1:
            return
        picks = read_picks(sources[0], tomograms=given_.tomograms)
        assert places(picks) == places(given_)


def _expected(name: str, names: list[str]) -> dict[str, str]:
    """Names as a file of the format brings them: of paths no more than tells them apart."""
    if name == "warp":  # of tilt series, where those differ
        series = {n: series_name(n) for n in names}
        names_there = series if len(set(series.values())) == len(names) else dict.fromkeys(names)
        short = short_names([f"{names_there[n] or n}.tomostar" for n in names])
        return dict(zip(names, short.values(), strict=True))
    return short_names(names)


@pytest.mark.parametrize("name", OF_ONE)
@given(names=st.lists(ANY, min_size=2, max_size=3, unique=True))
@settings(max_examples=15, deadline=None)
def test_files_of_one_tomogram_are_told_by_their_names(name, names):
    given_ = particles(names)
    with TemporaryDirectory() as folder:
        files = write(name, folder, given_)
        if files is None:
            return
        assert len({file.name.casefold() for file in files}) == len(names)
        try:
            again = read_particles(files, from_=name, known=known(names))
        except InputError as error:
            assert "could" in str(error)
            return
        assert places(again) == places(given_)


@pytest.mark.parametrize("name", READ)
def test_a_file_cut_anywhere_is_refused_or_whole(name, tmp_path):
    """Cut behind any byte: a plain sentence, or all particles but those of whole rows cut off."""
    names = ["TS_1", "TS_2", "TS_3"] if name in OF_SEVERAL else ["TS_1"] * 3
    given_ = particles(sorted(set(names)))
    center = np.arange(9.0).reshape(3, 3) + 11.125
    given_ = ParticleSet(np.array(names), center, tomograms=given_.tomograms)
    writer = get_format(name).write
    assert writer is not None
    path = writer(tmp_path / f"out{get_format(name).suffixes[0]}", given_, known(["TS_1"]))[0]
    whole = path.read_bytes()
    reference = read_particles(path, from_=name, known=known(names))
    for end in range(0, len(whole) - 1, 11):
        path.write_bytes(whole[:end])
        try:
            cut = read_particles(path, from_=name, known=known(names))
        except InputError as error:
            assert str(error).count("\n") == 0
            continue
        n = max(len(cut), 1)
        np.testing.assert_array_equal(cut.tomogram_name[: n - 1], reference.tomogram_name[: n - 1])
        np.testing.assert_array_equal(cut.center_zyx_px[: n - 1], reference.center_zyx_px[: n - 1])


@pytest.mark.parametrize("name", [n for n in OF_SEVERAL if n not in ("dynamo", "pytom", "copick")])
@given(row=st.integers(1, 3), change=st.sampled_from([-1, 1]))
@settings(max_examples=6, deadline=None)
def test_rows_that_are_too_short_or_too_long(name, row, change):
    writer = get_format(name).write
    assert writer is not None
    with TemporaryDirectory() as folder:
        out = Path(folder) / f"out{get_format(name).suffixes[0]}"
        path = writer(out, particles(["TS_1", "TS_2", "TS_3"]), known([]))[0]
        lines = path.read_text().split("\n")
        filled = [i for i, line in enumerate(lines) if line.strip()]
        apart = "," if name == "csv" else None
        words = lines[filled[row - 4]].split(apart)
        words = words[:-1] if change < 0 else [*words, "1"]
        lines[filled[row - 4]] = (apart or " ").join(words)
        path.write_text("\n".join(lines))
        numbers = f"({row}|{row + 1})"  # of a table with a header in its first line
        with pytest.raises(InputError, match=rf"row {numbers} .*{len(words)}\s+value"):
            read_particles(path, from_=name, known=known([]))


def _dynamo(folder: Path, stem: str, path: str) -> Path:
    """A table of one particle in tomogram 1, and the map that says its path."""
    cells = ["0"] * 35
    cells[19], cells[23:26] = "1", ["10.5", "20.5", "30.5"]
    (folder / f"{stem}.tbl").write_text(" ".join(cells) + "\n")
    (folder / f"{stem}.doc").write_text(f"1\t{path}\n")
    return folder / f"{stem}.tbl"


def test_names_stay_distinct_among_files(tmp_path):
    files = [
        _dynamo(tmp_path, "a", "/data/TS_03/rec.mrc"),
        _dynamo(tmp_path, "b", "/data/TS_04/rec.mrc"),
    ]
    assert read_particles(files).tomogram_name.tolist() == ["TS_03/rec", "TS_04/rec"]
    assert read_particles(tmp_path).tomogram_name.tolist() == ["TS_03/rec", "TS_04/rec"]
    assert read_particles(files[0]).tomogram_name.tolist() == ["rec"]
    info = TomogramInfo("rec", 10.0, SHAPE, path=Path("/mnt/TS_04/rec.mrc"))
    picks = read_picks(tmp_path, tomograms={"rec": info})
    assert picks.tomogram_name.tolist() == ["rec"] and len(picks) == 1
    with pytest.raises(InputError, match="holds particles of TS_03/rec, none of the tom"):
        read_picks(files[0], tomograms={"rec": info})


def test_a_list_of_numbers_that_names_two_tomograms(tmp_path):
    path = _dynamo(tmp_path, "a", "TS_1\n1 TS_2")
    with pytest.raises(InputError, match=r"a.doc gives two tomograms the number 1 \(TS_1, TS_2\)"):
        read_particles(path)
    (tmp_path / "a.doc").write_text("2 1\n")
    with pytest.raises(InputError, match="a tomogram of the number 1, but the list"):
        read_particles(path)


def test_a_row_without_a_name_among_others(tmp_path):
    rows = [
        f'<Particle><PickPosition X="1" Y="2" Z="3"{o}/></Particle>' for o in (' Origin="a"', "")
    ]
    (tmp_path / "a.xml").write_text(f"<ParticleList>{''.join(rows)}</ParticleList>")
    with pytest.raises(InputError, match=r"a.xml calls the tomogram of row 2 '', which sta"):
        read_particles(tmp_path / "a.xml", known=Known(tomogram_name="b"))


def test_points_of_one_file_name_in_two_folders(tmp_path):
    for run in ("run_a", "run_b"):
        (tmp_path / run).mkdir()
        point = '{"type": "point", "location": {"x": 1, "y": 2, "z": 3}}'
        (tmp_path / run / "ribosome.ndjson").write_text(point + "\n")
    files = [tmp_path / run / "ribosome.ndjson" for run in ("run_a", "run_b")]
    assert read_particles(files).tomogram_name.tolist() == ["run_a/ribosome", "run_b/ribosome"]
    infos = {name: TomogramInfo(name, 10.0, SHAPE) for name in ("run_a", "run_b")}
    again = read_particles(files, known=Known(tomograms=infos))
    assert again.tomogram_name.tolist() == ["run_a", "run_b"]


def test_picks_from_a_store(tmp_path):
    one = particles(["TS_1"])
    box = (4, 4, 4)
    with StoreWriter.create(tmp_path / "a.h5", box, 10.0, (-60, 60), one.tomograms) as store:
        store.append(np.ones((1, *box), np.float32), one)
    info = TomogramInfo("TS_1_rec", 5.0, SHAPE)
    picks = read_picks(tmp_path / "a.h5", tomograms={"TS_1_rec": info})
    assert places(picks) == {"TS_1_rec": [10.0, 12.0, 14.0]}


def test_models_put_together(tmp_path):
    (path,) = get_format("imod").write(tmp_path / "a.mod", particles(["TS_1"]), known([]))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(InputError, match=r"a\.mod is several IMOD models in one"):
        read_particles(path, known=Known(tomogram_name="TS_1"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_xml_says_its_encoding(tmp_path, encoding):
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    point = '<Particle><PickPosition X="1" Y="2" Z="3" Origin="Z\u00fcrich"/></Particle>'
    text = f'<?xml version="1.0" encoding="{declared}"?><ParticleList>{point}</ParticleList>'
    (tmp_path / "a.xml").write_text(text, encoding=encoding)
    assert read_particles(tmp_path / "a.xml").tomogram_name.tolist() == ["Z\u00fcrich"]


@pytest.mark.relion
@pytest.mark.skipif(RELION is None, reason="RELION is not installed (relion_star_handler)")
def test_names_come_back_from_relion(tmp_path):
    names = ["TS_1", "TS_10", "o'brien_01", "grid#3", "Z\u00fcrich 1", "007", "data_x", "_x", "a,b"]
    given_ = particles(names)
    get_format("relion31").write(tmp_path / "a.star", given_, known([]))
    words = ["--i", "a.star", "--o", "b.star", "--operate", "rlnCoordinateX", "--add_to", "1"]
    subprocess.run([RELION, *words], cwd=tmp_path, check=True, capture_output=True)
    moved = {name: [z, y, x + 1] for name, (z, y, x) in places(given_).items()}
    assert places(read_particles(tmp_path / "b.star")) == moved


def test_a_file_that_is_cut_is_not_passed_over_in_a_folder(tmp_path):
    for name in ("TS_1", "TS_2"):
        get_format("relion31").write(tmp_path / f"{name}.star", particles([name]), known([]))
    (tmp_path / "notes.txt").write_text("of no format")
    (tmp_path / "list.star").write_text("data_\nloop_\n_rlnTomoName\nTS_1\n")
    assert read_particles(tmp_path).tomogram_name.tolist() == ["TS_1", "TS_2"]
    text = (tmp_path / "TS_2.star").read_text()
    (tmp_path / "TS_2.star").write_text(text.rstrip().rsplit("\t", 1)[0])
    with pytest.raises(InputError, match=r"TS_2.star cannot be read as a star file"):
        read_particles(tmp_path)


def test_names_are_shown_as_they_are(tmp_path, capsys):
    path = tmp_path / "TS[b]_1[#].mrc"
    write_volume(path, np.ones((4, 5, 6)), 10.0, tilt_range_deg=(-60, 60))
    assert main(["info", str(path)]) == 0
    assert "TS[b]_1[#]" in capsys.readouterr().out


def test_info_files_of_one_name_in_two_folders(tmp_path):
    files = [tmp_path / folder / "TS_1_info.json" for folder in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text('{"boxes_3d": [[1, 2, 3]]}')
    assert read_particles(files).tomogram_name.tolist() == ["a/TS_1", "b/TS_1"]
    assert read_particles(files[0]).tomogram_name.tolist() == ["TS_1"]


def test_a_name_given_is_for_files_that_have_none(tmp_path):
    point = '{"type": "point", "location": {"x": 1, "y": 2, "z": 3}}\n'
    for name in ("TS_1_a.ndjson", "b.ndjson", "TS_9.ndjson"):
        (tmp_path / name).write_text(point)
    infos = {name: TomogramInfo(name, 10.0, SHAPE) for name in ("TS_1", "TS_2")}
    for name in ("b.ndjson", "TS_9.ndjson"):
        picks = read_picks(tmp_path / name, tomograms=infos, tomogram_name="TS_2")
        assert picks.tomogram_name.tolist() == ["TS_2"]
    with pytest.raises(
        InputError, match=r"of the tomogram TS_1 by its name, but of TS_2 by --tomo"
    ):
        read_picks(tmp_path / "TS_1_a.ndjson", tomograms=infos, tomogram_name="TS_2")
    table = _dynamo(tmp_path, "c", "TS_1")
    assert read_picks(table, tomogram_name="TS_2").tomogram_name.tolist() == ["TS_1"]
    (tmp_path / "c.doc").unlink()
    assert read_picks(table, tomogram_name="TS_2").tomogram_name.tolist() == ["TS_2"]
    table.write_text(table.read_text() + table.read_text().replace(" 1 0", " 2 0", 1))
    with pytest.raises(InputError, match="of the numbers 1, 2, which --tomogram-name calls TS_2"):
        read_picks(table, tomogram_name="TS_2")


def test_a_folder_of_several_formats_is_refused(tmp_path):
    for name in ("relion31", "csv"):
        suffix = get_format(name).suffixes[0]
        get_format(name).write(tmp_path / f"a{suffix}", particles(["TS_1"]), known([]))
    infos = {"TS_1": TomogramInfo("TS_1", 10.0, SHAPE)}
    with pytest.raises(InputError, match=r"several formats \(.*Table.*\); give those of"):
        read_picks(tmp_path, tomograms=infos)
