"""Damaged particle files: refused in one sentence, or read as a plain and strict reading has it."""

from __future__ import annotations

import logging
import random
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import SHARED_DATA
from plain_readings import read_plainly

from aitom_disca.errors import InputError
from aitom_disca.io.formats import NAMES, Known, get_format, recognise
from aitom_disca.particles import ParticleSet, TomogramInfo

INFO = TomogramInfo(
    "TS_01",
    10.0,
    (60, 90, 120),
    tilt_series_pixel_size_angstrom=2.5,
    unbinned_shape_zyx=(240.0, 360.0, 480.0),
)
KNOWN = Known({"TS_01": INFO})
WRITTEN = [name for name in NAMES if get_format(name).write]
BOTH_WAYS = [name for name in NAMES if get_format(name).read and get_format(name).write]
WORDS = [b"nan", b"<NA>", b"", b"inf", b"abc", b"1e400", b"-7", b"0", b"1,5", b"3.25", b"'", b'"']
WORDS += [b"#", b"None", b"1e9", b"0x1F", b"1_0", b"\xff\xfe", b"\0", b"\xc3\xa9", b"{}", b"null"]
SEPARATORS = b"\x1c\x1d\x1e\x1f"  # blanks to Python, letters to other programs
N_ROWS = 8  # of a sample of real files


def particles():
    rng = np.random.default_rng(4)
    center = rng.uniform(5, 55, (4, 3)).round(3)
    return ParticleSet(
        np.full(4, "TS_01"),
        center,
        score=np.array([0.5, 0.25, 0.125, 2.0]),
        euler_zyz_deg=rng.uniform(10, 80, (4, 3)).round(3),
        cluster=np.array([0, 1, -1, 0]),
        posterior=np.array([0.5, 1.0, 0.25, 0.75]),
        box_center_zyx_px=np.floor(center),
        tomograms={"TS_01": INFO},
    )


