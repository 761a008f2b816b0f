"""Defocus and microscope of tomograms: given, in star files, or in files beside them.

One value stands for a tilt series: the median over its images of the mean of both defoci. That is
enough for the resolutions of subtomograms at 5 to 20 A; how defocus changes with the height in the
tomogram is left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aitom_disca.config import OpticsSettings
from aitom_disca.errors import InputError
from aitom_disca.io.disk.reading import reading
from aitom_disca.io.formats.relion.star_blocks import (
    MICROSCOPE_COLUMNS,
    Block,
    find_table,
    positive_number,
    read_blocks,
    tilt_series_of_row,
)
from aitom_disca.io.numbers_in_files import to_numbers
from aitom_disca.io.tomogram_names import check_names, known_among
from aitom_disca.io.tomograms.tilt_angles import find_beside
from aitom_disca.particles import TomogramInfo
from aitom_disca.progress import say

logger = logging.getLogger(__name__)

# By the end of the name, measured defocus before the one that was aimed at.
_ENDINGS = ("_CTF.txt", "_ctf.txt", "_ctffind4.txt", ".defocus", ".xml", ".mdoc")
_LOW_ANGSTROM, _HIGH_ANGSTROM = 1e3, 2e5
_SMALL_ANGSTROM = 5e3  # below it nanometres are as likely
_UNITS = {"µm": 1e4, "nm": 1e1, "mm": 1e7, "m": 1e10, "pm": 1e-2}
_LIKELY_ANGSTROM = (4e3, 1.5e5)
_OF_WARP = {  # names of Warp's parameters, and what makes our units of its
    "defocus_angstrom": ("Defocus", 1e4),
    "voltage_kv": ("Voltage", 1.0),
    "spherical_aberration_mm": ("Cs", 1.0),
    "amplitude_contrast": ("Amplitude", 1.0),
}
_OF_HEADER = {  # CTFFIND's
    "voltage_kv": r"acceleration voltage:\s*([\d.]+)",
    "spherical_aberration_mm": r"spherical aberration:\s*([\d.]+)",
    "amplitude_contrast": r"amplitude contrast:\s*([\d.]+)",
}


def optics_of(
    name: str,
    path: Path,
    given: OpticsSettings | None = None,
    of_star: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Defocus and microscope of a tomogram, as far as they are known, by the names of `Optics`.

    Parameters
    ----------
    name : str
    path : path
        Of its volume; or of the star file where that says what there is to know.
    given : OpticsSettings, optional
        Comes before everything else.
    of_star : mapping, optional
        What `optics_of_row` found; files beside the tomogram are not looked for then.

    Raises
    ------
    InputError
        If the given defocus cannot be one in Angstrom, or its file does not say it.
    """
    given = given or OpticsSettings()
    found = dict(_beside(path) if of_star is None else of_star)
    if not _LOW_ANGSTROM <= found.get("defocus_angstrom", _LOW_ANGSTROM) <= _HIGH_ANGSTROM:
        del found["defocus_angstrom"]
    if given.defocus is not None:
        found |= _given_defocus(given.defocus, name)
    return found | given.model_dump(exclude={"defocus"}, exclude_none=True)


def check_defocus(defocus_angstrom: float, source: str) -> float:
    """Refuse what is no defocus in Angstrom, and guess its unit.

    Parameters
    ----------
    defocus_angstrom : float
    source : str
        Where the value comes from.

    Raises
    ------
    InputError
        Unless it is between 1,000 and 200,000 A.
    """
    value = float(defocus_angstrom)
    if _LOW_ANGSTROM <= value <= _HIGH_ANGSTROM:
        return value
    low, high = _LIKELY_ANGSTROM
    hint = "give it in Angstrom, positive for underfocus"
    for unit, factor in {"A": 1.0, **_UNITS}.items():
        if low <= abs(value) * factor <= high:
            right = f"{abs(value) * factor:g}"
            sign = " and counts underfocus as negative" if value < 0 else ""
            hint = f"it looks as if it is in {unit}{sign}: give {right}"
            break
    raise InputError(
        f"a defocus of {value:g} A ({source}) is not between 1,000 and 200,000 A; {hint}."
    )


