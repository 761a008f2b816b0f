"""Inputs that are damaged, cut or exchanged are noticed: no value is taken from elsewhere."""

from __future__ import annotations

import os

import numpy as np
import pytest

from aitom_disca import pipeline
from aitom_disca.config import ExtractSettings, PickSettings, RunSettings
from aitom_disca.errors import InputError
from aitom_disca.io import file_marks, open_tomogram, write_volume
from aitom_disca.run_folder import RunFolder

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

    monkeypatch.setattr(pipeline.stages, "mine_clusters", kill)

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
        pipeline.reports.store_of(folder)


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
