"""The command line: help, errors in one plain line, and no traces of what failed."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import warnings

import h5py
import mrcfile
import numpy as np
import pytest
import typer

import aitom_disca
from aitom_disca.cli import main
from aitom_disca.cli.app import app
from aitom_disca.cli.given_options import parse_candidate_k
from aitom_disca.errors import InputError
from aitom_disca.io import StoreWriter, open_store, read_picks, write_picks_csv, write_volume
from aitom_disca.particles import ParticleSet, TomogramInfo

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SHAPE = (30, 44, 48)
VOXEL_SIZE = 10.0
DIAMETER = ("--particle-diameter-angstrom", "80")


@pytest.fixture(autouse=True)
def fresh_logging():
    """A handler of an earlier test would write to that test's stream."""
    logger = logging.getLogger("aitom_disca")
    logger.handlers.clear()
    yield
    logger.handlers.clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of a command."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def balls(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright balls of 8 voxels in weak noise, and their centres."""
    rng = np.random.default_rng(seed)
    grid = np.indices(SHAPE)
    places = np.array(np.meshgrid([15], [10, 22, 34], [10, 20, 30, 40])).reshape(3, -1).T[:n]
    volume = rng.normal(scale=0.1, size=SHAPE)
    for place in places:
        volume += ((grid - place.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 16
    return volume.astype(np.float32), places


def write_tomogram(path, volume=None, voxel_size=VOXEL_SIZE):
    volume = balls()[0] if volume is None else volume
    with warnings.catch_warnings():  # of mrcfile, about numbers that are not finite
        warnings.simplefilter("ignore", RuntimeWarning)
        write_volume(path, volume, voxel_size, tilt_range_deg=(-60, 60))
    return path


def write_store(path, n=6, box=10):
    particles = ParticleSet(np.full(n, "t"), np.full((n, 3), 20.0))
    volumes = np.random.default_rng(0).normal(size=(n, box, box, box)).astype(np.float32)
    with StoreWriter.create(path, (box,) * 3, VOXEL_SIZE, (-60, 60)) as store:
        store.append(volumes, particles)
    return path


def write_picks(path, centres=((15, 22, 20), (15, 22, 30)), name="t"):
    centres = np.array(centres, float)
    infos = {name: TomogramInfo(name, VOXEL_SIZE)}
    write_picks_csv(path, ParticleSet(np.full(len(centres), name), centres, tomograms=infos))
    return path


def snapshot(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def refused(folder, capsys):
    """Check that a command ends with one line of error and changes nothing on disk."""

    def check(*arguments, match=""):
        before = snapshot(folder)
        folders = {p for p in folder.rglob("*") if p.is_dir()}
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert code == 2, captured.err
        assert len(lines) == 1 and lines[0].startswith("error: "), captured.err
        assert "Traceback" not in captured.out + captured.err
        assert match in lines[0], lines[0]
        assert snapshot(folder) == before
        assert {p for p in folder.rglob("*") if p.is_dir()} == folders
        return lines[0]

    return check


# -- help and version ----------------------------------------------------------------------


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_fits_80_columns_with_whole_names(capsys, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    said = capsys.readouterr()
    assert f"aitom-disca {command}" in said.out and "Example" in said.out and not said.err
    assert max(map(len, said.out.splitlines())) <= 80
    shown = {word.strip(",") for word in said.out.split()}
    for parameter in COMMANDS[command].params:
        assert {*parameter.opts, *parameter.secondary_opts} <= shown | {parameter.name}


def test_help_begins_with_what_is_always_needed(capsys):
    assert main(["run", "-h"]) == 0
    said = capsys.readouterr().out
    parts = [
        said.index(name) for name in ("Always:", "-o, --out", "Often:", "-d,", "Rarely: picking:")
    ]
    assert parts == sorted(parts) and parts[-1] < said.index("--sigma-px")


def test_the_name_alone_shows_the_help_and_no_error(capsys):
    assert main([]) == 0
    said = capsys.readouterr()
    assert "Usage: aitom-disca" in said.out and not said.err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"aitom-disca {aitom_disca.__version__}"


def test_import_is_fast_silent_and_loads_no_network():
    code = (
        "import sys, time; start = time.perf_counter(); import aitom_disca; "
        "seconds = time.perf_counter() - start; "
        "heavy = {'tensorflow', 'keras', 'torch', 'jax', 'sklearn', 'matplotlib'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); "
        "assert seconds < 1, seconds"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not result.stdout and not result.stderr


@pytest.mark.parametrize("command", ["run", "convert", "aitom-import"])
def test_help_shows_values_that_spaces_separate(capsys, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"--tilt-range +.*MIN MAX", said) and not re.search(r"(float|int),", said)


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_the_command_starts_without_a_network(argument):
    code = (
        "import sys, time; from aitom_disca.cli import main; "
        f"assert main(['{argument}']) == 0; "
        "assert not {'tensorflow', 'keras'} & set(sys.modules); "
        "assert time.process_time() < 5"  # other work on the machine does not count
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0 and not result.stderr, result.stderr


def test_running_the_package_is_running_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "aitom_disca", "info", "/none.mrc"], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr == "error: the tomogram /none.mrc does not exist; check the path.\n"


# -- commands that work --------------------------------------------------------------------


def test_pick_and_extract(folder, capsys):
    write_tomogram("t.mrc")
    assert main(["pick", "t.mrc", "--out", "picks.csv", *DIAMETER]) == 0
    picks = read_picks("picks.csv")
    _, planted = balls()
    inner = planted[((planted >= 7) & (planted < np.array(SHAPE) - 7)).all(axis=1)]
    assert len(picks) >= len(inner)
    for centre in inner:
        assert np.linalg.norm(picks.center_zyx_px - centre, axis=1).min() < 2
    extract = ["extract", "t.mrc", "--picks", "picks.csv", "--out", "s.h5", "--box-px", "12"]
    assert main(extract) == 0
    with open_store("s.h5") as store:
        assert store.box_shape_zyx == (12, 12, 12)
        n = len(store)
    out = capsys.readouterr().out
    assert f"{len(picks)} picks written" in out and f"{n} subtomograms of 12 voxels" in out
    assert main(["pick", "t.mrc", "--out", "picks.star", *DIAMETER, "--max-picks", "3"]) == 0
    assert len(read_picks("picks.star", voxel_size_angstrom=VOXEL_SIZE)) == 3


def test_pick_within_a_mask(folder, capsys):
    write_tomogram("t.mrc")
    mask = np.zeros(SHAPE, np.float32)
    mask[:, :, 24:] = 1
    write_volume("mask.mrc", mask, VOXEL_SIZE)
    capsys.readouterr()
    assert main(["pick", "t.mrc", "--mask", "mask.mrc", "--out", "p.csv", *DIAMETER]) == 0
    assert not capsys.readouterr().err
    assert (read_picks("p.csv").center_zyx_px[:, 2] >= 24).all()


def test_info(folder, capsys):
    write_tomogram("t.mrc")
    assert main(["info", "t.mrc", "--tilt-range", "-40", "50"]) == 0
    out = capsys.readouterr().out
    assert "48, 44, 30" in out and "-40 to 50" in out


def test_overwrite_replaces_picks(folder, refused):
    write_tomogram("t.mrc")
    write_picks("p.csv")
    refused("pick", "t.mrc", "--out", "p.csv", *DIAMETER, match="p.csv is there already")
    assert main(["pick", "t.mrc", "--out", "p.csv", "--overwrite", *DIAMETER]) == 0
    assert len(read_picks("p.csv")) > 2


def test_export_overwrites_without_stale_clusters(folder, refused):
    write_store("s.h5")
    for name, labels in (("three.csv", [0, 1, 2, 0, 1, 2]), ("two.csv", [0, 1, 1, 0, 1, 0])):
        rows = "\n".join(f"{i},{k + 1},1.0" for i, k in enumerate(labels))
        (folder / name).write_text(f"index,cluster,posterior\n{rows}\n")
    assert main(["export", "s.h5", "--labels", "three.csv", "--out", "stars"]) == 0
    own = folder / "stars" / "clusters" / "my_selection.star"
    own.write_text("of the user")
    again = ("export", "s.h5", "--labels", "two.csv", "--out", "stars")
    refused(*again, match="is there already")
    assert main([*again, "--overwrite"]) == 0
    names = sorted(p.name for p in (folder / "stars" / "clusters").iterdir())
    assert names == ["cluster_01.star", "cluster_02.star", "my_selection.star"]
    assert own.read_text() == "of the user"


def test_a_warning_is_one_line(folder, capsys):
    write_tomogram("t.mrc")
    write_picks("p.csv", [(15, 22, 20), (2, 2, 2)])
    assert main(["extract", "t.mrc", "--picks", "p.csv", "--out", "s.h5", "--box-px", "12"]) == 0
    err = capsys.readouterr().err.splitlines()
    assert [line for line in err if "too near" in line] and all(
        line.startswith("warning: ") for line in err
    )


# -- tomograms that cannot be used ---------------------------------------------------------

COMMANDS_ON_TOMOGRAMS = {
    "pick": ("--out", "out.csv", *DIAMETER),
    "run": ("--out", "out", *DIAMETER),
}
with_both = pytest.mark.parametrize("command", sorted(COMMANDS_ON_TOMOGRAMS))


def refuse(refused, command, match):
    return refused(command, "t.mrc", *COMMANDS_ON_TOMOGRAMS[command], match=match)


@with_both
def test_missing_file(refused, command):
    refuse(refused, command, "t.mrc does not exist")


@with_both
@pytest.mark.parametrize("content", [b"", b"no MRC", b"\x89PNG" + bytes(range(256)) * 20])
def test_not_an_mrc(folder, refused, command, content):
    (folder / "t.mrc").write_bytes(content)
    refuse(refused, command, "not an MRC file")


@with_both
@pytest.mark.parametrize("left", [500, 1024, 90_000])
def test_truncated_mrc(folder, refused, command, left):
    path = write_tomogram(folder / "t.mrc")
    path.write_bytes(path.read_bytes()[:left])
    refuse(refused, command, "t.mrc")


@with_both
def test_two_and_four_axes(folder, refused, command):
    with mrcfile.new("t.mrc", np.zeros((30, 30), np.float32)) as mrc:
        mrc.voxel_size = VOXEL_SIZE
    refuse(refused, command, "a single 2D image")
    with mrcfile.new("t.mrc", np.zeros((2, 30, 30, 30), np.float32), overwrite=True) as mrc:
        mrc.voxel_size = VOXEL_SIZE
    refuse(refused, command, "4D data")


@with_both
@pytest.mark.parametrize(
    ("voxel_size", "match"),
    [
        ((10, 10, 14), "voxels of different edges"),
        (0, "does not say its voxel size"),
        (1.0, "does not say its voxel size"),
    ],
)
def test_voxel_sizes(folder, refused, command, voxel_size, match):
    with mrcfile.new("t.mrc", balls()[0]) as mrc:
        mrc.voxel_size = voxel_size
    refuse(refused, command, match)


@with_both
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(folder, refused, command, value):
    volume, _ = balls()
    volume[10, 11, 12] = value
    write_tomogram("t.mrc", volume)
    refuse(refused, command, "not finite")


@with_both
def test_constant_tomogram(folder, refused, command):
    write_tomogram("t.mrc", np.full(SHAPE, 3.0))
    refuse(refused, command, "t")


@with_both
def test_no_pick_above_the_threshold(folder, capsys, command):
    """A tomogram without a particle is no error: it is said, and the files are there."""
    write_tomogram("t.mrc")
    options = COMMANDS_ON_TOMOGRAMS[command]
    high = ("--threshold-rule", "absolute", "--threshold", "1e6")
    assert main([command, "t.mrc", *options, *high]) == 0
    assert "no peak of tomogram t reaches the threshold 1e+06" in capsys.readouterr().err
    (picks,) = folder.rglob("*.csv")
    assert picks.read_text().count("\n") == 1  # the names of the columns


@with_both
def test_particle_larger_than_the_tomogram(folder, refused, command):
    write_tomogram("t.mrc")
    large = (*COMMANDS_ON_TOMOGRAMS[command][:2], "--particle-diameter-angstrom", "900")
    refused(command, "t.mrc", *large, match="too small for particles")


@with_both
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--particle-diameter-angstrom", "-5"),
        ("--particle-diameter-angstrom", "nan"),
        ("--sigma-px", "0"),
        ("--voxel-size-angstrom", "-1"),
        ("--max-picks", "0"),
        ("--threshold-rule", "magic"),
        ("--threshold", "high"),
    ],
)
def test_bad_options(folder, refused, command, option, value):
    write_tomogram("t.mrc")
    refused(command, "t.mrc", *COMMANDS_ON_TOMOGRAMS[command][:2], option, value)


def test_a_mask_of_another_size(folder, refused):
    write_tomogram("t.mrc")
    write_volume("mask.mrc", np.ones((30, 44, 47), np.float32), 1.0)
    refused("pick", "t.mrc", "--mask", "mask.mrc", "--out", "p.csv", *DIAMETER, match="mask")


def test_picks_need_a_known_ending(folder, refused):
    write_tomogram("t.mrc")
    refused("pick", "t.mrc", "--out", "picks.txt", *DIAMETER, match=".csv or .star")


# -- picks and stores that cannot be used --------------------------------------------------


def extract(refused, *options, picks="p.csv", match=""):
    return refused("extract", "t.mrc", "--picks", picks, "--out", "s.h5", *options, match=match)


def test_box_larger_than_the_tomogram(folder, refused):
    write_tomogram("t.mrc")
    write_picks("p.csv")
    extract(refused, "--box-px", "40", match="a box of 40 voxels is larger than tomogram t")


def test_existing_store_is_kept(folder, refused):
    write_tomogram("t.mrc")
    write_picks("p.csv")
    write_store("s.h5")
    extract(refused, "--box-px", "12", match="s.h5 is there already")


def test_star_without_the_needed_columns(folder, refused):
    write_tomogram("t.mrc")
    (folder / "p.star").write_text(
        "data_particles\n\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\nt 3.0\nt 4.0\n"
    )
    line = extract(refused, picks="p.star", match="rlnCoordinateY")
    assert "rlnTomoName" in line  # what was found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "tomogram,x\nt,3\n"),
        ("p.csv", "tomogram,z,y,x,score\nt,a,b,c,1\n"),
        ("p.csv", ""),
        ("p.star", "this is no star file\n"),
        ("p.star", ""),
        ("p.json", "{}"),
    ],
)
def test_picks_that_cannot_be_read(folder, refused, name, text):
    write_tomogram("t.mrc")
    (folder / name).write_text(text)
    extract(refused, picks=name, match=name)


def test_missing_picks(folder, refused):
    write_tomogram("t.mrc")
    extract(refused, picks="none.csv", match="none.csv")


def test_picks_of_another_tomogram(folder, refused):
    write_tomogram("t.mrc")
    write_picks("p.csv", name="other")
    extract(refused)


def test_fewer_subtomograms_than_the_largest_k(folder, refused):
    write_store("s.h5", n=6)
    refused("mine", "s.h5", "--out", "out", match="expected at least 12 subtomograms")


def foreign(path):
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((3, 4))


def empty(path):
    h5py.File(path, "w").close()


def no_particles(path):
    with h5py.File(path, "w") as file:
        file.attrs["voxel_size_angstrom"] = 10.0
        file["subtomograms"] = np.zeros((0, 8, 8, 8), np.float32)


@pytest.mark.parametrize("command", ["mine", "predict", "export"])
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("no HDF5"), "expected a readable HDF5 file"),
        (empty, "found: nothing"),
        (foreign, "found: images"),
        (no_particles, "holds no subtomograms"),
    ],
)
def test_stores_that_cannot_be_used(folder, refused, command, make, match):
    make(folder / "s.h5")
    (folder / "labels.csv").write_text("index,cluster,posterior\n0,1,1.0\n")
    more = {"predict": ("--model", "s.h5"), "export": ("--labels", "labels.csv")}.get(command, ())
    line = refused(command, "s.h5", *more, "--out", "out")
    # `predict` looks at the model first, which this file is not either.
    assert match in line or command == "predict"