def only_some_rows(data: bytes) -> bytes:
    """The beginning of a star file: its header and the first rows of every table."""
    kept, n = [], 0
    for line in data.split(b"\n"):
        is_row = bool(line.strip()) and line.strip()[:1] not in b"_#" and b"_" in data[:200]
        is_row &= not line.strip().startswith((b"data_", b"loop_"))
        n = n + 1 if is_row else 0
        if n <= N_ROWS:
            kept.append(line)
    return b"\n".join(kept)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Sound files: a name, the bytes, and the files that lie beside it."""
    folder = tmp_path_factory.mktemp("sound")
    found = {}
    for name in BOTH_WAYS:
        own = get_format(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of imodmodel, about pydantic
            members = particles()
            if name == "copick":
                members = replace(members, cluster=None)
            (folder / name).mkdir()
            path, *beside = own.write(folder / name / f"TS_01{own.suffixes[0]}", members, KNOWN)
        found[name] = (path.name, path.read_bytes(), {p.name: p.read_bytes() for p in beside})
    star = SHARED_DATA / "star"
    for path in sorted(star.glob("relion*.star")):
        if not path.name.startswith(("relion5_til", "relion5_tomo")):
            found[path.stem] = (path.name, only_some_rows(path.read_bytes()), {})
    return found


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A file with one to three faults."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(FAULTS)(data, rng)
    return data


def _a_word(data, rng):
    """Another word in the place of one, most of all in the place of a number."""
    pattern = rb"-?\d+\.?\d*(?:e-?\d+)?" if rng.random() < 0.7 else rb"[^\s,:]+"
    words = list(re.finditer(pattern, data))
    if not words:
        return data
    word = rng.choice(words)
    return data[: word.start()] + rng.choice(WORDS) + data[word.end() :]


def _bytes(data, rng):
    at = rng.randrange(len(data) + 1)
    n = rng.choice((0, 1, 1, 4))
    new = bytes(byte for byte in rng.randbytes(rng.choice((0, 1, 2))) if byte not in SEPARATORS)
    return data[:at] + new + data[at + n :]


def _cut(data, rng):
    return data[: rng.randrange(len(data) + 1)]


def _lines(data, rng):
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    what = rng.randrange(4)
    if what == 0:
        del lines[i]
    elif what == 1:
        lines.insert(i, lines[j])
    elif what == 2:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        words = lines[i].split(b" ")
        words.insert(rng.randrange(len(words) + 1), rng.choice(WORDS))
        lines[i] = b" ".join(words)
    return b"\n".join(lines)


def _a_value_less(data, rng):
    separators = list(re.finditer(rb"[ \t,]+", data))
    if not separators:
        return data
    one = rng.choice(separators)
    end = re.compile(rb"[\s,]|$").search(data, one.end())
    return data[: one.start()] + data[end.start() :]


def _joined(data, rng):
    return data + data


def _line_ends(data, rng):
    return data.replace(b"\n", rng.choice((b"\r\n", b"\r")))


def _encoding(data, rng):
    if rng.random() < 0.5:
        return b"\xef\xbb\xbf" + data
    return data.decode("utf-8", errors="replace").encode("utf-16")


FAULTS = [_a_word] * 5 + [_bytes] * 2 + [_a_value_less] * 2 + [_lines] * 2
FAULTS += [_cut, _joined, _line_ends, _encoding]


def outcome(path, name, beside=()):
    """What the package makes of a file: particles, or the sentence with which it refuses."""
    try:
        own = recognise(path)
        known = replace(KNOWN, file_pixel_angstrom=5.0) if "pixel_origins" in name else KNOWN
        if own.name.startswith(("relion", "warp")):
            known = Known(file_pixel_angstrom=known.file_pixel_angstrom, tomogram_name="TS_01")
        return own.name, own.read(path, known)
    except InputError as error:
        return "refused", str(error)


def check(path, name):
    """Refuse a result that no sentence explains and no plain reading confirms."""
    kind, result = outcome(path, name)
    if kind == "refused":
        assert "\n" not in result.strip(), result
        return False
    rows = read_plainly(path, kind)
    assert len(result) == len(rows)
    for i, row in enumerate(rows):
        called = str(result.tomogram_name[i])
        said = re.sub("/+", "/", row.tomogram)
        ends = said.endswith(called) or said.rpartition(".")[0].endswith(f"/{called}")
        assert ends or said.split("/")[-1].startswith(called)
        info = result.tomograms.get(called)
        found = result.center_zyx_px[i, ::-1]
        if row.from_centre and row.in_angstrom:
            found = result.centered_xyz_angstrom[i]
            expected = np.array(row.xyz)
        elif row.from_centre:  # EMAN2: from the middle voxel
            expected = np.array(row.xyz) * row.pixel / info.voxel_size_angstrom
            expected = expected + np.array(info.shape_zyx[::-1]) // 2
        else:
            pixel = 5.0 if "pixel_origins" in name else row.pixel
            size = 1.0 if row.in_angstrom else pixel or (info and info.voxel_size_angstrom) or 1.0
            voxel = info.voxel_size_angstrom if info else size
            expected = np.array(row.xyz) * (1.0 if abs(size / voxel - 1) < 0.01 else size / voxel)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
        if row.cluster is not None and result.cluster is not None:
            assert result.cluster[i] == max(row.cluster, 0) - 1
        if row.score is not None and result.score is not None:
            assert result.score[i] == pytest.approx(row.score)
    return True


def write_again(folder, kind, members, to):
    """What could be read is written in another format, or that is refused in one sentence."""
    own = get_format(to)
    try:
        written = own.write(folder / f"again{own.suffixes[0]}", members, KNOWN)
        assert written or not len(members), kind
    except InputError as error:
        assert "\n" not in str(error)


def test_sound_files_are_confirmed(samples, tmp_path):
    for name, (file, data, beside) in samples.items():
        for other, content in {file: data, **beside}.items():
            (tmp_path / other).write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert check(tmp_path / file, name), name


def fuzz(samples, folder, seed, n):
    """Read damaged files; the number of those that were read, all of them confirmed."""
    rng = random.Random(seed)
    n_read, wrong = 0, []
    logging.disable(logging.WARNING)
    for i in range(n):
        name = rng.choice(sorted(samples))
        file, data, beside = samples[name]
        for other, content in {file: mutated(data, rng), **beside}.items():
            (folder / other).write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if check(folder / file, name):
                    n_read += 1
                    write_again(folder, *outcome(folder / file, name), rng.choice(WRITTEN))
        except Exception as error:
            wrong.append(f"{i} {name}: {type(error).__name__} {error}"[:300])
    logging.disable(logging.NOTSET)
    assert not wrong, "\n".join([f"{len(wrong)} of {n}", *wrong])
    return n_read


@pytest.mark.parametrize("seed", [0])
def test_damaged_files(samples, tmp_path, seed):
    assert fuzz(samples, tmp_path, seed, 200) > 20


@pytest.mark.full
def test_many_damaged_files(samples, tmp_path):
    assert fuzz(samples, tmp_path, 1, 2000) > 200
