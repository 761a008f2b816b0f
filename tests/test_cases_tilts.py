"""Which tilts: files that are no tilt series, halves of one, volumes that were not rotated."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitom_disca.cli.app import main
from aitom_disca.doctor.measured_wedge import check_wedge
from aitom_disca.errors import InputError
from aitom_disca.io import open_tomogram, read_tomograms_star, write_volume
from aitom_disca.io.formats import Known
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.io.tomograms.tilt_angles import read_tilts, tilts_beside
from aitom_disca.io.tomograms.tilt_range import doubt

STEPS = np.arange(-54, 61, 3)
SHIFTS = np.random.default_rng(3).normal(0, 25, (len(STEPS), 2))  # in range, but not even
ALN_HEAD = "# AreTomo Alignment\n# SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT\n"


def mdoc(tilts) -> str:
    sections = "\n".join(f"[ZValue = {i}]\nTiltAngle = {t}\n" for i, t in enumerate(tilts))
    return f"PixelSpacing = 2.5\n\n{sections}"


def beside(folder: Path, name: str, text: str, tomogram: str = "TS_01.mrc"):
    """What a tomogram is taken to have been tilted by, with a file beside it."""
    (folder / name).write_text(text)
    write_volume(folder / tomogram, np.zeros((4, 5, 6), np.float32), 10.0)
    return open_tomogram(folder / tomogram)


# -- what can be tilts -----------------------------------------------------------------------


@given(
    st.floats(-80, -20),
    st.floats(40, 80),
    st.integers(5, 80),
    st.randoms(use_true_random=False),
)
def test_series_are_not_doubted_and_what_cannot_be_is(low, high, n, random):
    tilts = np.linspace(low, high, n).tolist()
    random.shuffle(tilts)
    assert doubt(tilts) == ""
    assert "one side" in doubt([abs(t) + 1e-3 for t in tilts])
    assert "degrees only" in doubt([t / 4 for t in tilts])
    assert "within -90 and 90" in doubt([*tilts, 90.5]) and doubt([*tilts, np.nan])


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("n", [39, 91])
def test_numbers_of_images_are_no_tilts(start, n):
    assert "numbers of images" in doubt(np.arange(start, start + min(n, 90 - start)))


def test_both_ends_of_a_range_can_be_judged_alone():
    assert doubt((-60, 60)) == doubt((-29.9, 30)) == doubt((-90, 90)) == ""
    assert doubt((0, 60)) and doubt((-25, 25)) and doubt((5, 5)) and doubt(())


# -- columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        lambda i, t: f"{i + 1} {t}",
        lambda i, t: f"{t} {3.1 * i}",
        lambda i, t: f"{i},{t},{3 * i}",
        lambda i, t: f"img_{i}.mrc {t}",
        lambda i, t: f"{i + 1} {SHIFTS[i, 0]:.2f} {SHIFTS[i, 1]:.2f} {t} 85.3",
        lambda i, t: f"{t} {t + 0.7}",
    ],
)
@pytest.mark.parametrize("name", ["TS_01.tlt", "TS_01.rawtlt", "TS_01_TLT.txt"])
def test_of_several_columns_that_of_the_tilts_is_taken(tmp_path, row, name):
    text = "\ufeff" + "\r\n".join(row(i, t) for i, t in enumerate(STEPS)) + "\r\n"
    opened = beside(tmp_path, name, text)
    assert opened.tilt_range_deg == (-54, 60) and opened.tilts_deg == tuple(STEPS)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"{i} {2 * i}" for i in range(40)),  # neither
        "\n".join(f"{t} {t - 15}" for t in STEPS),  # two that differ
        "1 -54\n2\n3 60\n",  # a row too short
        "\n".join(map(str, range(1, 40))),
        "\n".join(map(str, range(-33, -60, -3))),
        "-10\n0\n10\n",
        "zero\none\n",
        "",
    ],
)
def test_what_cannot_be_is_passed_over_if_found_and_refused_if_given(tmp_path, text, caplog):
    assert beside(tmp_path, "TS_01.tlt", text).tilt_range_deg == (-60, 60)
    assert "TS_01.tlt is passed over" in caplog.text
    with pytest.raises(InputError, match=r"TS_01\.tlt.*--tilt-range"):
        read_tilts(tmp_path / "TS_01.tlt")
    command = ["info", str(tmp_path / "TS_01.mrc"), "--tilt-file", str(tmp_path / "TS_01.tlt")]
    assert main(command) == 2


def test_text_in_another_encoding(tmp_path):
    (tmp_path / "TS_01.tlt").write_bytes("\r\n".join(map(str, STEPS)).encode("utf-16"))
    assert read_tilts(tmp_path / "TS_01.tlt") == tuple(STEPS)
    (tmp_path / "TS_01.mdoc").write_bytes(("T = 3 \u00b5m\n" + mdoc(STEPS)).encode("latin-1"))
    assert read_tilts(tmp_path / "TS_01.mdoc") == tuple(STEPS)


def test_the_next_file_is_read_where_one_is_passed_over(tmp_path):
    (tmp_path / "TS_01.tlt").write_text("\n".join(map(str, range(1, 40))))
    assert beside(tmp_path, "TS_01.mrc.mdoc", mdoc(STEPS)).tilts_deg == tuple(STEPS)


def test_aretomo_by_the_name_of_the_column(tmp_path):
    head = ALN_HEAD.replace("BASE TILT", "TILT BASE")
    rows = "".join(f"{i} -10.6 1 1 2 1 1 1 {t} 7\n" for i, t in enumerate(STEPS))
    patches = "# Local Alignment\n" + "0 0 1 2 3 4 5 6 7 88\n" * 3
    assert beside(tmp_path, "TS_01.aln", head + rows + patches).tilts_deg == tuple(STEPS)
    (tmp_path / "TS_01.aln").write_text(head + rows.replace("-54 7", "1e24 7"))
    with pytest.raises(InputError, match="number 1 is 1e"):
        read_tilts(tmp_path / "TS_01.aln")


def test_relion_star_of_a_series(tmp_path):
    """Aligned tilts that cannot be give way to the nominal ones; none that can, to the default."""
    rows = "".join(f"{1 + i} {t}\n" for i, t in enumerate(STEPS))
    images = f"data_a\n\nloop_\n_rlnTomoYTilt #1\n_rlnTomoNominalStageTiltAngle #2\n{rows}"
    (tmp_path / "a.star").write_text(images)
    assert read_tilts(tmp_path / "a.star") == tuple(STEPS)
    write_volume(tmp_path / "a.mrc", np.zeros((4, 5, 6), np.float32), 10.0)
    (tmp_path / "tomograms.star").write_text(
        "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoTiltSeriesStarFile #2\n"
        f"_rlnTomoReconstructedTomogram #3\na {tmp_path}/a.star {tmp_path}/a.mrc\n"
    )
    (one,) = read_tomograms_star(tmp_path / "tomograms.star")
    assert one.tilt_range_deg == (-54, 60) and one.info.tilts_deg == tuple(STEPS)
    offset = "".join(f"{t + 12 + 0.2 * np.sin(t)} {t}\n" for t in STEPS)  # of a lamella
    (tmp_path / "a.star").write_text(images.replace(rows, offset))
    (one,) = read_tomograms_star(tmp_path / "tomograms.star")
    assert read_tilts(tmp_path / "a.star") == one.tilts_deg and one.tilt_range_deg[1] > 71
    (tmp_path / "a.star").write_text(images.replace("_rlnTomoNominal", "_other"))
    (one,) = read_tomograms_star(tmp_path / "tomograms.star")
    assert one.tilt_range_deg == (-60, 60) and one.tilts_deg == ()


@pytest.mark.parametrize("name", ["TS_01.TLT", "TS_01.MRC.MDOC", "TS_01.RAWTLT"])
def test_names_in_capitals(tmp_path, name):
    text = mdoc(STEPS) if name.endswith("MDOC") else "\n".join(map(str, STEPS))
    (tmp_path / name).write_text(text)
    assert read_tilts(tmp_path / name) == tuple(STEPS)


def test_a_range_as_given_is_taken_with_a_warning(tmp_path, caplog):
    write_volume(tmp_path / "a.mrc", np.zeros((4, 5, 6), np.float32), 10.0)
    assert open_tomogram(tmp_path / "a.mrc", tilt_range_deg=(1, 39)).tilt_range_deg == (1, 39)
    assert "all on one side of 0" in caplog.text


@pytest.mark.parametrize(
    ("low", "high", "code", "said"),
    [
        (60, -60, 2, "a smaller and a larger angle"),
        (-100, 100, 2, "a smaller and a larger angle"),
        ("nan", 60, 2, "a smaller and a larger angle"),
        (1, 39, 0, "all on one side of 0; check it"),
        (-54, 66, 0, ""),
    ],
)
def test_a_range_given_to_convert_is_judged(tmp_path, capsys, caplog, low, high, code, said):
    (tmp_path / "a.csv").write_text("tomogram,x,y,z,voxel_size_angstrom\nT,1,2,3,10\n")
    command = ["convert", f"{tmp_path}/a.csv", f"{tmp_path}/a.xml", "--to", "pytom"]
    assert main([*command, "--tilt-range", str(low), str(high)]) == code
    text = capsys.readouterr().err + caplog.text
    assert said in text and bool(said) == bool(caplog.text or code)


def test_the_wedge_of_a_particle_file_is_judged_too(tmp_path, caplog):
    """Dynamo's columns 13 to 15."""
    row = ["0"] * 35
    row[0], row[19], row[23], row[24], row[25] = "1", "1", "5", "6", "7"
    for low, high, expected in ((-50, 52, (-50, 52)), (52, -50, (-50, 52)), (1, 41, (-60, 60))):
        row[12], row[13], row[14] = "1", str(low), str(high)
        (tmp_path / "a.tbl").write_text(" ".join(row) + "\n")
        known = Known(voxel_size_angstrom=10.0)
        (info,) = read_particles(tmp_path / "a.tbl", known=known).tomograms.values()
        assert info.tilt_range_deg == expected
    assert "one side of 0" in caplog.text