def test_models_that_cannot_be_used(folder, refused):
    write_store("s.h5")
    refused("predict", "s.h5", "--model", "none.h5", "--out", "o", match="none.h5 does not exist")
    refused("predict", "s.h5", "--model", "s.h5", "--out", "o", match="s.h5 is not one")


def test_labels_that_do_not_fit(folder, refused):
    write_store("s.h5")
    (folder / "l.csv").write_text("index,cluster,posterior\n0,1,1.0\n")
    refused("export", "s.h5", "--labels", "l.csv", "--out", "stars", match="one label per")
    (folder / "l.csv").write_text("a,b\n0,1\n")
    refused("export", "s.h5", "--labels", "l.csv", "--out", "stars", match="cluster")


# -- folders and options -------------------------------------------------------------------


@pytest.mark.parametrize("command", ["pick", "run", "mine", "export", "demo"])
def test_output_that_cannot_be_written(folder, refused, command):
    write_tomogram("t.mrc")
    write_store("s.h5", n=20)
    (folder / "file").write_text("a file, not a folder")
    (folder / "l.csv").write_text(
        "index,cluster,posterior\n" + "".join(f"{i},1,1.0\n" for i in range(20))
    )
    given = {
        "pick": ("t.mrc", "--out", "file/p.csv", *DIAMETER),
        "run": ("t.mrc", "--out", "file/out", *DIAMETER),
        "mine": ("s.h5", "--out", "file/out"),
        "export": ("s.h5", "--labels", "l.csv", "--out", "file/out"),
        "demo": ("--out", "file/out", "--particles", "40"),
    }
    refused(command, *given[command], match="no folder" if command == "pick" else "cannot write")


