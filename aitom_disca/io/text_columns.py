"""Tables of text: comma-separated ones with a header, and ones of columns without names.

Every row has as many values as there are columns; a row that is shorter or longer was cut or
shifted, and the table is refused with its number, from 1 without the header.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from aitom_disca.errors import InputError
from aitom_disca.io.disk.reading import reading


def read_csv_columns(
    path: str | Path, needed: Sequence[str] = (), *, may_be_empty: bool = False
) -> dict[str, list[str]]:
    """Columns of a comma-separated table by the names in its header, every value as text.

    Lines without any value are left out; spaces around names and values do not count.

    Parameters
    ----------
    path : path
    needed : sequence of str
        Columns that must be there.
    may_be_empty : bool
        Whether a table without rows is one.

    Raises
    ------
    InputError
        If the file is missing or no text, a column is missing or there twice, a row is of another
        length than the header, or there are no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the table {path} does not exist; check the path.")
    header, *rows = _rows(path) or [[]]
    twice = sorted({name for name in header if header.count(name) > 1})
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(
            f"{path.name} needs the columns {', '.join(needed)}; missing: {', '.join(missing)}; "
            f"found: {', '.join(header) or 'none'}."
        )
    if twice:
        raise InputError(f"{path.name} has the column {twice[0]!r} twice; name it once.")
    check_row_lengths(path, rows, len(header))
    if not rows and not may_be_empty:
        raise InputError(f"{path.name} holds no rows.")
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return {name: list(column) for name, column in zip(header, columns, strict=True)}


def csv_header(path: Path) -> list[str]:
    """Names of the columns of a comma-separated table; none where it cannot be read."""
    from aitom_disca.io.formats.file_text import head

    try:
        return [_of_cell(name) for name in next(csv.reader(head(path).splitlines()), [])]
    except csv.Error:
        return []


def check_row_lengths(path: str | Path, rows: Sequence[Sequence[str]], n_columns: int) -> None:
    """Refuse rows that are longer or shorter than there are columns.

    Raises
    ------
    InputError
    """
    for number, row in enumerate(rows, 1):
        if len(row) != n_columns:
            raise InputError(
                f"{Path(path).name} cannot be read as a table: row {number} has {len(row)} values, "
                f"but there are {n_columns} columns; it may be cut, or a value may be missing."
            )


# With these a spreadsheet begins a formula, which may run a command or send what is in the table.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_cell(value: object) -> object:
    """Text for a cell: what a spreadsheet would take for a formula gets an apostrophe before it.

    `read_csv_columns` takes it away again.
    """
    if not isinstance(value, str) or _is_number(value):
        return value
    return f"'{value}" if value.lstrip("'").startswith(_FORMULA) else value


def _of_cell(text: str) -> str:
    """What `as_cell` made a cell of."""
    text = text.strip()
    bare = text.lstrip("'")
    return text[1:] if len(bare) < len(text) and bare.startswith(_FORMULA) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(path: Path) -> list[list[str]]:
    from aitom_disca.io.formats.file_text import read_text  # the formats read tables themselves

    with reading(path, "a table"):
        found = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    rows = [[_of_cell(cell) for cell in row] for row in found]
    return [row for row in rows if any(row)]
