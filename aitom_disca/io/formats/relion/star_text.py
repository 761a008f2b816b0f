"""The text of star files as RELION reads it: words, rows and blocks, and words written for it.

RELION (3.1.3) cuts lines into words at blanks. A word that begins with a quotation mark or an
apostrophe ends at the same mark before a blank or the line's end, unless a bell (7) is before it;
anywhere else these marks, and ``#``, are letters. A word that begins with ``#`` begins a comment.
A row holds as many values as its table has labels. (RELION writes such bells, but does not read
them itself.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aitom_disca.errors import InputError

_BLANKS = " \t\f\v"
_WORD = re.compile(rf"[^{_BLANKS}]+")
_BLOCK = re.compile(rf"data_([^{_BLANKS}#]*)[{_BLANKS}]*(#.*)?$")
_LOOP = re.compile(rf"loop_[{_BLANKS}]*(#.*)?$")
_SPECIAL = ("_", "#", ";", "'", '"', "$", "[", "]", "data_", "loop_", "save_", "stop_", "global_")
_BELL = "\a"  # RELION writes it before a mark that would end a quoted word


@dataclass
class StarBlock:
    """A block of a star file: a table of several rows, or values by name.

    Parameters
    ----------
    name : str
        Without ``data_``.
    line : int
        Where it begins in the file, from 1.
    labels : list of str
        Without ``_``.
    rows : list of list of str
        One for a block of values by name.
    looped : bool
        Whether it is a table.
    """

    name: str
    line: int
    labels: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    looped: bool = False

    def first(self, label: str) -> str | None:
        """The value of the first row; None where there is none."""
        if label not in self.labels or not self.rows:
            return None
        return self.rows[0][self.labels.index(label)]


def words_of(line: str) -> list[str]:
    """The words of a line, without quotes and comments.

    Raises
    ------
    ValueError
        If a quote does not end.
    """
    if "#" not in line and '"' not in line and "'" not in line:
        return line.split() if line.isascii() else _WORD.findall(line)
    words = []
    at = 0
    while at < len(line):
        if line[at] in _BLANKS:
            at += 1
            continue
        if line[at] == "#":
            break
        if line[at] in "'\"":
            end = _end_of_quote(line, at)
            words.append(line[at + 1 : end].replace(_BELL + line[at], line[at]))
            at = end + 1
        else:
            found = _WORD.match(line, at)
            assert found is not None  # noqa: S101  it begins with no blank
            words.append(found[0])
            at = found.end()
    return words


def _end_of_quote(line: str, start: int) -> int:
    end = line.find(line[start], start + 1)
    while end >= 0 and (line[end - 1] == _BELL or line[end + 1 : end + 2] not in ("", *_BLANKS)):
        end = line.find(line[start], end + 1)
    if end < 0:
        raise ValueError("a quote does not end")
    return end


def parse_star(text: str, where: str, most_rows: int | None = None) -> dict[str, StarBlock]:
    """All blocks of a star file by name.

    Parameters
    ----------
    text : str
    where : str
        What the file is called in errors.
    most_rows : int, optional
        Rows of a table after which its others are passed over, unread.

    Raises
    ------
    InputError
        If a block comes twice, a row has another number of values than its table has labels, or
        the text is no star file in another way.
    """
    blocks: dict[str, StarBlock] = {}
    block: StarBlock | None = None
    for number, line in _lines(text):
        if found := _BLOCK.match(line):
            block = StarBlock(found[1], number)
            if block.name in blocks:
                raise InputError(_twice(where, blocks[block.name], block))
            blocks[block.name] = block
        elif block is None:
            raise InputError(
                f"{where} is not a star file: line {number} comes before any line 'data_...'."
            )
        elif most_rows is None or len(block.rows) < most_rows or not block.looped:
            _take(block, line, f"{where} cannot be read as a star file: line {number}")
    if not blocks:
        raise InputError(f"{where} is not a star file: it has no line 'data_...'.")
    return blocks


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines and their numbers, without empty ones and comments; of every system's line ends."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(_BLANKS)
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _take(block: StarBlock, line: str, where: str) -> None:
    """A line of a block: the beginning of a loop, a label, or a row."""
    if _LOOP.match(line):
        if block.looped or block.labels:
            raise InputError(
                f"{where} begins a second table in the block data_{block.name}; the file may be "
                "put together of several, which have to be given one by one."
            )
        block.looped = True
        return
    try:
        words = words_of(line)
    except ValueError as error:
        raise InputError(f"{where}: {error}; check its quotes.") from error
    if line[0] == "_" and not (block.looped and block.rows):
        _take_label(block, words, where)
        return
    if not block.looped or not block.labels:
        raise InputError(f"{where} holds values without labels; check that the file is whole.")
    if len(words) != len(block.labels):
        raise InputError(
            f"{where} is row {len(block.rows) + 1} of the table data_{block.name} and has "
            f"{_counted(len(words), 'value')}, but there are "
            f"{_counted(len(block.labels), 'column')}; check that the file is whole."
        )
    block.rows.append(words)


def _take_label(block: StarBlock, words: Sequence[str], where: str) -> None:
    label = words[0][1:].partition("#")[0]
    if label in block.labels:
        raise InputError(f"{where} names the column {label} of data_{block.name} a second time.")
    block.labels.append(label)
    if block.looped and len(words) == 1:
        return
    if block.looped:
        raise InputError(f"{where} holds values behind the label {label}; check its quotes.")
    if len(words) != 2:
        raise InputError(
            f"{where} gives {_counted(len(words) - 1, 'value')} to {label}; one was expected."
        )
    block.rows = [[*(block.rows[0] if block.rows else []), words[1]]]


def _twice(where: str, first: StarBlock, second: StarBlock) -> str:
    return (
        f"{where} holds the block data_{first.name} twice (lines {first.line} and {second.line}), "
        "as files put together with cat do; give those files one by one."
    )


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def quoted(value: str) -> str:
    """A value as a word of a star file: in quotes where it would be read as something else.

    Raises
    ------
    InputError
        If no quotes make it one word.
    """
    if value and not value.startswith(_SPECIAL) and not re.search(r"\s", value):
        return value
    for written in (f'"{value}"', f"'{value}'"):
        if "\n" not in value and "\r" not in value and _is_one_word(written, value):
            return written
    raise InputError(
        f"{value!r} cannot be written into a star file, which has no quotes for it; rename it."
    )


def _is_one_word(written: str, value: str) -> bool:
    try:
        return words_of(written) == [value]
    except ValueError:
        return False


def block_text(name: str, labels: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as text, of words as `quoted` gives them."""
    header = [f"_{label} #{i}" for i, label in enumerate(labels, 1)]
    lines = ["\t".join(row) for row in rows]
    return "\n".join([f"data_{name}", "", "loop_", *header, *lines])


def values_text(block: str, values: Iterable[tuple[str, str]]) -> str:
    """Values by name as text, of words as `quoted` gives them."""
    return "\n".join([f"data_{block}", "", *(f"_{name}\t\t\t{word}" for name, word in values)])