@pytest.mark.parametrize("command", ["run", "mine", "demo"])
def test_a_folder_that_holds_another_run(folder, refused, command):
    write_tomogram("t.mrc")
    write_store("s.h5", n=20)
    (folder / "out").mkdir()
    record = {"command": "x", "inputs": ["/a"], "settings": {}, "versions": {}, "stages": {}}
    (folder / "out" / "run.json").write_text(json.dumps(record))
    (folder / "out" / "labels.csv").write_text("old")
    given = {"run": ("t.mrc", *DIAMETER), "mine": ("s.h5",), "demo": ()}[command]
    refused(command, *given, "--out", "out", match="already holds a run")
    if command != "demo":
        refused(command, *given, "--out", "out", "--resume", match="holds a run with other")


@pytest.mark.parametrize("command", ["run", "mine"])
def test_overwrite_with_bad_input_leaves_everything(folder, refused, command):
    write_tomogram("t.mrc", np.full(SHAPE, 3.0))
    write_store("s.h5", n=6)
    (folder / "out" / "clusters").mkdir(parents=True)
    for name in ("run.json", "labels.csv", "model.h5", "clusters/cluster_01.star", "notes.txt"):
        (folder / "out" / name).write_text(f"old {name}")
    given = {"run": ("t.mrc", *DIAMETER), "mine": ("s.h5",)}[command]
    refused(command, *given, "--out", "out", "--overwrite")


