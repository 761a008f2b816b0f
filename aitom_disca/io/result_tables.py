"""Tables of results, comma-separated: labels, histories; `picks` has those of picks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.io.numbers_in_files import (
    is_missing,
    to_clusters,
    to_probabilities,
    to_whole_numbers,
)
from aitom_disca.io.text_columns import as_cell, read_csv_columns

_LABELS = ("index", "cluster", "posterior")


def write_rows_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, with a column for every key that occurs, in order of appearance."""
    write_text(path, rows_as_csv(rows))


def rows_as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text that `write_rows_csv` writes."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(as_cell, columns))
    writer.writerows([as_cell(row.get(name, "")) for name in columns] for row in rows)
    return text.getvalue()


def read_rows_csv(path: str | Path) -> list[dict[str, str]]:
    """Read what `write_rows_csv` wrote, every value as text.

    Raises
    ------
    InputError
        If the file is missing or holds no rows.
    """
    columns = read_csv_columns(path)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write_labels_csv(
    path: str | Path,
    cluster: np.ndarray,
    posterior: np.ndarray | None = None,
    *,
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write ``index,cluster,posterior``: rows of the store from 0, clusters from 1.

    Parameters
    ----------
    path : path
    cluster : ndarray of int, shape (N,)
        From 0; ``UNASSIGNED`` is written as 0.
    posterior : ndarray of shape (N,), optional
        Probability of the cluster; empty cells if left out.
    more : mapping of str to ndarray of shape (N,), optional
        Further columns of numbers; NaN becomes an empty cell.
    """
    probabilities = [""] * len(cluster) if posterior is None else [f"{p:.9g}" for p in posterior]
    number = np.where(np.asarray(cluster) < 0, 0, np.asarray(cluster) + 1)
    further = [
        [f"{value:.9g}" if np.isfinite(value) else "" for value in column]
        for column in (more or {}).values()
    ]
    rows = zip(range(len(cluster)), number, probabilities, *further, strict=True)
    write_csv(path, (*_LABELS, *(more or {})), rows)


def read_labels_csv(path: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read what `write_labels_csv` wrote, in order of the index.

    Returns
    -------
    cluster : ndarray of int, shape (N,)
        From 0, ``UNASSIGNED`` (-1) for none.
    posterior : ndarray of shape (N,) or None

    Raises
    ------
    InputError
        If the columns are not there, or the index has gaps.
    """
    columns = read_csv_columns(path, _LABELS[:2])
    index = to_whole_numbers(columns["index"], path, "index")
    order = np.argsort(index)
    if not np.array_equal(index[order], np.arange(len(index))):
        raise InputError(
            f"{Path(path).name} needs every index from 0 to {len(index) - 1} once; some are "
            "missing or there twice."
        )
    cluster = to_clusters(columns["cluster"], path, "cluster")[order]
    if all(map(is_missing, columns.get("posterior", ()))):
        return cluster, None
    return cluster, to_probabilities(columns["posterior"], path, "posterior")[order]


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header and rows, all cells as `as_cell` makes them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(map(as_cell, row) for row in rows)
    write_text(path, text.getvalue())
