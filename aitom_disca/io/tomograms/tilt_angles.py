"""Tilt angles from the files that acquisition and alignment programs leave beside tomograms."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.formats.file_text import head
from aitom_disca.io.formats.relion.star_blocks import read_blocks
from aitom_disca.io.numbers_in_files import to_numbers
from aitom_disca.io.tomogram_names import series_name
from aitom_disca.io.tomograms.project_folders import tilt_file_of
from aitom_disca.io.tomograms.tilt_range import doubt
from aitom_disca.progress import say

logger = logging.getLogger(__name__)

# By the end of the name. AreTomo's _TLT.txt may hold the dose in a second column.
_ENDINGS = (".tlt", ".rawtlt", "_TLT.txt", ".aln", ".tomostar", ".mdoc")
STAR_COLUMNS = ("rlnTomoYTilt", "rlnTomoNominalStageTiltAngle")  # RELION: aligned first
_MDOC_TILT = re.compile(r"^\s*TiltAngle\s*=\s*(\S+)", re.MULTILINE)
_ALN_COLUMNS = 10  # of AreTomo's table of images; that of patches has fewer
_MIDDLES = ("", ".mrc", ".st")
_OF_HALF = re.compile(r"([_-][A-Za-z0-9]{1,5}|[A-Za-z]{1,5}\d?)$")  # added to the name of one half
_EVEN = (0.4, 2.5, 0.8)  # steps are within these, of their median, and such a share of them is
_ONE_SIDED = 0.5  # of the largest tilt on the other side
_SAME_DEG = 5.0  # nominal and refined tilts differ by less


def read_tilts(path: str | Path) -> tuple[float, ...]:
    """The tilt angles in degrees that a file lists, the smallest first.

    Where there are several columns the one that looks like tilt angles is taken. Where a file
    beside this one goes on where it ends, as SerialEM writes the two halves of a bidirectional
    series, both are read.

    Parameters
    ----------
    path : path
        ``.mdoc`` (SerialEM), ``.tlt`` or ``.rawtlt`` (IMOD), ``_TLT.txt`` or ``.aln`` (AreTomo),
        ``.tomostar`` (Warp), ``.star`` of one tilt series (RELION).

    Raises
    ------
    InputError
        If it is none of these, or the angles are hardly those of a tilt series; see
        `aitom_disca.io.tomograms.tilt_range.doubt`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the file of tilt angles {path} does not exist; check the path.")
    columns = _columns(path)
    tilts = _with_other_half(path, columns)
    if tilts is None:
        tilts = _most_likely(path, columns)
    if reason := doubt(tilts):
        raise InputError(
            f"expected the tilt angles of a series between -90 and 90 degrees in {path.name}, but "
            f"{reason}; correct the file, or give the measured range with --tilt-range."
        )
    if min(-tilts.min(), tilts.max()) <= _ONE_SIDED * max(-tilts.min(), tilts.max()):
        logger.warning(
            "%s: tilts from %g to %g degrees may be half of a bidirectional series; if so give the "
            "whole range with --tilt-range.",
            path.name,
            tilts.min(),
            tilts.max(),
        )
    return tuple(sorted(tilts.tolist()))


def tilts_beside(tomogram: str | Path) -> tuple[tuple[float, ...], Path] | None:
    """Tilt angles from the first file beside a tomogram that holds some, and that file.

    A file that can hardly be right is passed over with a warning. What programs add to the name of
    a tilt series (``_rec``, ``_Vol``, ``_10.00Apx``, ...) does not count.
    """
    tomogram = Path(tomogram)
    of_warp = tilt_file_of(tomogram)
    for found in [*_all_beside(tomogram, _ENDINGS), *([of_warp] if of_warp else [])]:
        try:
            return read_tilts(found), found
        except InputError as error:
            logger.warning("%s: %s is passed over: %s", tomogram.name, found.name, error)
    return None


def find_beside(tomogram: str | Path, endings: Sequence[str]) -> Path | None:
    """The first file beside a tomogram with its name, or its tilt series', and an ending."""
    return next(_all_beside(Path(tomogram), endings), None)


def likely_tilts(columns: Iterable[Sequence[float] | pd.Series]) -> tuple[float, ...]:
    """The first of some columns that may be tilt angles, the smallest first; none: empty."""
    for column in columns:
        angles = pd.to_numeric(pd.Series(column), errors="coerce").dropna().to_numpy(float)
        if not doubt(angles):
            return tuple(sorted(angles.tolist()))
    return ()


def _all_beside(tomogram: Path, endings: Sequence[str]) -> Iterator[Path]:
    name = re.sub(r"\.(gz|bz2)$", "", tomogram.name)
    name = re.sub(r"\.(mrc|rec|map|zarr)$", "", name)
    for stem in dict.fromkeys([tomogram.name, name, series_name(name)]):
        for ending in endings:
            for middle in _MIDDLES:
                found = tomogram.with_name(f"{stem}{middle}{ending}")
                if found.is_file():
                    yield found


# -- columns ---------------------------------------------------------------------------------


