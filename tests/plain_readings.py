"""Particle files read a second time, strictly and plainly: to confirm what the package reads.

Nothing of the package is used here. Whatever is not exactly as a format has it is `Refused`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from scipy.spatial.transform import Rotation


class Refused(ValueError):
    """The file is not what its format says."""


@dataclass
class Row:
    """A particle: where it lies, in pixels of ``pixel`` Angstrom (None: not said) or in Angstrom.

    With ``from_centre`` it is counted from the middle of its tomogram.
    """

    tomogram: str
    xyz: tuple[float, ...]
    pixel: float | None = None
    in_angstrom: bool = False
    from_centre: bool = False
    score: float | None = None
    cluster: int | None = None


_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MISSING = {"", "nan", "-nan", "na", "n/a", "<na>", "none", "null"}


def number(text, *, may_be_missing=False):
    """A finite number; None where it is missing and may be."""
    if may_be_missing and (text is None or str(text).strip().lower() in _MISSING):
        return None
    if isinstance(text, bool) or text is None:
        raise Refused(f"{text!r} is no number")
    if isinstance(text, str):
        if not _NUMBER.fullmatch(text.strip()):
            raise Refused(f"{text!r} is no number")
        text = float(text.strip())
    if not isinstance(text, int | float) or not math.isfinite(text):
        raise Refused(f"{text!r} is no number")
    return float(text)


def whole(text, **how):
    value = number(text, **how)
    if value is not None and value != round(value):
        raise Refused(f"{text!r} is no whole number")
    return None if value is None else int(value)


def pixel_of(text, **how):
    value = number(text, **how)
    if value is not None and not 0.05 <= value <= 1000:
        raise Refused(f"{value} is no pixel")
    return value


def same(one, other):
    return abs(one / other - 1) <= 0.01


def lines_of(path):
    data = Path(path).read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused("no text") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def without_mark(cell):
    """The apostrophe before what a spreadsheet would take for a formula."""
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


def csv_rows(path):
    table = [
        [without_mark(c.strip()) for c in r]
        for r in csv.reader(io.StringIO("\n".join(lines_of(path))))
    ]
    table = [row for row in table if any(row)]
    if len(table) < 2 or any(len(row) != len(table[0]) for row in table):
        raise Refused("no table")
    header = table[0]
    if len(set(header)) < len(header):
        raise Refused("a column twice")
    found = [dict(zip(header, row, strict=True)) for row in table[1:]]
    for row in found:
        yield Row(
            row.get("tomogram", "TS_01"),
            tuple(number(row[axis]) for axis in "xyz"),
            pixel_of(row.get("voxel_size_angstrom"), may_be_missing=True),
            score=number(row.get("score"), may_be_missing=True),
            cluster=whole(row.get("cluster"), may_be_missing=True),
        )


def dynamo_rows(path):
    table = [line.split() for line in lines_of(path) if line.strip()]
    if not table or len(table[0]) < 26 or any(len(row) != len(table[0]) for row in table):
        raise Refused("no table")
    doc = Path(path).with_suffix(".doc")
    names = dict(line.split(None, 1) for line in lines_of(doc) if line) if doc.exists() else {}
    for row in table:
        shift, place = ([number(v) for v in row[i : i + 3]] for i in (3, 23))
        [number(v) for v in row[6:9]]
        apix = number(row[35], may_be_missing=True) if len(row) > 35 else None
        number_of = str(whole(row[19]))
        yield Row(
            names.get(number_of, number_of),
            tuple(p + s - 0.5 for p, s in zip(place, shift, strict=True)),
            pixel_of(apix) if apix else None,
            score=number(row[9], may_be_missing=True),
            cluster=whole(row[21], may_be_missing=True),
        )


BLANKS = " \t\f\v"


def words_of(line):
    """Words of a line of a star file; a quoted one ends at its quote before a blank."""
    words, rest = [], line.strip(BLANKS)
    while rest and not rest.startswith("#"):
        if rest[0] in "\"'":
            found = re.match(rf"{rest[0]}(.*?){rest[0]}(?=[{BLANKS}]|$)", rest)
            if not found:
                raise Refused("a quote without an end")
            words.append(found[1])
        else:
            found = re.match(rf"[^{BLANKS}]+", rest)
            words.append(found[0])
        rest = rest[found.end() :].strip(BLANKS)
    return words


def star_blocks(path):
    """Blocks by name, each a list of rows (label: value), and the labels of all by name."""
    blocks: dict[str, list[dict[str, str]]] = {}
    every: dict[str, list[str]] = {}
    labels: list[str] = []
    name = looped = None
    for line in lines_of(path):
        words = words_of(line)
        if not words:
            continue
        if line.strip(BLANKS).startswith("data_"):
            name, labels, looped = words[0][5:], [], False
            if len(words) > 1 or name in blocks:
                raise Refused("a block twice")
            blocks[name], every[name] = [], labels
        elif name is None:
            raise Refused("no block")
        elif words[0] == "loop_" and not looped and not labels and len(words) == 1:
            looped = True
        elif line.strip(BLANKS)[0] == "_" and not (looped and blocks[name]):
            label = words[0][1:]
            if label in labels or len(words) != (1 if looped else 2):
                raise Refused("a label twice, or without its value")
            labels.append(label)
            if not looped:
                blocks[name] = [{**(blocks[name] or [{}])[0], label: words[1]}]
        elif not looped or len(words) != len(labels):
            raise Refused("a row of another length")
        else:
            blocks[name].append(dict(zip(labels, words, strict=True)))
    return blocks, every


def stopgap_rows(path):
    beside = Path(path).with_name(f"{Path(path).stem}_tomolist.txt")
    names = dict(line.split(None, 1) for line in lines_of(beside) if line)
    blocks, labels = star_blocks(path)
    own = {"motl_idx", "orig_x", "orig_y", "orig_z"}
    lists = [name for name in blocks if own & set(labels[name])]
    if not ("stopgap_motivelist" in lists or len(lists) == 1):
        raise Refused("no motive list, or several")
    for row in blocks["stopgap_motivelist" if "stopgap_motivelist" in lists else lists[0]]:
        place = [number(row[f"orig_{a}"]) - 1 + number(row[f"{a}_shift"]) for a in "xyz"]
        [number(row[angle]) for angle in ("phi", "psi", "the")]
        number_of = str(whole(row["tomo_num"]))
        score = number(row["score"], may_be_missing=True)
        cluster = whole(row["class"], may_be_missing=True)
        yield Row(names.get(number_of, number_of), tuple(place), score=score, cluster=cluster)


def image_pixel(row):
    said = []
    if "rlnImagePixelSize" in row:
        said.append(pixel_of(row["rlnImagePixelSize"]))
    if "rlnDetectorPixelSize" in row:
        detector = number(row["rlnDetectorPixelSize"])
        if "rlnMagnification" in row:
            detector *= 1e4 / number(row["rlnMagnification"])
        said.append(pixel_of(detector))
    if "rlnPixelSize" in row:
        said.append(pixel_of(row["rlnPixelSize"]))
    if any(not same(one, said[0]) for one in said):
        raise Refused("two pixel sizes")
    return said[0] if said else None


def coordinate_pixel(row):
    of_images = row.get("rlnTomoName", "").endswith(".tomostar")
    of_images &= "rlnTomoVisibleFrames" in row and "rlnImagePixelSize" in row
    labels = ("TomoTiltSeriesPixelSize", "MicrographPixelSize", "MicrographOriginalPixelSize")
    for label in () if of_images else labels:
        if f"rln{label}" in row:
            if label.startswith("Micrograph") and "rlnImagePixelSize" in row:
                pixel_of(row["rlnImagePixelSize"])
            return pixel_of(row[f"rln{label}"])
    return image_pixel(row)


def relion_rows(path):
    blocks, labels = star_blocks(path)
    placed = [name for name in blocks if _is_placed(labels[name])]
    if not ("particles" in placed or len(placed) == 1):
        raise Refused("no particles, or several tables of them")
    table = blocks["particles" if "particles" in placed else placed[0]]
    groups = {}
    for group in blocks.get("optics", []):
        of = number(group["rlnOpticsGroup"])
        if groups.setdefault(of, group) != group:
            raise Refused("an optics group twice")
    called = [row.get("rlnTomoName", "").endswith(".tomostar") for row in table]
    if any(called) and not all(called):
        raise Refused("particle series of Warp and others")
    for own in table:
        group = {}
        if groups and "rlnOpticsGroup" in own:
            group = groups[number(own["rlnOpticsGroup"])]
        elif len(groups) == 1:
            (group,) = groups.values()
        sizes = [k for k in group if k in own and k.endswith("PixelSize")]
        if any(not same(number(own[k]), number(group[k])) for k in sizes):
            raise Refused("two pixel sizes")
        columns = [c for c in ("rlnTomoName", "rlnMicrographName") if c in own]
        said = [own[c] for c in columns if own[c].strip().lower() not in _MISSING]
        if columns and not said:
            raise Refused("no name")
        name = said[0] if said else "TS_01"
        yield _relion_row(name, {**own, **group})


def _is_placed(row):
    return "rlnCoordinateX" in row or "rlnCenteredCoordinateXAngst" in row


def _relion_row(name, row):
    centred = "rlnCenteredCoordinateXAngst" in row
    pixel = 1.0 if centred else coordinate_pixel(row)
    labels = [f"rlnCenteredCoordinate{a}Angst" if centred else f"rlnCoordinate{a}" for a in "XYZ"]
    place = [number(row[label]) * (pixel or 1) for label in labels]
    origin = [0.0] * 3
    if "rlnOriginXAngst" in row:
        origin = [number(row[f"rlnOrigin{a}Angst"]) for a in "XYZ"]
    elif "rlnOriginX" in row and not centred:
        size = image_pixel(row) or pixel or 1
        origin = [number(row[f"rlnOrigin{a}"]) * size for a in "XYZ"]
    for start in ("rlnAngle", "rlnTomoSubtomogram"):
        if f"{start}Rot" in row:
            angles = [number(row[f"{start}{a}"]) for a in ("Rot", "Tilt", "Psi")]
            if start != "rlnAngle" and any(origin):
                origin = Rotation.from_euler("ZYZ", angles, degrees=True).inv().apply(origin)
    xyz = tuple((p - o) / (pixel or 1) for p, o in zip(place, origin, strict=True))
    posterior = number(row.get("rlnMaxValueProbDistribution"), may_be_missing=True)
    if posterior is not None and not -1e-3 <= posterior <= 1 + 1e-3:
        raise Refused("no probability")
    return Row(
        name,
        xyz,
        None if centred else pixel,
        in_angstrom=centred,
        from_centre=centred,
        score=number(row.get("rlnAutopickFigureOfMerit"), may_be_missing=True),
        cluster=whole(row.get("rlnClassNumber"), may_be_missing=True),
    )


def pytom_rows(path):
    try:
        root = ET.fromstring("\n".join(lines_of(path)))
    except ET.ParseError as error:
        raise Refused("no XML") from error
    if root.tag != "ParticleList":
        raise Refused("no list")
    for particle in root.findall("Particle"):
        pick, shift = particle.find("PickPosition"), particle.find("Shift")
        if len({child.tag for child in particle}) < len(particle):
            raise Refused("an element twice")
        moved = [0.0] * 3 if shift is None else [number(shift.get(a, "0")) for a in "XYZ"]
        place = [number(pick.get(a)) + s for a, s in zip("XYZ", moved, strict=True)]
        yield Row(pick.get("Origin") or "TS_01", tuple(place))


def portal_rows(path):
    for line in filter(str.strip, lines_of(path)):
        point = json.loads(line)
        if point["type"] not in ("point", "orientedPoint", "instancePoint"):
            raise Refused("no point")
        yield Row("TS_01", tuple(number(point["location"][a]) for a in "xyz"))


def copick_rows(path):
    content = json.loads("\n".join(lines_of(path)))
    if content.get("unit", "angstrom") != "angstrom":
        raise Refused("another unit")
    pixel_of(content.get("voxel_spacing"), may_be_missing=True)
    for point in content["points"]:
        place = [number(point["location"][a]) for a in "xyz"]
        matrix = point.get("transformation_")
        moved = [number(row[3]) for row in matrix[:3]] if matrix else [0.0] * 3
        xyz = tuple(p + m for p, m in zip(place, moved, strict=True))
        score = number(point.get("score", 1.0), may_be_missing=True)
        yield Row(content.get("run_name") or "TS_01", xyz, in_angstrom=True, score=score)


def eman2_rows(path):
    content = json.loads("\n".join(lines_of(path)))
    unbinned = content.get("apix_unbin")
    for box in content["boxes_3d"]:
        place = tuple(number(value) for value in box[:3])
        if len(place) < 3:
            raise Refused("no place")
        size = None if unbinned is None else pixel_of(unbinned)
        yield Row("TS_01", place, size, from_centre=unbinned is not None)


def imod_rows(path):
    data = Path(path).read_bytes()
    if data[:8] != b"IMODV1.2":
        raise Refused("no model")
    flags, pixel, units = (struct.unpack_from(f">{c}", data, 8 + at)[0] for c, at in _IMOD_HEADER)
    unit = {1: 1e10, -2: 1e8, -3: 1e7, -6: 1e4, -9: 10.0, -10: 1.0, -12: 0.01}.get(units)
    size = pixel_of(pixel * unit) if unit and pixel > 0 else None
    zmax = struct.unpack_from(">i", data, 8 + 136)[0]
    at, points = 240, []
    while data[at : at + 4] != b"IEOF":
        kind = data[at : at + 4]
        if kind == b"OBJT":
            at += 4 + 176
        elif kind == b"CONT":
            n = struct.unpack_from(">i", data, at + 4)[0]
            at += 20
            if n < 0 or at + 12 * n > len(data):
                raise Refused("cut")
            points += [struct.unpack_from(">3f", data, at + 12 * i) for i in range(n)]
            at += 12 * n
        else:
            raise Refused("another chunk")
    for x, y, z in points:
        if flags & 1 << 16:
            y, z = z, y
        elif flags & 1 << 17:
            y, z = zmax - 1 - z, y
        yield Row("TS_01", (number(x) - 0.5, number(y) - 0.5, number(z)), size)


_IMOD_HEADER = (("I", 144), ("f", 208), ("i", 212))
READERS = {
    "csv": csv_rows,
    "dynamo": dynamo_rows,
    "stopgap": stopgap_rows,
    "pytom": pytom_rows,
    "portal": portal_rows,
    "copick": copick_rows,
    "eman2": eman2_rows,
    "imod": imod_rows,
}


def read_plainly(path, name):
    """All particles of a file.

    Raises
    ------
    Refused
        If it is not exactly what the format of that name has.
    """
    try:
        return list(READERS.get(name, relion_rows)(path))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, struct.error) as error:
        raise Refused(f"{type(error).__name__}: {error}") from error
