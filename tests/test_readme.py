"""What the README tells a reader to type exists, and its pictures are there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import typer

from aitom_disca.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands
LINES = re.findall(r"aitom-disca ([a-z]+(?:-[a-z]+)*)([^`\n]*)", TEXT)


def test_every_command_is_shown():
    assert {name for name, _ in LINES} == set(COMMANDS)


@pytest.mark.parametrize(("name", "rest"), sorted(set(LINES)))
def test_shown_commands_exist_with_their_options(name, rest):
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", rest)) <= known


def test_every_option_that_is_named_exists():
    known = {o for c in COMMANDS.values() for p in c.params for o in (*p.opts, *p.secondary_opts)}
    named = set(re.findall(r"`(--[a-z-]+)", TEXT)) - {"--help"}
    assert len(named) > 10
    assert named <= known


def test_python_examples_are_python():
    examples = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        compile(example, "README.md", "exec")


def test_what_the_readme_imports_is_there():
    for module, names in re.findall(r"^from (aitom_disca\S*) import (.+)$", TEXT, re.MULTILINE):
        for name in names.split(", "):
            assert hasattr(import_module(module), name)


def test_links_into_the_repository_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert links
    assert all((ROOT / link).is_file() for link in links)


def test_the_tests_that_the_readme_names_are_there():
    named = re.findall(r"`(test_\w+\.py)`", TEXT)
    assert len(named) > 5
    assert all((ROOT / "tests" / name).is_file() for name in named)
