"""Settings: what cannot be used is said in one sentence, however they are made."""

from __future__ import annotations

import inspect

import pytest

import aitom_disca
from aitom_disca import AverageSettings, InputError, MineSettings, PickSettings, RunSettings


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MineSettings(width=-1), "width = -1 cannot be used"),
        (lambda: MineSettings(colour="red"), "colour = 'red' cannot be used"),
        (lambda: MineSettings(candidate_k=(2, 0)), "candidate_k.1 = 0 cannot be used"),
        (lambda: MineSettings().changed(seed=-1), "seed = -1 cannot be used"),
        (lambda: PickSettings(sigma_ratio="much"), "sigma_ratio = 'much' cannot be used"),
        (lambda: AverageSettings(aligner="eye"), "aligner = 'eye' cannot be used"),
        (lambda: RunSettings(mine={"width": -1}), "mine.width = -1 cannot be used"),
        (lambda: RunSettings().changed(mine={"width": -1}), "mine.width = -1 cannot be used"),
        (lambda: RunSettings(mine=3), "mine = 3 cannot be used"),
    ],
)
def test_settings_that_cannot_be_used(make, said):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value).startswith(said)
    assert str(caught.value).count("cannot be used") == 1
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert ".." not in str(caught.value)


def test_an_unknown_setting_names_those_that_there_are():
    with pytest.raises(InputError, match=r"no such setting; choose from .*candidate_k, .*seed"):
        MineSettings(colour="red")
    with pytest.raises(InputError, match=r"mine\.colour = 'red' .* choose from .*width"):
        RunSettings(mine={"colour": "red"})


def test_settings_within_settings_may_be_given_by_name():
    settings = RunSettings(mine={"seed": 3}, pick=PickSettings(threshold=4.0))
    assert settings.mine == MineSettings(seed=3) and settings.pick.threshold == 4
    assert RunSettings(**settings.model_dump()) == settings


def test_editors_see_the_names_of_settings():
    assert [*inspect.signature(MineSettings).parameters] == [*MineSettings.model_fields]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda p: aitom_disca.average(p / "no.h5", p / "out"), "no.h5"),
        (lambda p: aitom_disca.refine(p / "no.h5", p / "no.csv", p / "out"), "no.h5"),
        (lambda p: aitom_disca.predict(p / "no.h5", p / "no_model.h5", p / "out"), "no_model.h5"),
        (lambda p: aitom_disca.convert(p / "no.star", p / "out.star", "relion5"), "no.star"),
        (lambda p: aitom_disca.embed(p / "no.h5", p / "none", p / "out"), "none holds no aver"),
    ],
)
def test_functions_at_the_top_refuse_files_that_are_not_there(call, said, tmp_path):
    with pytest.raises(InputError, match=said):
        call(tmp_path)
    assert not [*tmp_path.iterdir()]