# -- halves of a series ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("TS_01.st.mdoc", "TS_01_01.st.mdoc"),
        ("TS_01.mdoc", "TS_01_2.mdoc"),
        ("TS_01.rawtlt", "TS_01b.rawtlt"),
        ("TS_01.tlt", "TS_01-neg.tlt"),
    ],
)
@pytest.mark.parametrize("turn", [-30, 0, 3])
def test_halves_of_a_bidirectional_series_are_joined(tmp_path, first, second, turn):
    halves = np.arange(turn, 61, 3), np.arange(turn - 3, -61, -3)
    for name, tilts in zip((first, second), halves, strict=True):
        text = mdoc(tilts) if name.endswith("mdoc") else "\n".join(map(str, tilts))
        (tmp_path / name).write_text(text)
    for name in (first, second):  # either may be given
        assert read_tilts(tmp_path / name) == tuple(range(-60, 61, 3))
    assert tilts_beside(tmp_path / "TS_01_rec.mrc")[0] == tuple(range(-60, 61, 3))


def test_a_tilt_that_both_halves_hold(tmp_path):
    (tmp_path / "TS_01.tlt").write_text("\n".join(map(str, range(0, 61, 3))))
    (tmp_path / "TS_01_2.tlt").write_text("\n".join(map(str, range(0, -61, -3))))
    tilts = read_tilts(tmp_path / "TS_01.tlt")
    assert (tilts[0], tilts[-1], len(tilts)) == (-60, 60, 42)


