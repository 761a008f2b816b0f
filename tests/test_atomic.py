"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aitom_disca.errors import InputError
from aitom_disca.io import replacing, write_text


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "a.txt"
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: calls.append("disk") or fsync(f))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append("name") or replace(a, b))
    write_text(path, "whole")
    assert calls == ["disk", "name"] and path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write a\.txt into .*file"):
        write_text(tmp_path / "file" / "a.txt", "")