def _columns(path: Path) -> list[np.ndarray]:
    """The columns of a file that hold numbers and may be tilt angles."""
    ending = path.suffix.lower()
    if ending in (".tomostar", ".star"):
        return _of_star(path)
    text = head(path, path.stat().st_size)  # whatever the encoding of notes in it
    if ending == ".mdoc":
        return _numbers(path, [[angle] for angle in _MDOC_TILT.findall(text)])
    if ending == ".aln":
        return _of_aln(path, text)
    if not path.name.lower().endswith(tuple(map(str.lower, _ENDINGS))):
        raise InputError(
            f"expected a file of tilt angles ({', '.join(_ENDINGS)}), but got {path.name}."
        )
    rows = [line.replace(",", " ").split() for line in text.splitlines()]
    return _numbers(path, [row for row in rows if row and not row[0].startswith("#")])


def _of_star(path: Path) -> list[np.ndarray]:
    """The first of the columns that may be tilt angles: aligned ones before nominal ones."""
    wanted = ("wrpAngleTilt",) if path.suffix.lower() == ".tomostar" else STAR_COLUMNS
    for block in read_blocks(path).values():
        named = [c for c in wanted if isinstance(block, pd.DataFrame) and c in block]
        if named:
            columns = _numbers(path, [[str(v) for v in row] for row in block[named].to_numpy()])
            return next(([one] for one in columns if not doubt(one)), columns)
    raise InputError(f"{path.name} holds no column {' or '.join(wanted)}; give the range instead.")


def _of_aln(path: Path, text: str) -> list[np.ndarray]:
    """AreTomo: the column that its head calls TILT, the last of ten without one."""
    place, rows = -1, []
    for line in text.partition("# Local Alignment")[0].splitlines():
        parts = line.lstrip("# ").split()
        if line.startswith("#"):
            place = parts.index("TILT") if "TILT" in parts else place
        elif parts:
            rows.append(parts)
    _check_lengths(path, rows)
    if rows and len(rows[0]) < _ALN_COLUMNS:
        rows = []
    return _numbers(path, [[row[place]] for row in rows])


def _check_lengths(path: Path, rows: list[list[str]]) -> None:
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise InputError(
                f"row {number} of {path.name} holds {len(row)} values, the first {len(rows[0])}; "
                "correct the file, or give the range with --tilt-range."
            )


def _numbers(path: Path, rows: list[list[str]]) -> list[np.ndarray]:
    """Those columns of a table of words that are numbers; of a single one, all must be."""
    if not rows:
        return [np.empty(0)]
    _check_lengths(path, rows)
    columns = []
    for column in zip(*rows, strict=True):
        try:
            columns.append(to_numbers(column, path, "tilt angle"))
        except InputError as error:
            if len(rows[0]) == 1:
                said = str(error).rstrip(".")
                raise InputError(f"{said}, or give the range with --tilt-range.") from error
    return columns or [np.empty(0)]


def _most_likely(path: Path, columns: list[np.ndarray]) -> np.ndarray:
    """The one column that may be tilt angles; of several the one whose steps are even."""
    if len(columns) == 1:
        return columns[0]
    fitting = [column for column in columns if not doubt(column)]
    if not fitting:
        return columns[0]  # whose fault is said
    fitting = [column for column in fitting if _is_even(column)] or fitting
    ends = [(column.min(), column.max()) for column in fitting]
    if np.ptp(ends, axis=0).max() > _SAME_DEG:
        raise InputError(
            f"{len(fitting)} columns of {path.name} may be tilt angles; keep the right one only, "
            "or give the measured range with --tilt-range."
        )
    return fitting[0]


def _is_even(angles: np.ndarray) -> bool:
    steps = np.diff(np.unique(angles))
    least, most, share = _EVEN
    near = (steps > least * np.median(steps)) & (steps < most * np.median(steps))
    return bool(near.mean() >= share)


# -- halves of a series ----------------------------------------------------------------------


def _with_other_half(path: Path, columns: list[np.ndarray]) -> np.ndarray | None:
    """The angles of both halves of a bidirectional series; None where there is one file only."""
    for other in _maybe_halves(path):
        try:
            others = _columns(other)
        except InputError:
            continue
        for mine, rest in zip(columns, others, strict=False):  # both have the same columns
            both = np.concatenate([mine, rest])
            if _goes_on(mine, rest) and not doubt(both):
                say(f"{path.name} and {other.name} are taken for halves of one tilt series")
                return both
    return None


def _maybe_halves(path: Path) -> list[Path]:
    """Files of the same kind whose name is this one's with something added, or the reverse."""
    stem, ending = _stem_and_ending(path.name)
    found = []
    for other in sorted(path.parent.iterdir()):
        theirs, its_ending = _stem_and_ending(other.name)
        short, long = sorted((stem, theirs), key=len)
        if its_ending == ending and other.is_file() and long.startswith(short) and short != long:
            if _OF_HALF.fullmatch(long[len(short) :]):
                found.append(other)
    return found


def _stem_and_ending(name: str) -> tuple[str, str]:
    for ending in _ENDINGS:
        for middle in sorted(_MIDDLES, key=len, reverse=True):
            if name.endswith(middle + ending):
                return name.removesuffix(middle + ending), middle + ending
    return name, ""


def _goes_on(mine: np.ndarray, rest: np.ndarray) -> bool:
    """Whether angles begin at, or one step beyond, the last of others, on either side."""
    if len(mine) < 2 or len(rest) < 1:
        return False
    step = np.median(np.diff(np.unique(np.concatenate([mine, rest]))))
    gap = max(rest.min() - mine.max(), mine.min() - rest.max())
    return bool(0 <= gap < _EVEN[1] * step)
