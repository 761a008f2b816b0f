"""What a run says before it begins: what it will do, how long, how much disk."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from aitom_disca.config import MineSettings, PickSettings, RunSettings
from aitom_disca.errors import InputError
from aitom_disca.io.disk import free_space
from aitom_disca.pipeline import time_and_disk_estimate
from aitom_disca.pipeline.run_stages import stages_of
from aitom_disca.progress import shown

CELL = SimpleNamespace(shape_zyx=(150, 300, 300), voxel_size_angstrom=10.0)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(time_and_disk_estimate, "n_cores", lambda: 2)


def settings_of(**given) -> RunSettings:
    pick = PickSettings(particle_diameter_angstrom=270)
    return RunSettings(pick=pick).model_copy(update=given)


def said(tmp_path, settings, n_tomograms=1, **rest) -> list[str]:
    text = io.StringIO()
    with shown(Console(file=text, width=300)):
        time_and_disk_estimate.say_plan(
            tmp_path, [CELL] * n_tomograms, settings, stages_of(settings), **rest
        )
    return text.getvalue().splitlines()


def rest_said(n, settings) -> str:
    text = io.StringIO()
    with shown(Console(file=text, width=300)):
        time_and_disk_estimate.say_rest(n, [CELL], settings, stages_of(settings))
    return text.getvalue().strip()


def test_a_run_says_what_it_will_do(tmp_path):
    what, time, disk = said(tmp_path, settings_of())
    assert what == (
        "1 tomogram of 13.5 million voxels: pick particles, cut subtomograms, sort them, average "
        "every cluster, put the averages back and write star files and a report"
    )
    assert time.startswith("picking takes 15 to 35 s, the rest ")
    assert time.endswith(" for 34 to 960 particles that may be there (2 cores)")
    assert "maps of 1 tomogram: 81 MB to be written" in disk and "for every 1000" in disk
    assert "2 tomograms of 27 million voxels" in said(tmp_path, settings_of(), 2)[0]


def test_what_is_left_out_is_not_said(tmp_path):
    what, _, disk = said(tmp_path, settings_of(until="mine", picks=("picks.star",)))
    assert "take the picks that were given, cut" in what and "average" not in what
    assert "maps" not in disk


def test_times_are_said_only_where_any_were_measured(tmp_path):
    published = settings_of(mine=MineSettings.from_preset("paper"))
    assert len(said(tmp_path, published)) == 2 and not rest_said(851, published)
    assert len(said(tmp_path, settings_of(), elsewhere=True)) == 2


@pytest.mark.parametrize(
    ("n", "measured_s"),
    [(851, 271 + 183), (1065, 240 + 870), (1065, 641 + 511)],  # simulated cells, sort and average
)
def test_runs_that_were_measured_lie_within_the_range(n, measured_s):
    settings = settings_of()
    least, most = time_and_disk_estimate._rest_s(n, 44, 13.5, settings, stages_of(settings))
    assert least / 2 < measured_s < most / 2
    assert most < 8 * least


def test_the_rest_is_said_once_the_number_is_known():
    said = "{}: the rest takes {} (2 cores)"
    assert rest_said(851, settings_of()) == said.format("851 particles", "3 to 14 min")
    assert rest_said(1, settings_of()).startswith("1 particle: ")


def test_a_disk_without_room_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(free_space, "free_bytes", lambda folder: 1000)
    with pytest.raises(InputError, match=r"maps of 1 tomogram would take 81 MB"):
        said(tmp_path, settings_of())