def test_halves_that_number_their_images(tmp_path):
    """The numbers of one half go on where the tilts of the other end."""
    for name, tilts in (("TS_01", range(0, 61, 2)), ("TS_01_2", range(-2, -61, -2))):
        rows = "".join(f"{i} {tilt}\n" for i, tilt in enumerate(tilts))
        (tmp_path / f"{name}.tlt").write_text(rows)
    for name in ("TS_01", "TS_01_2"):
        assert read_tilts(tmp_path / f"{name}.tlt") == tuple(range(-60, 61, 2))


@pytest.mark.parametrize("other", ["TS_010.tlt", "TS_01_02.rawtlt", "other.tlt"])
def test_no_other_series_is_taken_for_a_half(tmp_path, other, caplog):
    (tmp_path / "TS_01.tlt").write_text("\n".join(map(str, range(-30, 61, 3))))
    (tmp_path / other).write_text("\n".join(map(str, range(-60, -32, 3))))
    assert read_tilts(tmp_path / "TS_01.tlt")[0] == -30
    assert "may be half of a bidirectional series" in caplog.text


def test_whole_series_with_like_names_are_two(tmp_path):
    for name, tilts in (("TS_01", range(-60, 61, 3)), ("TS_01_02", range(-40, 51, 2))):
        (tmp_path / f"{name}.tlt").write_text("\n".join(map(str, tilts)))
    assert read_tilts(tmp_path / "TS_01.tlt") == tuple(range(-60, 61, 3))
    assert read_tilts(tmp_path / "TS_01_02.tlt") == tuple(range(-40, 51, 2))