def test_report_of_what_is_no_run(folder, refused):
    refused("report", ".", match="holds no run.json")


@pytest.mark.parametrize("text", ["a", "2-", "-3", "0", "5-2", "2,,3", "2.5", "", " ", "0-4"])
def test_bad_candidate_k(folder, refused, text):
    write_store("s.h5", n=20)
    refused("mine", "s.h5", "--out", "out", f"--candidate-k={text}", match="--candidate-k")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("8", (8,)),
        ("2-5", (2, 3, 4, 5)),
        ("5,10,20", (5, 10, 20)),
        ("9, 2-4", (2, 3, 4, 9)),
        ("3,3,2-3", (2, 3)),
    ],
)
def test_candidate_k(text, numbers):
    assert parse_candidate_k(text) == numbers


@pytest.mark.parametrize("text", ["x", "0", "4-2", ""])
def test_candidate_k_that_is_none(text):
    with pytest.raises(InputError, match="--candidate-k takes numbers"):
        parse_candidate_k(text)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("mine", "s.h5", "--out", "o", "--colour", "red"), "--colour"),
        (("mine", "s.h5"), "--out"),
        (("mine",), "argument"),
        (("mine", "s.h5", "--out", "o", "--width", "wide"), "--width"),
        (("mine", "s.h5", "--out", "o", "--width", "0"), "width"),
        (("mine", "s.h5", "--out", "o", "--max-iterations", "0"), "max_iterations"),
        (("mine", "s.h5", "--out", "o", "--seed", "-1"), "seed"),
        (("mine", "s.h5", "--out", "o", "--preset", "slow"), "slow"),
        (("mine", "s.h5", "--out", "o", "--relion", "2"), "2"),
        (("nonsense",), "nonsense"),
        (("--nonsense",), "--nonsense"),
        (("demo", "--particles", "3"), "40"),
    ],
)
def test_bad_command_lines(folder, refused, arguments, match):
    write_store("s.h5", n=20)
    refused(*arguments, match=match)


def test_debug_shows_where(folder, capsys):
    for arguments in (["--debug", "info", "none.mrc"], ["info", "none.mrc", "--debug"]):
        logging.getLogger("aitom_disca").handlers.clear()
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert "Traceback" in err and "InputError" in err
        assert err.splitlines()[-1].startswith("error: the tomogram none.mrc does not exist")


def test_a_fault_of_the_program_is_one_line_too(folder, capsys, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("aitom_disca.io.open_tomograms", broken)
    assert main(["info", "t.mrc"]) == 1
    err = capsys.readouterr().err.splitlines()
    assert err == ["error: unexpected ZeroDivisionError: division by zero (--debug shows where)."]


def test_a_stopped_run_says_how_to_go_on(folder, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("aitom_disca.io.open_tomograms", stopped)
    assert main(["info", "t.mrc"]) == 130
    assert "--resume" in capsys.readouterr().err
