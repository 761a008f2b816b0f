"""On what is computed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from aitom_disca.cli.app import main
from aitom_disca.computing import chosen_device, devices
from aitom_disca.errors import InputError


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    chosen_device._found.cache_clear()
    yield
    chosen_device.use("auto")
    chosen_device._found.cache_clear()


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_device, "_drivers_are_there", lambda: True)
    monkeypatch.setattr(devices, "accelerators", lambda: ["gpu:0", "gpu:1"])


def test_the_first_card_is_taken_unless_another_is_asked_for(two_cards, monkeypatch):
    monkeypatch.setattr("keras.device", lambda name: nullcontext())
    assert chosen_device.accelerator() == "gpu:0"
    for name, wanted in [("cuda:1", "gpu:1"), ("gpu", "gpu:0"), ("cpu", None), ("auto", "gpu:0")]:
        chosen_device.use(name)
        assert chosen_device.accelerator() == wanted


def test_networks_are_built_on_the_device_that_was_asked_for(two_cards):
    from keras import ops

    def where() -> str:
        return str(getattr(ops.ones(1), "device", "")).lower()

    if "cpu:0" not in where():
        pytest.skip("this backend does not say where an array is")
    chosen_device.use("cpu")
    assert where().endswith("cpu:0")


def test_without_a_card_keras_is_not_asked(monkeypatch):
    monkeypatch.setattr(chosen_device, "_drivers_are_there", lambda: False)
    monkeypatch.setitem(sys.modules, "keras", None)  # an import would fail
    assert chosen_device.accelerator() is None
    chosen_device.use("cpu")
    assert chosen_device.accelerator() is None


@pytest.mark.parametrize("name", ["cuda:x", "", "quick", "cpu:3", "cuda:0 "])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=r"takes auto, cpu, or a device such as cuda:0; got "):
        chosen_device.use(name)


@pytest.mark.parametrize("command", ["mine", "refine", "average", "predict", "run", "decode"])
def test_every_command_that_computes_refuses_a_device_that_is_not_there(command, tmp_path, capsys):
    options = [str(tmp_path), "--out", "out", "--labels", "l", "--model", "m"]
    taken = {"decode": 1, "mine": 3, "run": 3, "predict": 3, "refine": 5, "average": 5}[command]
    more = options[5:] if command == "predict" else []
    code = main([command, *options[:taken], *more, "--device", "cuda:77"])
    said = capsys.readouterr().err
    assert code == 2 and "expected a device that Keras' backend sees (cpu" in said
    assert "got --device cuda:77." in said and said.count("\n") == 1
