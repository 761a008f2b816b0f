"""A parameter that several functions have is the same in all of them where it is not given."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import aitom_disca

PACKAGES = ("clustering", "mining", "network")


@pytest.fixture(scope="module")
def defaults() -> dict[str, set[object]]:
    """Numbers that parameters are by default, by name; read, so that nothing is imported."""
    found = defaultdict(set)
    root = Path(aitom_disca.__file__).parent
    for path in (path for package in PACKAGES for path in (root / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                given = node.args
                last = given.args[len(given.args) - len(given.defaults) :]
                pairs = [*zip(last, given.defaults, strict=True)]
                pairs += zip(given.kwonlyargs, given.kw_defaults, strict=True)
                for argument, default in pairs:
                    text = "" if default is None else ast.unparse(default)
                    if text[:1].isdigit() or text[:1] == "-":
                        found[argument.arg].add(ast.literal_eval(text))
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [("seed", 0), ("reg_covar", 1e-6), ("tol", 1e-3), ("max_iterations", 100)],
)
def test_a_name_has_one_default(defaults, name, expected):
    assert defaults[name] == {expected}


def test_numbers_that_differ_by_what_they_are_for(defaults):
    assert defaults["n_starts"] == {5, 2}  # of a choice; of a comparison of two with one
    assert defaults["batch_size"] == {64, 32, 16}  # YOPO; its decoder; Gum-Net
    assert defaults["epochs"] == {10, 20, 60}  # autoencoder; decoder; Gum-Net
    assert defaults["width"] == {1.0, 0.05}  # as published; Gum-Net as it is trained here
