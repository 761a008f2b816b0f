"""What README and documentation tell a reader to type exists; links and pictures lead somewhere."""

from __future__ import annotations

import ast
import re
import runpy
import tomllib
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace

import pytest
import typer

import aitom_disca
from aitom_disca.cli.app import app
from aitom_disca.config import MineSettings

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / "tutorials/README.md"]
hooks = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/hooks.py")))
COMMANDS = typer.main.get_command(app).commands
OPTIONS = {o for c in COMMANDS.values() for p in c.params for o in (*p.opts, *p.secondary_opts)}
ELSEWHERE = {  # options of other programs, and of ours as a whole
    "--debug",
    "--help",
    "--combine",
    "--denovo_3dref",
    "--reextract_data_star",
    "--scale",
    "--skip_align",
}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8").replace("\\\n", " ")


def shown_in(text: str) -> set[tuple[str, str]]:
    """Commands of ours as they are shown, each with what follows on its line."""
    return set(re.findall(r"aitom-disca ([a-z]+(?:-[a-z]+)*)([^`\n]*)", text))


def known_to(command: str) -> set[str]:
    parameters = COMMANDS[command].params
    return {o for p in parameters for o in (*p.opts, *p.secondary_opts)}


by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_every_command_is_shown_in_the_documentation():
    shown = {name for page in PAGES for name, _ in shown_in(text_of(page))}
    assert shown == set(COMMANDS)


@by_page
def test_shown_commands_and_named_options_exist(page):
    text = text_of(page)
    for name, rest in shown_in(text):
        assert name in COMMANDS
        typed = re.split(r" && |  #|[.;:,]? \(", rest)[0]
        named = set(re.findall(r"(?<!\S)--[a-z][a-z_-]*", typed))
        assert named <= known_to(name) | {"--help"}, f"aitom-disca {name}{rest}"
    named = set(re.findall(r"`(--[a-z][a-z0-9_-]*)", text))
    assert named <= OPTIONS | ELSEWHERE


@by_page
def test_python_examples_are_python_and_import_what_is_there(page):
    for example in re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL):
        compile(example, page.name, "exec")
        for module, names in re.findall(
            r"^from (aitom_disca\S*) import (.+)$", example, re.MULTILINE
        ):
            assert all(hasattr(import_module(module), name) for name in names.split(", "))


@by_page
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        target, _, heading = link.partition("#")
        if "://" in link:
            continue
        found = page.parent / target if target else page
        assert found.is_file(), link
        titles = re.findall(r"^#+ (.+)$", found.read_text("utf-8"), re.MULTILINE) if heading else []
        slugs = [re.sub(r"[^\w\s-]", "", title).strip().lower().split() for title in titles]
        assert not heading or heading in {"-".join(slug) for slug in slugs}, link


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_tests_that_the_formats_name_are_there():
    named = re.findall(r"`(test_\w+\.py)`", text_of(ROOT / "docs/convert.md"))
    assert len(named) > 5
    assert all((ROOT / "tests" / name).is_file() for name in named)


def test_the_extras_that_the_readme_names_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shown = (ROOT / "docs/quick-start.md").read_text(encoding="utf-8").split("## Extras")[1]
    table = [row.split("|")[1] for row in shown.splitlines() if row.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(table))) == set(project["optional-dependencies"])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_page_of_a_command_is_made_of_all_its_options(name):
    page = hooks.page_of(name)
    assert {f"`{o}`" for o in known_to(name) if o.startswith("-")} <= set(
        re.findall(r"`-[^`]*`", page)
    )
    assert all(parameter.help for parameter in COMMANDS[name].params)
    assert COMMANDS[name].help.splitlines()[0].split("`")[0] in page


def test_the_page_of_a_command_says_choices_bounds_and_defaults():
    page = hooks.page_of("run")
    assert "One of `fast`, `paper`. | `fast` |" in page
    assert "At least 1. | `1` |" in page
    assert "| `--graded-wedge`, `--binary-wedge` |" in page
    assert "must be given" in page


