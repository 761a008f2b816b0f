"""The contrast transfer function, and defocus given and found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import constants

from aitom_disca.cli.app import main
from aitom_disca.config import OpticsSettings
from aitom_disca.errors import InputError
from aitom_disca.geometry import ctf, electron_wavelength_angstrom
from aitom_disca.io import open_store, open_tomogram, open_tomograms, write_picks_csv, write_volume
from aitom_disca.io.tomograms.defocus import check_defocus, read_defocus_file
from aitom_disca.particles import ParticleSet

DEFOCUS = 30600.0


def wavelength(voltage_kv: float) -> float:
    """From momentum and energy, unlike the closed formula."""
    rest = constants.m_e * constants.c**2
    energy = rest + constants.e * 1e3 * voltage_kv
    return 1e10 * constants.h * constants.c / np.sqrt(energy**2 - rest**2)


@pytest.mark.parametrize("voltage_kv", [100, 200, 300])
def test_wavelength(voltage_kv):
    assert electron_wavelength_angstrom(voltage_kv) == pytest.approx(wavelength(voltage_kv), 1e-6)


def test_ctf_is_that_of_the_sine_and_cosine_form():
    k, amplitude = np.linspace(0, 0.2, 500), 0.07
    chi = np.pi / 2 * (2.26e7 * wavelength(200) ** 3 * k**4 - 2 * DEFOCUS * wavelength(200) * k**2)
    expected = amplitude * np.cos(chi) - np.sqrt(1 - amplitude**2) * np.sin(chi)
    found = ctf(k, DEFOCUS, 200, 2.26, amplitude)
    np.testing.assert_allclose(found, expected, atol=2e-4)  # up to 100 periods
    assert found[0] == pytest.approx(amplitude) and found[5] > amplitude  # protein bright


def test_zeros():
    zeros = np.sqrt(np.arange(1, 6) / (0.0196875 * DEFOCUS))  # without aberration and amplitude
    np.testing.assert_allclose(ctf(zeros, DEFOCUS, 300, 0, 0), 0, atol=1e-4)
    between = (zeros[1:] + zeros[:-1]) / 2
    assert (np.sign(ctf(between, DEFOCUS, 300, 0, 0)) == [-1, 1, -1, 1]).all()


# -- defocus: its unit, and the files that say it ------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3.06, "in µm: give 30600"),
        (-3.06, "in µm and counts underfocus as negative: give 30600"),
        (-30600, "in A and counts underfocus as negative: give 30600"),
        (500, "in nm: give 5000"),
        (3.06e-6, "in m: give 30600"),
        (0, "give it in Angstrom"),
    ],
)
def test_another_unit_is_refused_and_guessed(value, said):
    with pytest.raises(InputError, match="is not between 1,000 and 200,000 A") as error:
        check_defocus(value, "--defocus")
    assert said in str(error.value)
    assert check_defocus(30600, "--defocus") == 30600


FILES = {
    "t.mrc.mdoc": (
        "Voltage = 200\n[ZValue = 0]\nTargetDefocus = -3\nDefocus = 0.2\n[ZValue = 1]\n"
        "TargetDefocus = -3\nDefocus = 0.4\n",
        {"defocus_angstrom": 30000, "voltage_kv": 200},
    ),
    "t.defocus": (
        "1 1 -60. -60. 3100 2\n2 2 0 0 3000\n3 3 60 60 2000\n",
        {"defocus_angstrom": 3e4},
    ),
    "t_2.defocus": (
        "1 0 0. 0. 0 3\n1 1 -60 -60 3100 2900 40\n2 2 0 0 3300 2700 40\n",
        {"defocus_angstrom": 3e4},
    ),
    "t.xml": (
        '<TiltSeries>\n<CTF>\n<Param Name="Voltage" Value="200" />\n<Param Name="DefocusDelta" '
        'Value="0.1" />\n<Param Name="Defocus" Value="3.0" />\n<Param Name="Cs" Value="2.26" />\n'
        '<Param Name="Amplitude" Value="0.07" />\n</CTF>\n</TiltSeries>\n',
        {
            "defocus_angstrom": 30000,
            "voltage_kv": 200,
            "spherical_aberration_mm": 2.26,
            "amplitude_contrast": 0.07,
        },
    ),
    "t_CTF.txt": (
        "# Pixel size: 1.35 Angstroms ; acceleration voltage: 200.0 keV ; spherical aberration: "
        "2.26 mm ; amplitude contrast: 0.07\n"
        "# Columns: #1 micrograph number; #2 - defocus 1 [Angstroms]\n"
        "1.0 31000.0 29000.0 40.0 0.0 0.1 9.5\n2.0 30500.0 29500.0 40.0 0.0 0.1 inf\n",
        {
            "defocus_angstrom": 30000,
            "voltage_kv": 200,
            "spherical_aberration_mm": 2.26,
            "amplitude_contrast": 0.07,
        },
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_defoci(tmp_path, name):
    text, expected = FILES[name]
    (tmp_path / name).write_text(text)
    assert read_defocus_file(tmp_path / name) == pytest.approx(expected)


@pytest.fixture
def tomogram(tmp_path):
    path = tmp_path / "t_rec.mrc"
    volume = np.random.default_rng(0).normal(size=(20, 24, 22))
    write_volume(path, volume, 14.0, tilt_range_deg=(-50, 60))
    return path


def test_a_file_beside_the_tomogram_is_found_and_what_is_given_comes_first(tomogram, caplog):
    assert open_tomograms([tomogram])[0].defocus_angstrom is None
    (tomogram.parent / "t.mdoc").write_text(FILES["t.mrc.mdoc"][0])
    assert open_tomograms([tomogram])[0].info.optics == {
        "defocus_angstrom": 30000,
        "voltage_kv": 200,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.1,
    }
    given = OpticsSettings(defocus="25000", amplitude_contrast=0.07)
    one = open_tomograms([tomogram], optics=given)[0]
    assert (one.defocus_angstrom, one.voltage_kv, one.amplitude_contrast) == (25000, 200, 0.07)
    (tomogram.parent / "t.mdoc").write_text("TargetDefocus = -0.03\n")  # nobody named this file
    assert open_tomograms([tomogram])[0].defocus_angstrom is None
    assert "taken as not known" in caplog.text


def test_warps_list_lies_above_its_reconstructions(tomogram):
    path = tomogram.parent / "reconstruction" / "t_14.00Apx.mrc"
    path.parent.mkdir()
    tomogram.rename(path)
    (tomogram.parent / "t.xml").write_text(FILES["t.xml"][0])
    assert open_tomograms([path])[0].defocus_angstrom == 30000


def test_a_table_with_every_tomograms_defocus(tomogram):
    table = tomogram.parent / "defoci.csv"
    table.write_text("tomogram,defocus_angstrom\nother,2e4\nt_rec,31000\n")
    given = OpticsSettings(defocus=str(table))
    assert open_tomograms([tomogram], optics=given)[0].defocus_angstrom == 31000
    for text, said in [
        ("tomogram,defocus_angstrom\nother,2e4\n", "no defocus for the tomogram t_rec"),
        ("tomogram,defocus_angstrom\nt_rec,3.1\n", "in µm: give 31000"),
        ("name,defocus\nt_rec,3e4\n", "needs the columns"),
    ]:
        table.write_text(text)
        with pytest.raises(InputError, match=said):
            open_tomograms([tomogram], optics=given)


def test_relions_tomograms_star(tomogram, shared_data):
    listed = shared_data / "star" / "relion5_tilt_series_tomo200528_107.star"
    star = tomogram.parent / "tomograms.star"
    star.write_text(
        "data_global\n\nloop_\n_rlnTomoName #1\n_rlnVoltage #2\n_rlnAmplitudeContrast #3\n"
        "_rlnTomoTiltSeriesStarFile #4\n_rlnTomoReconstructedTomogram #5\n"
        f"tomo200528_107 200 0.07 {listed} {tomogram}\n"
    )
    one = open_tomograms([star])[0]
    assert (one.voltage_kv, one.amplitude_contrast) == (200, 0.07)
    assert 25000 < one.defocus_angstrom < 35000  # aimed at 3 µm
    text = (shared_data / "star" / listed.name).read_text().replace("_rlnDefocus", "_rlnOther")
    (tomogram.parent / "nominal.star").write_text(text)
    star.write_text(star.read_text().replace(str(listed), "nominal.star"))
    assert open_tomograms([star])[0].defocus_angstrom == 30000  # what was aimed at
    of_star = OpticsSettings(defocus=str(star))
    with pytest.raises(InputError, match="t_rec"):
        open_tomograms([tomogram], optics=of_star)


def test_from_the_command_line_into_the_store(tomogram, capsys):
    folder = tomogram.parent
    picks = ParticleSet(np.array(["t_rec"]), np.full((1, 3), 10.0), np.ones(1))
    write_picks_csv(folder / "p.csv", picks)
    command = ["extract", str(tomogram), "--picks", str(folder / "p.csv"), "--box-px", "12"]
    command += ["--out", str(folder / "s.h5"), "--voltage-kv", "200", "--defocus"]
    assert main([*command, "3.06"]) == 2
    assert "in µm: give 30600" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "30600"]) == 0
    with open_store(folder / "s.h5") as store:
        info = store.particles().tomograms["t_rec"]
        stored = json.loads(store._file.attrs["tomograms"])
    assert (info.defocus_angstrom, info.voltage_kv) == (30600, 200)
    assert stored[0]["defocus_angstrom"] == 30600


def test_subtomograms_from_files(tomogram):
    from aitom_disca.subtomograms.from_files import import_subtomograms

    folder = tomogram.parent / "boxes"
    volumes = np.random.default_rng(0).normal(size=(2, 12, 12, 12))
    for i, volume in enumerate(volumes):
        write_volume(folder / f"{i}.mrc", volume, 14.0)
    import_subtomograms(folder, folder / "s.h5", optics=OpticsSettings(defocus="30600"))
    with open_store(folder / "s.h5") as store:
        infos = store.particles().tomograms
    assert [info.defocus_angstrom for info in infos.values()] == [30600, 30600]
    assert open_tomogram(tomogram).defocus_angstrom is None
