"""What readers and writers of particle files share: packages, text, file names."""

from __future__ import annotations

import codecs
import json
import logging
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

from aitom_disca.errors import InputError
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.file_names import file_parts
from aitom_disca.particles import ParticleSet


def library(name: str, title: str) -> Any:
    """A module of a package that not everybody has.

    Raises
    ------
    InputError
        If it is missing.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"{title} needs the package {name.split('.')[0]}; install it with "
            "pip install 'aitom-disca[exports]'."
        ) from error


logger = logging.getLogger(__name__)

# The marks at the beginning of a file that say how its text is encoded.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before that of UTF-16, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")


def head(path: Path, n_bytes: int = 65536) -> str:
    """The beginning of a file as text, empty where it cannot be read: for recognisers."""
    try:
        with open(path, "rb") as file:
            start = file.read(n_bytes)
            return start.decode(_encoding(start), errors="replace")
    except OSError:
        return ""


def read_text(path: str | Path) -> str:
    """Text of a file: UTF-8, or what a mark at its beginning says.

    Raises
    ------
    InputError
        If it is not there, or no text.
    """
    path = Path(path)
    with reading(path, "text"):
        content = path.read_bytes()
    try:
        text = content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path.name} is not a text file in UTF-8 (line {line}); check which file this is, or "
            "save it in that encoding."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(
            f"{path.name} is not a text file, or was not written to its end (line {line} holds "
            "zero bytes); check which file this is."
        )
    return text


def warn_of_end(path: str | Path, text: str) -> None:
    """Warn of a file of rows whose last line has no end: it may have been cut there."""
    if text and not text.endswith(("\n", "\r")):
        logger.warning(
            "%s has no line end behind its last row; check that this was not cut short.",
            Path(path).name,
        )


def read_json(path: str | Path) -> Any:
    """Content of a JSON file.

    Raises
    ------
    InputError
        If it is not there, or no JSON.
    """
    return parse_json(read_text(path), Path(path).name)


def parse_json(text: str, where: str) -> Any:
    """Content of JSON text; ``where`` names it in the error.

    Raises
    ------
    InputError
    """
    with reading(where, "JSON"):
        return load_json(text)


def load_json(text: str) -> Any:
    """As `json.loads`, but refuse a name that is there twice; raises `ValueError`."""
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ; of two values of one name json would keep the last."""
    held = dict(pairs)
    if len(held) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has {next(n for n in names if names.count(n) > 1)!r} twice")
    return held


def parse_xml(content: bytes, where: str) -> ET.Element:
    """Outermost element of XML; ``where`` names it in the error.

    Raises
    ------
    InputError
        If it is no XML, or has a document type: entities of one unfold without end, or name other
        files, and no particle file has any.
    """
    try:
        _look_at_beginning(content, where)
        return ET.fromstring(content)
    except (ET.ParseError, expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, InputError):
            raise
        what = "XML" if content.isascii() else "a text file of XML"
        raise InputError(f"{where} is not {what} ({error}); check which file this is.") from error


class _Begun(Exception):
    """The first element is reached."""


def _look_at_beginning(content: bytes, where: str) -> None:
    def refuse(*_: object) -> None:
        raise InputError(f"{where} has a document type, which is not read; take it out.")

    def begin(*_: object) -> None:
        raise _Begun

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler, parser.StartElementHandler = refuse, begin
    with suppress(_Begun):
        parser.Parse(content, True)


def one_file_per_tomogram(
    path: str | Path, particles: ParticleSet
) -> list[tuple[Path, str, ParticleSet]]:
    """File, tomogram and its particles: ``OUT`` for one tomogram, else ``OUT_name.suffix``."""
    path = Path(path)
    names = list(dict.fromkeys(particles.tomogram_name.tolist()))
    safe = file_parts(names)
    parts = []
    for name in names:
        own = path
        if len(names) > 1:
            own = path.with_name(f"{path.stem}_{safe[name]}{path.suffix}")
        parts.append((own, str(name), particles.select(particles.tomogram_name == name)))
    return parts
