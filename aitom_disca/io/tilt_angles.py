"""Tilt ranges from the files that acquisition and alignment programs leave beside tomograms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.mrc_header import check_tilt_range
from aitom_disca.io.star_blocks import read_blocks

# By the end of the name. AreTomo's _TLT.txt may hold the dose in a second column.
_ENDINGS = (".tlt", ".rawtlt", "_TLT.txt", ".aln", ".tomostar", ".mdoc")
_MDOC_TILT = re.compile(r"^\s*TiltAngle\s*=\s*(\S+)", re.MULTILINE)
_LARGEST_DEG = 90.0
# What programs add to the name of a tilt series when they reconstruct it.
_ADDED = re.compile(r"(_rec|_full_rec|_Vol|_vol|\.st|\.ali|_ali|_\d+(\.\d+)?Apx|_bin\d+)+$")


def read_tilt_range(path: str | Path) -> tuple[float, float]:
    """Smallest and largest tilt in degrees that a file lists.

    Parameters
    ----------
    path : path
        ``.mdoc`` (SerialEM), ``.tlt`` or ``.rawtlt`` (IMOD), ``_TLT.txt`` or ``.aln`` (AreTomo),
        ``.tomostar`` (Warp).

    Raises
    ------
    InputError
        If it is none of these, or holds fewer than two angles.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the file of tilt angles {path} does not exist; check the path.")
    try:
        angles = np.array(_angles(path), float)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path.name} holds something that is no tilt angle ({error}); give the range with "
            "--tilt-range."
        ) from error
    if len(angles) < 2 or np.ptp(angles) == 0 or np.abs(angles).max() > _LARGEST_DEG:
        raise InputError(
            f"expected tilt angles between -90 and 90 degrees, but {path.name} holds "
            f"{len(angles)} that fit; give the range with --tilt-range."
        )
    return check_tilt_range((float(angles.min()), float(angles.max())))


def find_tilt_file(tomogram: str | Path) -> Path | None:
    """A file of tilt angles that lies beside a tomogram and has its name; None without one.

    What programs add to the name of a tilt series (``_rec``, ``_Vol``, ``_10.00Apx``, ...) does not
    count.
    """
    return find_beside(tomogram, _ENDINGS)


def find_beside(tomogram: str | Path, endings: Sequence[str]) -> Path | None:
    """The first file beside a tomogram with its name, or its tilt series', and an ending."""
    tomogram = Path(tomogram)
    name = re.sub(r"\.(gz|bz2)$", "", tomogram.name)
    name = re.sub(r"\.(mrc|rec|map|zarr)$", "", name)
    stems = list(dict.fromkeys([tomogram.name, name, _ADDED.sub("", name)]))
    for stem in stems:
        for ending in endings:
            for middle in ("", ".mrc", ".st"):
                found = tomogram.with_name(f"{stem}{middle}{ending}")
                if found.is_file():
                    return found
    return None


def _angles(path: Path) -> list[str]:
    if path.suffix == ".tomostar":
        return _of_tomostar(path)
    text = path.read_text(encoding="utf-8", errors="strict")
    if path.suffix == ".mdoc":
        return _MDOC_TILT.findall(text)
    rows = [line.split() for line in text.splitlines()]
    rows = [row for row in rows if row and not row[0].startswith("#")]
    if path.suffix == ".aln":  # AreTomo: the last column of its table of ten
        return [row[-1] for row in rows if len(row) >= 10]
    if not path.name.endswith(_ENDINGS):
        raise InputError(
            f"expected a file of tilt angles ({', '.join(_ENDINGS)}), but got {path.name}."
        )
    return [row[0] for row in rows]


def _of_tomostar(path: Path) -> list[str]:
    for block in read_blocks(path).values():
        if isinstance(block, pd.DataFrame) and "wrpAngleTilt" in block:
            return [str(angle) for angle in block["wrpAngleTilt"]]
    return []
