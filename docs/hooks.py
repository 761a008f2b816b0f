"""What the documentation site takes from elsewhere: options, tutorials, pictures, equations."""

from __future__ import annotations

import ast
import html
import inspect
import io
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from aitom_disca.cli.app import app
from aitom_disca.cli.help_text import ALWAYS, OFTEN, group_of
from aitom_disca.config.alignment import ToReferenceSettings
from aitom_disca.config.base import Settings
from aitom_disca.config.sorting import SORTING

ROOT = Path(__file__).resolve().parents[1]
_COMMANDS = "commands.md"
_ELSEWHERE = {
    "../tutorials/pictures/": "pictures/",
    "../tutorials/README.md": "tutorials.md",
    "../CHANGELOG.md": "changelog.md",
}
_CONSTANTS = "<!-- the tables: made from the code -->"
_POINTS_PER_EM = 10  # of equations, as Matplotlib draws them


def on_config(config: Any) -> Any:
    """Give every command and every package a page in the contents."""
    (reference,) = (section["Reference"] for section in config.nav if "Reference" in section)
    for page in reference:
        if "Commands" in page:
            page["Commands"] = [_COMMANDS, *({n: f"command-{n}.md"} for n in commands())]
        if "Python" in page:
            page["Python"] = ["api.md", *({n: f"api-{n}.md"} for n in packages())]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made, and those that lie elsewhere in the repository."""
    from mkdocs.structure.files import File

    made = {_COMMANDS: overview()} | {f"command-{n}.md": page_of(n) for n in commands()}
    made |= {f"api-{n}.md": page_of_package(n) for n in packages()}
    made["changelog.md"] = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    made["tutorials.md"] = (ROOT / "tutorials/README.md").read_text(encoding="utf-8")
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    for picture in sorted((ROOT / "tutorials/pictures").glob("*.png")):
        name = f"pictures/{picture.name}"
        files.append(File.generated(config, name, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead into the site what in the repository lies elsewhere: pictures, tutorials, options."""
    if _CONSTANTS in markdown:
        markdown = markdown.replace(_CONSTANTS, tables_of_constants())
    for here, there in _ELSEWHERE.items():
        markdown = markdown.replace(f"]({here}", f"]({there}")
    pages = {name: f"command-{name}.md" for name in commands()} | {"COMMAND": _COMMANDS}

    def linked(found: re.Match[str]) -> str:
        page = pages.get(found["name"])
        return f"[{found[0]}]({page})" if page else found[0]

    return re.sub(r"(?<!\[)`aitom-disca (?P<name>[\w-]+) --help`", linked, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Draw equations, so that neither a network nor a font is needed to read them."""

    def drawn(found: re.Match[str]) -> str:
        tex = " ".join(html.unescape(found["tex"]).split())
        kind = "in-line equation"
        if found["open"] == "[":
            kind, tex = "equation", tex.replace(r"\frac", r"\dfrac")
        return f'<{found[1]} class="{kind}">{_equation(tex)}</{found[1]}>'

    # What numpydoc marks references with, Markdown does not know.
    content = re.sub(r"(?:\.\. )?(\[\d\])_?", r"\1", content)
    pattern = r'<(span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</\1>'
    return re.sub(pattern, drawn, content, flags=re.DOTALL)


def _equation(tex: str) -> str:
    """An equation as SVG that is as large and as dark as the text around it."""
    import matplotlib
    from matplotlib.mathtext import math_to_image

    text = io.StringIO()
    style = {
        "mathtext.fontset": "cm",
        "svg.hashsalt": "equation",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
    }
    with matplotlib.rc_context(style):
        depth = math_to_image(f"${tex}$", text, dpi=72, format="svg")
    svg = text.getvalue()[text.getvalue().index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'(width|height)="([\d.]+)pt"', lambda m: f'{m[1]}="{float(m[2]) / 10:.3f}em"', svg
    )
    label = html.escape(tex, quote=True)
    return svg.replace(
        "<svg",
        f'<svg role="img" aria-label="{label}" style="vertical-align: {-depth / 10:.3f}em"',
        1,
    )


def commands() -> dict[str, Any]:
    """All commands of the application by name."""
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]


def packages() -> list[str]:
    """Names of the packages that others may import from."""
    folders = (ROOT / "aitom_disca").glob("*/__init__.py")
    hidden = {"bench", "cli", "config", "data", "doctor", "explore", "report"}
    return sorted(path.parent.name for path in folders if path.parent.name not in hidden)


def page_of_package(name: str) -> str:
    """Where the documentation of a package's public names is put in from its docstrings."""
    path = ROOT / "aitom_disca" / name / "__init__.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lines = [f"# aitom_disca.{name}", "", ast.get_docstring(tree) or "", ""]
    homes = {}  # where each name comes from: a module and a function in it may have one name
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            homes |= {alias.name: node.module for alias in node.names}
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            public = ast.literal_eval(node.value)
            lines += [f"::: {homes.get(n, f'aitom_disca.{name}')}.{n}\n" for n in public]
    return "\n".join(lines)


def tables_of_constants() -> str:
    """What each constant of sorting by alignment does, and what is known of it."""
    lines: list[str | None] = []
    groups = {"": type(SORTING)} | {
        f"{name}.": type(value) for name, value in SORTING if isinstance(value, Settings)
    }
    groups["to_reference."] = ToReferenceSettings
    for before, group in groups.items():
        what = inspect.cleandoc(group.__doc__ or "").split("\n")[0]
        lines += [f"## {before.rstrip('.') or 'All'}", "", what, ""]
        lines += ["| constant | default | what it does | what is known |", "|---|---|---|---|"]
        lines += [_row_of_constant(before + n, f) for n, f in group.model_fields.items()] + [""]
    return "\n".join(line for line in lines if line is not None)


def _row_of_constant(name: str, field: Any) -> str | None:
    if isinstance(field.default, Settings):
        return None
    default = f"{field.default:.4g}" if isinstance(field.default, float) else f"{field.default}"
    cells = f"`{name}`", default, field.description, field.json_schema_extra["evidence"]
    return f"| {' | '.join(map(_cell, cells))} |"


def overview() -> str:
    """A table of the commands, each with the first line of its help."""
    rows = [
        f"| [`{name}`](command-{name}.md) | {_cell(_paragraphs(command)[0])} |"
        for name, command in commands().items()
    ]
    head = "# Commands\n\nMade from the code: what `aitom-disca COMMAND --help` says.\n\n"
    return head + "| command | what it does |\n|---|---|\n" + "\n".join(rows) + "\n"


def page_of(name: str) -> str:
    """What a command does, and a table of its arguments and of each group of options."""
    command = commands()[name]
    lines = [f"# aitom-disca {name}", ""]
    for paragraph in _paragraphs(command):
        example = paragraph.removeprefix("Example: ")
        lines += [f"```\n{example}\n```" if example != paragraph else _text(paragraph), ""]
    hints = get_type_hints(_function(name), include_extras=True)
    groups: dict[str, list[Any]] = {ALWAYS: [], OFTEN: []}
    for parameter in command.params:
        if not parameter.hidden and parameter.name in hints:
            groups.setdefault(group_of(parameter), []).append(parameter)
    for group, parameters in groups.items():
        if not parameters:
            continue
        lines += [f"## {group}", "", "| option | what | default |", "|---|---|---|"]
        lines += [_row(parameter, hints[parameter.name]) for parameter in parameters] + [""]
    return "\n".join(lines)


def _function(name: str) -> Callable[..., None]:
    """The function of a command, unwrapped, as it was registered."""
    for info in app.registered_commands:
        if (info.name or info.callback.__name__.replace("_", "-")) == name:  # type: ignore[union-attr]
            return info.callback  # type: ignore[return-value]
    raise LookupError(name)


def _paragraphs(command: Any) -> list[str]:
    return [" ".join(part.split()) for part in inspect.cleandoc(command.help).split("\n\n")]


def _row(parameter: Any, hint: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [parameter.name.upper()]
    cells = (
        ", ".join(f"`{name}`" for name in names),
        _cell(parameter.help or "") + _limits(parameter, hint),
        _default(parameter),
    )
    return f"| {' | '.join(cells)} |"


def _limits(parameter: Any, hint: Any) -> str:
    """What an option takes, where it is one of several words or a number within bounds."""
    for kind in _types(hint):
        if issubclass(kind, Enum):
            return " One of " + ", ".join(f"`{member.value}`" for member in kind) + "."
    # Of the option itself from Typer 0.29 on, of its type before.
    bounded = parameter if hasattr(parameter, "min") else parameter.type
    low, high = getattr(bounded, "min", None), getattr(bounded, "max", None)
    if low is not None and high is not None:
        return f" From {low} to {high}."
    if low is not None:
        return f" At least {low}."
    return "" if high is None else f" At most {high}."


def _types(hint: Any) -> Iterator[type]:
    if isinstance(hint, type):
        yield hint
    for part in get_args(hint):
        yield from _types(part)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "must be given"
    value = parameter.default
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.secondary_opts and value is not None:
        return f"`{parameter.opts[0] if value else parameter.secondary_opts[0]}`"
    if value is None or value is False or not parameter.show_default or value == "":
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(f"`{_word(v)}`" for v in value)
    return "on" if value is True else f"`{_word(value)}`"


def _word(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _text(text: str) -> str:
    """Escape what Markdown would take for its own, outside of code."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*_<\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _cell(text: str) -> str:
    return _text(" ".join(text.split())).replace("|", "\\|")