# -- the cases -------------------------------------------------------------------------------


def test_bug_09(shared_cases, tmp_path, capsys, caplog):
    folder = tmp_path / "case"
    shutil.copytree(shared_cases / "bug_09_tilt_range_without_zero", folder)
    expected = {"TS_01.mrc": "-54 to 60", "TS_02_rec.mrc": "-60 to 60", "TS_03.mrc": "-60 to 60"}
    for name, tilts in expected.items():
        assert main(["info", str(folder / name)]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert tilts in said and ("halves of one" in said) == (name == "TS_02_rec.mrc")
    assert "TS_03.aln is passed over" in caplog.text and "number 1 is 1.5673e+24" in caplog.text
    command = ["info", str(folder / "TS_03.mrc"), "--tilt-file", str(folder / "TS_03.aln")]
    assert main(command) == 2
    assert "number 1 is 1.5673e+24" in " ".join(capsys.readouterr().err.split())


# -- volumes that were not rotated -----------------------------------------------------------


def imaged(power: float = 0.0, half_range_deg: float = 60) -> np.ndarray:
    """Noise of a tilt series, tilt axis y, beam z; axes z, y, x."""
    shape = (48, 100, 100)
    kz, ky, kx = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    noise = np.fft.fftn(np.random.default_rng(1).normal(size=shape))
    noise *= (np.sqrt(kz**2 + ky**2 + kx**2) + 0.02) ** (power / 2)
    measured = np.abs(np.rad2deg(np.arctan(kz / np.where(kx == 0, 1e-9, kx)))) <= half_range_deg
    return np.fft.ifftn(noise * measured).real.astype(np.float32)


def checked(path: Path, volume: np.ndarray, tilt_range_deg=(-60, 60)):
    write_volume(path, volume, 10.0)
    return check_wedge(open_tomogram(path, tilt_range_deg=tilt_range_deg))


@pytest.mark.parametrize("power", [0, -2])
@pytest.mark.parametrize("half_range_deg", [45, 60, 68])
def test_axes_of_a_tomogram_are_told(tmp_path, power, half_range_deg):
    volume = imaged(power, half_range_deg)
    spans = (-half_range_deg, half_range_deg)
    assert checked(tmp_path / "a.mrc", volume, spans).state == "ok"
    for axes, said in {
        (1, 0, 2): "beam lies along y",
        (2, 0, 1): "beam lies along y",
        (1, 2, 0): "beam lies along x",
        (2, 1, 0): "beam lies along x",
        (0, 2, 1): "the missing wedge lies about x",
    }.items():
        turned = np.ascontiguousarray(volume.transpose(axes))
        found = checked(tmp_path / "a.mrc", turned, spans)
        assert found.state == "error" and said in found.found
        assert ("trimvol -rx" in found.remedy) == (said == "beam lies along y")


@pytest.mark.parametrize("mean", [0, 30, 1000])
@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_padding_far_from_the_mean_is_no_wedge(tmp_path, mean, axis):
    volume = imaged(-1) + mean
    if axis is None:  # corners, as of an image turned on its side
        y, x = np.indices(volume.shape[1:])
        volume[:, (y + x < 60) | (y + x > 150)] = 0
    else:
        volume = np.pad(volume, [(20, 13) if a == axis else (0, 0) for a in range(3)])
    assert checked(tmp_path / "a.mrc", volume).state == "ok"


def test_a_thin_tomogram_is_judged_by_its_edges(tmp_path, rng):
    thin = rng.normal(size=(60, 20, 70)).astype(np.float32)
    assert "trimvol" in checked(tmp_path / "a.mrc", thin).remedy
    assert checked(tmp_path / "a.mrc", thin.swapaxes(0, 1).copy()).state == "ok"


def test_a_range_that_cannot_be_is_a_line_of_doctor(tmp_path):
    found = checked(tmp_path / "a.mrc", np.zeros((10, 20, 20)), (1, 39))
    assert found.state == "warning" and "one side of 0" in found.found


def test_bug_10(shared_cases, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(shared_cases / "bug_10_unrotated_tomogram" / "make.py"))
    assert check_wedge(open_tomogram("right.mrc", tilt_range_deg=(-60, 60))).state == "ok"
    command = ["doctor", "full.rec", "-d", "250", "--tilt-range", "-60", "60"]
    assert main(command) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "beam lies along y" in said and "trimvol -rx" in said
