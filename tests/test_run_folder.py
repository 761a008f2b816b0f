"""The folder of a run: what it refuses, what it keeps, how a run goes on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from aitom_disca.errors import InputError
from aitom_disca.runs.record_and_resume import check_same, versions
from aitom_disca.runs.run_folder import RunFolder

SETTINGS = {
    "pick": {"threshold": 3.0, "sigma_px": None},
    "mine": {"seed": 0, "candidate_k": (2, 3)},
}
INPUTS = ["/data/a.mrc"]


def started(path, settings=SETTINGS, inputs=INPUTS, command="run", **options) -> RunFolder:
    folder = RunFolder(path)
    folder.start(command, settings, inputs, **options)
    return folder


def changed(part: str, name: str, value) -> dict:
    return {**SETTINGS, part: {**SETTINGS[part], name: value}}


def test_the_record_says_how_the_run_was_made(tmp_path):
    folder = started(tmp_path / "deep" / "run")
    folder.stage("pick", lambda: {"n_picks": 7})
    record = json.loads(folder.record_file.read_text())
    assert record["command"] == "run"
    assert record["inputs"] == INPUTS
    assert record["settings"]["mine"] == {"seed": 0, "candidate_k": [2, 3]}
    assert record["versions"] == versions()
    assert {"aitom-disca", "python", "numpy", "h5py", "keras"} <= set(record["versions"])
    assert record["started"].startswith("20") and record["started"].endswith("+00:00")
    assert record["stages"]["pick"]["n_picks"] == 7
    assert record["stages"]["pick"]["seconds"] >= 0


def test_a_finished_stage_is_not_done_again(tmp_path):
    calls = []

    def work():
        calls.append(1)
        return {"found": len(calls)}

    folder = started(tmp_path)
    first = folder.stage("pick", work)
    assert folder.stage("pick", work) == first
    resumed = started(tmp_path, resume=True)
    assert resumed.stage("pick", work)["found"] == 1
    assert resumed.stage("extract", work)["found"] == 2
    assert list(RunFolder.open(tmp_path).record["stages"]) == ["pick", "extract"]


def test_a_stage_that_fails_is_done_again(tmp_path):
    folder = started(tmp_path)
    folder.stage("pick", lambda: {})

    def fail():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        folder.stage("extract", fail)
    assert list(RunFolder.open(tmp_path).record["stages"]) == ["pick"]
    resumed = started(tmp_path, resume=True)
    assert resumed.stage("extract", lambda: {"done": True})["done"]


def test_a_used_folder_is_refused(tmp_path):
    folder = started(tmp_path)
    before = folder.record_file.read_bytes()
    with pytest.raises(InputError, match=r"already holds a run.*--resume.*--overwrite"):
        started(tmp_path)
    assert folder.record_file.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["labels.csv", "particles.star", "clusters/cluster_02.star", "model.h5"]
)
def test_a_folder_with_files_that_would_be_replaced_is_refused(tmp_path, name):
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("precious")
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=f"already holds {mine.name}, which a run would replace"):
        started(tmp_path)
    assert snapshot(tmp_path) == before


def test_other_files_do_not_matter_and_stay(tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    started(tmp_path)
    started(tmp_path, overwrite=True)
    assert other.read_text() == "mine"


def files_of_a_run(folder: RunFolder) -> list[Path]:
    """Write some results by hand."""
    paths = [folder.picks, folder.store, folder.model, folder.report, folder.star]
    paths.append(folder.star_folder / "cluster_09.star")
    folder.star_folder.mkdir()
    for path in paths:
        path.write_text(f"old {path.name}")
    return paths


def finished(path) -> RunFolder:
    """A run with two stages done, and its files."""
    folder = started(path)
    folder.stage("pick", lambda: {"n_picks": 7})
    files_of_a_run(folder)
    folder.stage("write", lambda: {})
    return folder


def snapshot(path) -> dict[str, bytes | None]:
    return {
        p.relative_to(path).as_posix(): p.read_bytes() if p.is_file() else None
        for p in path.rglob("*")
    }


def refuse():
    raise InputError("expected a tomogram")


def test_overwrite_removes_all_earlier_results(tmp_path):
    folder = finished(tmp_path)
    stale = [path for path in folder.results() if path != folder.record_file]
    assert len(stale) == 6
    again = started(tmp_path, changed("mine", "seed", 5), overwrite=True)
    assert not any(path.exists() for path in stale)
    assert again.record["stages"] == {}
    assert RunFolder.open(tmp_path).record["settings"]["mine"]["seed"] == 5
    again.stage("mine", lambda: {})
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "clusters"}
    assert not list(folder.star_folder.iterdir())


@pytest.mark.parametrize("done", [[], ["pick"], ["pick", "extract"]])
def test_a_replaced_run_comes_back_when_a_stage_refuses_its_input(tmp_path, done):
    finished(tmp_path)
    before = snapshot(tmp_path)
    again = started(tmp_path, changed("mine", "seed", 5), inputs=["/data/b.mrc"], overwrite=True)
    for name in done:
        again.stage(name, lambda: {})
    for path in (again.picks, again.labels):  # the earlier run had no labels
        path.write_text("new")
    with pytest.raises(InputError, match="expected a tomogram"):
        again.stage("mine", refuse)
    assert snapshot(tmp_path) == before
    assert RunFolder.open(tmp_path).record["stages"]["pick"]["n_picks"] == 7
    started(tmp_path, resume=True)  # and it can be gone on with


@pytest.mark.parametrize("deciding", ["mine", "predict"])
def test_a_replaced_run_is_gone_once_there_are_clusters(tmp_path, deciding):
    finished(tmp_path)
    again = started(tmp_path, overwrite=True)
    again.stage("pick", lambda: {"n_picks": 3})
    assert (tmp_path / ".replaced" / "model.h5").read_text() == "old model.h5"
    again.stage(deciding, lambda: {})
    with pytest.raises(InputError, match="expected a tomogram"):
        again.stage("write", refuse)
    assert RunFolder.open(tmp_path).record["stages"]["pick"]["n_picks"] == 3
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "clusters"}


@pytest.mark.parametrize("done", [[], ["pick"]])
def test_what_mining_has_kept_stays_when_the_disk_is_full(tmp_path, done):
    finished(tmp_path)
    new = changed("mine", "seed", 5)
    folder = started(tmp_path, new, overwrite=True)
    for name in done:
        folder.stage(name, lambda: {})

    def full():
        folder.checkpoint.write_text("iteration 3")
        raise InputError("make room")

    with pytest.raises(InputError, match="make room"):
        folder.stage("mine", full)
    assert list(started(tmp_path, new, resume=True).record["stages"]) == done
    assert folder.checkpoint.read_text() == "iteration 3"
    assert (tmp_path / ".replaced" / "model.h5").read_text() == "old model.h5"


class Killed(BaseException):
    """As if the process were gone: no more file is touched."""


FILE_OPERATIONS = [(os, "replace"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree")]


def killed_at(number, monkeypatch, act) -> bool:
    """Act until the file operation of that number is asked for; whether there were so many."""
    count = 0

    def counted(operation):
        def called(*args, **kwargs):
            nonlocal count
            count += 1
            if count >= number:
                raise Killed
            return operation(*args, **kwargs)

        return called

    with monkeypatch.context() as patch:
        for owner, name in FILE_OPERATIONS:
            patch.setattr(owner, name, counted(getattr(owner, name)))
        try:
            act()
        except Killed:
            return True
        except InputError:
            pass
    return False


def test_a_run_killed_while_it_replaces_another_loses_nothing(tmp_path, monkeypatch):
    finished(tmp_path / "old")
    before = snapshot(tmp_path / "old")
    for number in range(1, 100):
        out = tmp_path / str(number)
        shutil.copytree(tmp_path / "old", out)
        start = lambda out=out: started(out, changed("mine", "seed", 5), overwrite=True)  # noqa: E731
        killed = killed_at(number, monkeypatch, start)
        with pytest.raises(InputError, match="already holds a run"):
            started(out)
        left = {name: data for name, data in snapshot(out).items() if name[0] != "."}
        assert left == before, number
        if not killed:
            break
    assert 10 < number < 99


def test_a_run_killed_while_the_earlier_one_comes_back_loses_nothing(tmp_path, monkeypatch):
    finished(tmp_path / "old")
    before = snapshot(tmp_path / "old")
    for number in range(1, 100):
        out = tmp_path / str(number)
        shutil.copytree(tmp_path / "old", out)
        folder = started(out, changed("mine", "seed", 5), overwrite=True)
        folder.stage("pick", lambda: {})
        for path in (folder.picks, folder.history):
            path.write_text("new")
        killed = killed_at(number, monkeypatch, lambda f=folder: f.stage("extract", refuse))
        again = started(out, changed("mine", "seed", 6), overwrite=True)
        with pytest.raises(InputError, match="expected a tomogram"):
            again.stage("pick", refuse)
        assert snapshot(out) == before, number
        if not killed:
            break
    assert 10 < number < 99


def test_a_run_killed_once_there_are_clusters_keeps_them(tmp_path, monkeypatch):
    finished(tmp_path / "old")
    for number in range(2, 100):  # the first operation records the stage
        out = tmp_path / str(number)
        shutil.copytree(tmp_path / "old", out)
        folder = started(out, changed("mine", "seed", 5), overwrite=True)
        folder.checkpoint.write_text("state")
        killed = killed_at(number, monkeypatch, lambda f=folder: f.stage("mine", lambda: {"k": 3}))
        again = started(out, changed("mine", "seed", 5), resume=True)
        assert again.stage("mine", refuse)["k"] == 3
        assert {path.name for path in out.iterdir()} == {"run.json", "clusters"}
        if not killed:
            break
    assert 3 < number < 99


def test_a_run_that_replaces_another_goes_on_after_a_kill(tmp_path):
    finished(tmp_path)
    new = changed("mine", "seed", 5)
    started(tmp_path, new, overwrite=True).stage("pick", lambda: {"n_picks": 3})
    with pytest.raises(InputError, match=r"already holds a run.*--resume"):
        started(tmp_path)  # which changes nothing
    again = started(tmp_path, new, resume=True)
    assert again.stage("pick", refuse)["n_picks"] == 3
    again.stage("mine", lambda: {})
    assert not (tmp_path / ".replaced").exists()


def test_half_written_files_of_a_killed_run_are_removed(tmp_path):
    folder = started(tmp_path)
    folder.star_folder.mkdir()
    parts = [
        ".model.0a1b2c3d.part.h5",
        ".run.0a1b2c3d.part.json",
        "clusters/.cluster_01.0a1b2c3d.part.star",
    ]
    own = [".model.mine.part.h5", ".notes.0a1b2c3d.part.txt"]
    for name in parts + own:
        (tmp_path / name).write_text("half")
    started(tmp_path, resume=True)
    assert not any((tmp_path / name).exists() for name in parts)
    assert all((tmp_path / name).exists() for name in own)


def test_a_replaced_run_survives_a_kill_before_the_first_stage(tmp_path):
    finished(tmp_path)
    before = snapshot(tmp_path)
    started(tmp_path, changed("mine", "seed", 5), overwrite=True)  # and nothing more
    with pytest.raises(InputError, match="already holds a run"):
        started(tmp_path)
    assert snapshot(tmp_path) == before


def test_a_file_of_the_user_among_the_clusters_is_never_touched(tmp_path):
    folder = finished(tmp_path)
    own = folder.star_folder / "my_selection.star"
    own.write_text("precious")
    again = started(tmp_path, overwrite=True)
    assert own.read_text() == "precious"
    again.stage("pick", lambda: {})
    assert [path.name for path in folder.star_folder.iterdir()] == ["my_selection.star"]
    assert own not in folder.results()
    started(tmp_path / "new").star_folder.mkdir()
    (tmp_path / "new" / "run.json").unlink()
    (tmp_path / "new" / "clusters" / "notes.txt").write_text("mine")
    started(tmp_path / "new")  # such a file is no reason to refuse the folder


@pytest.mark.parametrize(
    ("part", "name", "value", "was"),
    [("pick", "threshold", 4.0, "3.0"), ("mine", "seed", 1, "0"), ("pick", "sigma_px", 2, "None")],
)
def test_other_settings_are_refused_on_resume_by_name(tmp_path, part, name, value, was):
    folder = started(tmp_path)
    before = folder.record_file.read_bytes()
    message = rf"other settings \({name} = {was}, now {name} = {value}\)"
    with pytest.raises(InputError, match=message):
        started(tmp_path, changed(part, name, value), resume=True)
    assert folder.record_file.read_bytes() == before


def test_other_input_or_command_is_refused_on_resume(tmp_path):
    started(tmp_path)
    with pytest.raises(InputError, match=r"other inputs.*a.mrc.*b.mrc"):
        started(tmp_path, inputs=["/data/b.mrc"], resume=True)
    with pytest.raises(InputError, match=r"other command.*run, now mine"):
        started(tmp_path, command="mine", resume=True)


@pytest.mark.parametrize("together", [True, False])
def test_a_folder_that_was_moved_is_gone_on_with(tmp_path, together):
    """With its tomograms, which lie beside it, or without them."""
    tomogram = tmp_path / "first" / "tomograms" / "a.mrc"
    tomogram.parent.mkdir(parents=True)
    tomogram.write_bytes(b"voxels")

    def begin(tomogram: Path, run: Path, **options) -> RunFolder:
        path = str(tomogram)
        settings = {**SETTINGS, "picks": [str(tomogram.with_suffix(".star"))]}
        read_as = {path: {"voxel_size_angstrom": 10.0, "path": path}}
        return started(run, settings, [path], read_as=read_as, **options)

    run = tmp_path / "first" / "runs" / "one"
    begin(tomogram, run).stage("mine", lambda: {"done": True})
    (tmp_path / "second").mkdir()
    moved = "first" if together else "first/runs"
    (tmp_path / moved).rename(tmp_path / "second" / Path(moved).name)
    if together:
        tomogram = tmp_path / "second" / "first" / "tomograms" / "a.mrc"
    run = next((tmp_path / "second").rglob("run.json")).parent
    again = begin(tomogram, run, resume=True)
    assert again.record["stages"]["mine"]["done"] and again.inputs() == [tomogram]
    tomogram.write_bytes(b"others")
    with pytest.raises(InputError, match=r"a\.mrc is not what it was"):
        begin(tomogram, run, resume=True)
    other = tomogram.with_name("other") / "a.mrc"
    other.parent.mkdir()
    other.write_bytes(b"voxels")
    with pytest.raises(InputError, match=r"other inputs"):
        begin(other, run, resume=True)


def test_resume_of_an_empty_folder_begins(tmp_path):
    assert started(tmp_path / "new", resume=True).record["stages"] == {}


def test_overwrite_wins_over_resume(tmp_path):
    started(tmp_path).stage("pick", lambda: {})
    assert started(tmp_path, overwrite=True, resume=True).record["stages"] == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stages": {}}', "3"])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    for act in (lambda: RunFolder.open(tmp_path), lambda: started(tmp_path, resume=True)):
        with pytest.raises(InputError, match="cannot be read as the record of a run"):
            act()
    started(tmp_path, overwrite=True)


def test_open_needs_a_run(tmp_path):
    with pytest.raises(InputError, match=r"holds no run.json"):
        RunFolder.open(tmp_path)


def test_a_folder_that_cannot_be_written_to(tmp_path):
    file = tmp_path / "file"
    file.write_text("here")
    with pytest.raises(InputError, match="choose a folder that you may write to"):
        started(file / "run")
    assert file.read_text() == "here"


def test_results_are_the_files_that_are_there(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.results() == []
    (tmp_path / "notes.txt").write_text("mine")
    paths = files_of_a_run(folder)
    assert set(folder.results()) == set(paths)
    assert all(path.is_file() and tmp_path in path.parents for path in folder.results())
    folder.model.unlink()
    assert set(folder.results()) == set(paths) - {folder.model}


@pytest.mark.parametrize("name", ["subtomograms.h5", "model.h5"])
def test_an_input_is_never_removed(tmp_path, name):
    started(tmp_path)
    precious = tmp_path / name
    precious.write_text("input of the new run")
    with pytest.raises(InputError, match=f"{name} is an input of this run"):
        started(tmp_path, inputs=[str(precious)], command="mine", overwrite=True)
    assert precious.read_text() == "input of the new run"


def test_a_run_that_could_not_begin_leaves_nothing(tmp_path):
    folder = started(tmp_path / "new")
    with pytest.raises(InputError, match="expected a tomogram"):
        folder.stage("pick", refuse)
    assert not list(tmp_path.iterdir())
    folder = started(tmp_path / "new")  # the folder is free again
    folder.stage("pick", lambda: {})
    with pytest.raises(InputError, match="expected a tomogram"):
        folder.stage("extract", refuse)
    assert list(RunFolder.open(tmp_path / "new").record["stages"]) == ["pick"]


def test_what_differs_is_said_in_short(tmp_path):
    page = {f"constant_{i}": float(i) for i in range(100)}
    record, new = (
        {"command": "mine", "inputs": [], "inputs_relative": [], "settings": {"sorting": one}}
        for one in (page, None)
    )
    with pytest.raises(
        InputError, match=r"\(sorting = \{'constant_0'.* now sorting = None"
    ) as said:
        check_same(tmp_path, record, new | {"read_as": None})
    assert len(str(said.value)) < 500