def read_defocus_file(path: str | Path) -> dict[str, float]:
    """Defocus of a tilt series, and what its file says of the microscope.

    Parameters
    ----------
    path : path
        ``.mdoc`` of SerialEM (the defocus that was aimed at, in µm), ``.defocus`` of IMOD (nm),
        ``.xml`` of a tilt series in Warp (µm), or ``.txt`` of CTFFIND and AreTomo (Angstrom).

    Returns
    -------
    dict
        By the names of `Optics`; without ``defocus_angstrom`` where the file does not say it.

    Raises
    ------
    InputError
        If there is no such file, or it is none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"--defocus takes Angstrom or a file; {path} is neither a number nor a file that "
            "exists."
        )
    read = {".mdoc": _of_mdoc, ".defocus": _of_imod, ".xml": _of_warp, ".txt": _of_ctffind}
    if path.suffix not in read:
        raise InputError(
            f"expected a file of defoci ({', '.join(read)}, .csv, .star), but got {path.name}."
        )
    with reading(path, "a file of defoci", "give the defocus in Angstrom with --defocus"):
        return read[path.suffix](path.read_text(encoding="utf-8"))


def optics_of_row(star: Path, blocks: Mapping[str, Block], row: pd.Series) -> dict[str, float]:
    """What a row of a tomograms.star and its tilt series say of defocus and microscope."""
    values = {name: positive_number(row, column) for name, column in MICROSCOPE_COLUMNS.items()}
    found = {name: value for name, value in values.items() if value is not None}
    tilts = tilt_series_of_row(star, blocks, row, quiet=True)
    if tilts is None:
        return found
    measured = [tilts[c] for c in ("rlnDefocusU", "rlnDefocusV") if c in tilts]
    nominal = [-1e4 * tilts[c] for c in ("rlnTomoNominalDefocus",) if c in tilts]
    for columns in (measured, nominal):
        defocus = np.median(np.mean(columns, axis=0)) if columns else 0.0
        if _LOW_ANGSTROM <= defocus <= _HIGH_ANGSTROM:
            return found | {"defocus_angstrom": round(float(defocus), 1)}
    return found


def _beside(path: Path) -> dict[str, float]:
    """What a file beside a tomogram says; one that says nothing of use is passed over."""
    in_warp = path.parent.parent / path.name  # the list of Warp lies above its reconstructions
    file = find_beside(path, _ENDINGS) or find_beside(in_warp, (".xml",))
    if file is None:
        return {}
    try:
        found = read_defocus_file(file)
        if "defocus_angstrom" in found:
            check_defocus(found["defocus_angstrom"], file.name)
    except InputError as error:
        logger.warning("%s The defocus is taken as not known.", error)
        return {}
    if "defocus_angstrom" in found:
        say(f"{path.name}: defocus {found['defocus_angstrom']:.0f} A, of {file.name}")
    return found


def _given_defocus(given: str, name: str) -> dict[str, float]:
    """A number, or what a file says of one tomogram."""
    try:
        value = float(given)
    except ValueError:
        pass
    else:
        check_defocus(value, "--defocus")
        if value < _SMALL_ANGSTROM:
            logger.warning(
                "a defocus of %g A is small for a tilt series; if it is in nm, give %g.",
                value,
                10 * value,
            )
        return {"defocus_angstrom": value}
    path = Path(given)
    if path.suffix == ".csv":
        found = _of_table(path, name)
    elif path.suffix == ".star":
        blocks = read_blocks(path)
        table = find_table(path, blocks, "global", ["rlnTomoName"])
        rows = table[_rows_of(table["rlnTomoName"].astype(str), name, path)]
        found = optics_of_row(path, blocks, rows.iloc[0]) if len(rows) else {}
    else:
        found = read_defocus_file(path)
    if "defocus_angstrom" not in found:
        raise InputError(
            f"{path.name} says no defocus for the tomogram {name}; give it in Angstrom with "
            "--defocus."
        )
    check_defocus(found["defocus_angstrom"], path.name)
    return found


def _of_table(path: Path, name: str) -> dict[str, float]:
    from aitom_disca.io.result_tables import read_rows_csv

    rows = read_rows_csv(path)
    if not {"tomogram", "defocus_angstrom"} <= {*rows[0]}:
        raise InputError(
            f"{path.name} needs the columns tomogram and defocus_angstrom; found: "
            f"{', '.join(rows[0])}."
        )
    fits = _rows_of([row["tomogram"] for row in rows], name, path)
    fitting = [row["defocus_angstrom"] for row, is_it in zip(rows, fits, strict=True) if is_it]
    defoci = to_numbers(fitting[:1], path, f"defocus of {name}")
    return {"defocus_angstrom": float(defoci[0])} if fitting else {}


def _rows_of(names: Iterable[str], name: str, path: Path) -> list[bool]:
    """Which rows of a table are of a tomogram."""
    listed = list(names)
    check_names(listed, path.name)
    found = known_among(listed, {name: TomogramInfo(name, 1.0)}, path.name)
    return [one in found for one in listed]


def _of_mdoc(text: str) -> dict[str, float]:
    """The aim, not the reading of the lens, which counts from an arbitrary zero."""
    found = {}
    aims = [float(v) for v in re.findall(r"^\s*TargetDefocus\s*=\s*(\S+)", text, re.MULTILINE)]
    if aims and np.median(aims) != 0:
        found["defocus_angstrom"] = -1e4 * float(np.median(aims))
    voltage = re.search(r"^\s*Voltage\s*=\s*([\d.]+)", text, re.MULTILINE)
    return found | ({"voltage_kv": float(voltage[1])} if voltage else {})


def _of_imod(text: str) -> dict[str, float]:
    """Rows: views, tilts, defocus in nm, with astigmatism a second one; a first row of flags."""
    rows = [[float(v) for v in line.split()] for line in text.splitlines() if line.strip()]
    _check_rows(rows[1:], fewest=5)  # the first has its flags or a version
    two = bool(rows) and rows[0][4] == 0 and int(rows[0][0]) % 2 == 1
    defoci = [np.mean(row[4:6] if two else row[4]) for row in rows if row[4] != 0]
    return _median(10 * np.array(defoci))


def _of_warp(text: str) -> dict[str, float]:
    found = {}
    for name, (parameter, factor) in _OF_WARP.items():
        value = re.search(rf'<Param Name="{parameter}" Value="([^"]+)"', text)
        if value is not None:
            found[name] = round(factor * float(value[1]), 4)
    return found


def _of_ctffind(text: str) -> dict[str, float]:
    """Rows: number, both defoci in Angstrom, azimuth, phase shift, score, resolution."""
    rows = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    _check_rows(rows, fewest=6)
    values = np.array([[float(v) for v in row[1:3]] for row in rows])
    matches = {name: re.search(pattern, text) for name, pattern in _OF_HEADER.items()}
    said = {name: float(match[1]) for name, match in matches.items() if match}
    return said | _median(values.mean(axis=1) if len(values) else values)


def _check_rows(rows: Sequence[Sequence[object]], fewest: int) -> None:
    for row in rows:
        if len(row) < fewest or len(row) != len(rows[0]):
            raise ValueError(f"a row has {len(row)} values, the first {len(rows[0])}")


def _median(defoci_angstrom: np.ndarray) -> dict[str, float]:
    if not len(defoci_angstrom):
        return {}
    return {"defocus_angstrom": round(float(np.median(defoci_angstrom)), 1)}
