"""Disks that are full or fail: one sentence that names the folder, and nothing left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from full_disk import files_no_larger_than

from aitom_disca import errors
from aitom_disca.cli import app, main
from aitom_disca.io import StoreWriter, write_text, write_volume
from aitom_disca.io.disk.hdf5 import new_file
from aitom_disca.particles import ParticleSet, TomogramInfo
from aitom_disca.reembedding.map_file import DENSITY_MODE, new_map

INFO = TomogramInfo("TS_1", 10.0, (20, 30, 40))


def write_store(path: Path) -> None:
    with StoreWriter.create(path, (8,) * 3, 10.0, (-60, 60), {"TS_1": INFO}, overwrite=True) as new:
        for _ in range(40):
            places = ParticleSet(np.full(1, "TS_1"), np.full((1, 3), 9.0))
            new.append(np.ones((1, 8, 8, 8), np.float32), places)


def write_map(path: Path) -> None:
    with new_map(path, DENSITY_MODE, INFO) as file:
        file.write(0, np.ones((20, 30, 40), np.float32))


def write_array(path: Path) -> None:
    write_volume(path, np.ones((20, 30, 40)), 10.0)


def write_hdf5(path: Path) -> None:
    with new_file(path) as file:
        file["a"] = np.ones(20000)


@pytest.mark.parametrize("size", [0, 100, 3000, 30000])
@pytest.mark.parametrize("write", [write_store, write_map, write_array, write_hdf5])
def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path, write, size):
    path = tmp_path / "old"
    path.write_text("old")
    with files_no_larger_than(size), pytest.raises(OSError) as caught:
        write(path)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_was_written_whole_is_read_again(tmp_path):
    write_hdf5(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["a"][:].sum() == 20000


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES]
)
def test_a_disk_that_fails_is_one_sentence_with_the_folder(tmp_path, monkeypatch, capsys, number):
    def fail(*_: object, **__: object) -> None:
        of_path = number in (errno.EROFS, errno.EACCES)  # the others come from writing
        raise OSError(number, os.strerror(number), out if of_path else None)

    out = str(tmp_path / "a" / "l.json")
    monkeypatch.setattr(Path, "write_text", fail)
    assert main(["doctor", "--json", out]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and "unexpected" not in said
    assert str(tmp_path / "a") in said and "l.json" in said
    assert not list(tmp_path.rglob("*.*"))


def test_a_disk_without_room_for_the_first_byte(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "touch", fail)
    with pytest.raises(OSError, match=str(tmp_path)) as caught:
        write_text(tmp_path / "a.txt", "")
    said = errors.disk_fault(caught.value)
    assert said is not None and said.startswith(f"there is no room left in {tmp_path} for a.txt; ")


def test_too_little_memory_is_one_sentence(monkeypatch, capsys):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 7.3 TiB")

    monkeypatch.setattr(app, "app", fail)
    assert main(["info", "x"]) == 2
    assert "not enough memory (Unable to allocate 7.3 TiB)" in capsys.readouterr().err