def test_the_reference_of_a_package_holds_its_public_names():
    assert {"clustering", "io", "picking"} <= set(hooks.packages())
    assert "::: aitom_disca.clustering.ddbi.ddbi\n" in hooks.page_of_package("clustering")


def test_the_reference_holds_what_the_package_itself_names():
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    shown = {
        id(getattr(import_module(m), n)) for m, _, n in (d.rpartition(".") for d in documented)
    }
    wanted = set(aitom_disca.__all__) - {"__version__"}
    assert shown == {id(getattr(aitom_disca, name)) for name in wanted}


def test_equations_are_drawn():
    tex = r"<p><span class='x'>x</span> <span class=\"arithmatex\">\(a_1 &lt; 2\)</span></p>"
    drawn = hooks.on_page_content(tex.replace('\\"', '"'))
    assert "arithmatex" not in drawn
    assert 'aria-label="a_1 &lt; 2"' in drawn and "<svg" in drawn
    assert re.search(r'width="[\d.]+em"', drawn)
    assert "#ffffff" not in drawn  # no ground of its own: there is a dark style, too


@pytest.mark.parametrize("setting", ["candidate_k", "merge_clusters", "split_clusters"])
def test_settings_that_the_documentation_names_exist(setting):
    assert setting in MineSettings.model_fields


# -- names of modules --------------------------------------------------------------------------

PACKAGE = ROOT / "aitom_disca"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {*(path.stem for path in SOURCES), *(p.parent.name for p in PACKAGE.rglob("__init__.py"))}
ENDINGS = {"csv", "cxc", "h5", "html", "js", "json", "md", "mrc", "npz", "png", "star", "yaml"}


def modules_named_in(text: str) -> set[str]:
    """What stands in backticks and looks like a module of ours, or something in one."""
    dotted = re.findall(r"(?<!`)`([A-Za-z_]\w*(?:\.\w+)+)`(?!`)", text)
    return {n for n in dotted if n.split(".")[0] in MODULES and n.split(".")[-1] not in ENDINGS}


def is_there(name: str, within: tuple[str, ...] = ()) -> bool:
    """Whether a name can be imported, as it is or below a package or one of those around it."""
    if name.split(".")[0] == "aitom_disca":
        within = ()
    for n in range(len(within), -1, -1):
        with suppress(ImportError, AttributeError):
            resolve_name(".".join([*within[:n], name]))
            return True
    return False


@by_page
def test_modules_that_a_page_names_exist(page):
    lost = {n for n in modules_named_in(text_of(page)) if not is_there(n, ("aitom_disca",))}
    assert not lost


def test_the_map_of_packages_names_what_is_in_them():
    rows = re.findall(r"^\| (`.*`) \| (.*) \|$", text_of(ROOT / "CONTRIBUTING.md"), re.MULTILINE)
    mapped = {name for row, _ in rows for name in re.findall(r"\w+", row)} - {"aitom_disca"}
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py")}
    assert mapped == there - {"__init__", "__main__", "__pycache__"}
    for row, content in rows[1:]:
        packages = re.findall(r"\w+", row)
        files = [path for name in packages for path in (PACKAGE / name).rglob("*")]
        for name in re.findall(r"`(\w+)`", content):
            inside = any(is_there(f"aitom_disca.{package}.{name}") for package in packages)
            assert inside or name in {path.stem for path in files}, (row, name)


def test_names_in_docstrings_and_comments_exist():
    """Dotted ones can be imported; a word with an underscore stands somewhere in the code."""
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES}
    words = {*MODULES}
    for text in texts.values():
        for node in ast.walk(ast.parse(text)):
            for value in vars(node).values():
                words |= {v for v in (value if isinstance(value, list) else [value])
                          if isinstance(v, str) and v.isidentifier()}  # fmt: skip
    lost = set()
    for path, text in texts.items():
        within = path.relative_to(ROOT).with_suffix("").parts
        lost |= {n for n in modules_named_in(text) if not is_there(n, within)}
        named = re.findall(r"(?<!`)`([a-z]\w*_\w+)`(?!`)", text)
        lost |= {name for name in named if name not in words}
    assert not lost
