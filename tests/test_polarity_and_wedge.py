"""What the voxels say of polarity and tilts, and what `run` and `pick` do about it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from aitom_disca import demo
from aitom_disca.cli.app import main
from aitom_disca.doctor.gold_beads import check_gold
from aitom_disca.doctor.measured_wedge import agrees, check_wedge, in_words, measured_tilts
from aitom_disca.doctor.polarity import strongest_blobs
from aitom_disca.doctor.sampled_blocks import filled_slices, sample_blocks
from aitom_disca.doctor.voxel_values import check_values
from aitom_disca.geometry.fall_off_with_tilt import by_direction, mean_power
from aitom_disca.io import open_tomogram, write_volume
from aitom_disca.simulation import load_phantoms, simulate_tomogram

SHAPE = (64, 150, 140)
STEPS = np.arange(-60, 61, 3.0)


@pytest.fixture(scope="module")
def protein_bright() -> np.ndarray:
    phantoms = load_phantoms()
    chosen = [phantoms[name] for name in demo.PHANTOMS]
    return simulate_tomogram(chosen, 40, SHAPE, 14.0, 0.1, (-60, 60), gap_px=2).volume


@pytest.fixture
def opened(tmp_path):
    def write_and_open(volume, voxel_size_angstrom=14.0, tilt_range=(-60, 60)):
        write_volume(tmp_path / "t.mrc", volume, voxel_size_angstrom, tilt_range_deg=tilt_range)
        return open_tomogram(tmp_path / "t.mrc")

    return write_and_open


# -- polarity ------------------------------------------------------------------------------


def with_gold(volume: np.ndarray, value: float) -> np.ndarray:
    beads = volume.copy()
    z, y, x = np.ogrid[-5:6, -5:6, -5:6]
    distance = np.sqrt(z**2 + y**2 + x**2)
    bead = np.where(distance < 3, value, np.where(distance < 5, -value / 3, 0))  # with a rim
    for cz, cy, cx in np.random.default_rng(0).integers(8, np.array(SHAPE) - 8, (6, 3)):
        beads[cz - 5 : cz + 6, cy - 5 : cy + 6, cx - 5 : cx + 6] += bead
    return beads


@pytest.mark.parametrize("gold", [0, 40, -40])
def test_blobs_tell_the_polarity_whatever_gold_says(protein_bright, opened, gold):
    volume = with_gold(protein_bright, gold)
    assert strongest_blobs(opened(volume), 200.0).clear == "bright"
    assert strongest_blobs(opened(-volume), 200.0).clear == "dark"


@pytest.mark.parametrize("power", [0, -2])
def test_noise_has_no_polarity(opened, power):
    """White, and with the spectrum of ice; 20 tomograms each."""
    shape = (48, 96, 96)
    radius = np.sqrt(sum(k**2 for k in np.ix_(*(fft.fftfreq(n) for n in shape)))) + 0.02
    for seed in range(20):
        white = fft.fftn(np.random.default_rng(seed).normal(size=shape))
        noise = fft.ifftn(white * radius ** (power / 2)).real
        assert strongest_blobs(opened(noise), 150.0).clear is None


@pytest.mark.parametrize("name", ["cell_good", "cell_raw", "microtubule_13pf"])
def test_real_and_realistic_tomograms(shared_data, name):
    folder = "tomograms" if name.startswith("micro") else "cell"
    tomogram = open_tomogram(shared_data / folder / f"{name}.mrc", tilt_range_deg=(-60, 60))
    seen = measured_tilts(by_direction(mean_power(sample_blocks(tomogram)), "y"))
    assert seen is not None and seen.low is not None and seen.high is not None
    if folder == "cell":
        assert strongest_blobs(tomogram, 200.0).clear == "dark"
        assert abs(seen.low + 60) <= 3 and abs(seen.high - 60) <= 3
    else:  # a single filament: at 118 A, which is what `run` takes for it
        assert strongest_blobs(tomogram, 118.0).clear == "bright"
        assert all(strongest_blobs(tomogram, d).clear != "dark" for d in (90.0, 150.0, 200.0))
        assert abs(seen.low + 67) <= 3 and abs(seen.high - 57) <= 3


def test_pick_stops_where_protein_is_dark_and_nothing_was_said(protein_bright, opened, capsys):
    path = str(opened(-protein_bright).path)
    command = ["pick", path, "--out", path + ".csv", "--particle-diameter-angstrom", "200"]
    assert main(command) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "protein seems to be dark" in said and "add --dark-protein" in said
    assert main([*command, "--dark-protein"]) == 0
    assert "seems" not in capsys.readouterr().out
    main([*command, "--bright-protein", "--overwrite"])
    assert "dark in" not in (out := capsys.readouterr().out)
    assert "but --bright-protein was given" in " ".join(out.split())


def test_pick_goes_on_against_clear_evidence_with_a_warning(protein_bright, opened, capsys):
    path = str(opened(protein_bright).path)
    command = ["pick", path, "--out", path + ".csv", "--particle-diameter-angstrom", "200"]
    main([*command, "--dark-protein"])
    assert "but --dark-protein was given" in " ".join(capsys.readouterr().out.split())
    assert main([*command, "--overwrite"]) == 0
    assert "seems" not in capsys.readouterr().out


def test_run_asks_too_before_it_begins(protein_bright, opened, tmp_path, capsys, monkeypatch):
    path = str(opened(-protein_bright, tilt_range=(-40, 60)).path)
    command = ["run", path, "--out", str(tmp_path / "run"), "--particle-diameter-angstrom", "200"]
    assert main(command) == 2
    assert "add --dark-protein" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("aitom_disca.pipeline.run", lambda *_, **__: 1 / 0)
    assert main([*command, "--dark-protein"]) == 1  # it began
    said = " ".join(capsys.readouterr().out.split())
    assert "-40 to 60 degrees are taken" in said and "--tilt-range -6" in said


# -- tilts ---------------------------------------------------------------------------------


def measured(tilts_deg, weights=None, *, shape=(72, 150, 150), seed=0) -> np.ndarray:
    """White noise of which a tilt series measured the slices of its images, with weights."""
    kz, kx = fft.fftfreq(shape[0])[:, None, None], fft.rfftfreq(shape[2])
    power = np.zeros((shape[0], 1, len(kx)))
    weights = np.ones(len(tilts_deg)) if weights is None else weights
    for tilt, weight in zip(np.deg2rad(tilts_deg), weights, strict=True):
        off = (kz * np.cos(tilt) - kx * np.sin(tilt)) * shape[0]  # a slice is 1 / thickness thick
        power = np.maximum(power, weight * np.exp(-(off**2) / 0.5))
    spectrum = fft.rfftn(np.random.default_rng(seed).normal(size=shape))
    return fft.irfftn(spectrum * np.sqrt(power), s=shape).astype(np.float32)


def seen_in(tomogram):
    return measured_tilts(by_direction(mean_power(sample_blocks(tomogram)), "y"))


@pytest.mark.parametrize(
    ("low", "high", "width"), [(-60, 60, np.inf), (-60, 60, 35.0), (-48, 66, 25.0), (-42, 57, 30.0)]
)
def test_power_that_falls_off_with_tilt_ends_where_the_series_ends(opened, low, high, width):
    tilts = np.arange(low, high + 1, 3.0)
    tomogram = opened(measured(tilts, np.exp(-((tilts / width) ** 2) / 2)), tilt_range=(low, high))
    seen = seen_in(tomogram)
    if seen.sure:
        assert abs(seen.low - low) <= 6 and abs(seen.high - high) <= 6
    assert seen.low <= low + 12 and seen.high >= high - 12
    assert check_wedge(tomogram).state == "ok"
    assert not agrees(seen, (low + 25, high))  # power beyond what is said


def test_an_end_in_the_background_gives_no_number(opened):
    tilts = np.arange(-60, 61, 3.0)
    volume = measured(tilts, np.exp(-((tilts / 20) ** 2) / 2))
    volume += 0.2 * volume.std() * np.random.default_rng(1).normal(size=volume.shape)
    found = check_wedge(opened(volume, tilt_range=(-30, 60)))
    tomogram = opened(volume)
    assert not seen_in(tomogram).sure and "at least" in in_words(seen_in(tomogram))
    assert check_wedge(tomogram).state == "ok"
    assert "--tilt-range -" not in found.remedy


def test_the_measured_range_is_proposed_where_it_is_some_degrees_off(opened):
    volume = measured(np.arange(-51, 61, 3.0))
    near = check_wedge(opened(volume, tilt_range=(-60, 60)))
    assert near.state == "ok" and near.remedy.startswith("if you know no better; --tilt-range -5")
    right = seen_in(opened(volume))
    assert not check_wedge(opened(volume, tilt_range=(right.low, right.high))).remedy


@pytest.mark.parametrize("missing", [(33, 39), (-51, -36)])
def test_gaps_are_named_and_end_nothing(opened, missing):
    tilts = STEPS[(STEPS < missing[0]) | (STEPS > missing[1])]
    tomogram = opened(measured(tilts))
    seen = seen_in(tomogram)
    assert abs(seen.low + 60) <= 3 and abs(seen.high - 60) <= 3
    ((start, stop),) = seen.gaps
    assert abs(start - missing[0]) <= 3 and abs(stop - missing[1]) <= 3
    assert check_wedge(tomogram).state == "ok" and "none from" in check_wedge(tomogram).found


@pytest.mark.parametrize("rest", [0.0, 1e-3])
def test_empty_slices_are_no_wedge_and_make_no_gold(opened, rest, protein_bright):
    volume = 20 * np.pad(protein_bright, ((50, 40), (0, 0), (0, 0))) + 100
    volume[:50] = volume[-40:] = 100
    volume += rest * np.random.default_rng(0).normal(size=volume.shape)
    tomogram = opened(volume)
    filled = filled_slices(tomogram)
    assert abs(filled.start - 50) <= 3 and abs(filled.stop - len(volume) + 40) <= 3
    checks = [*check_values(tomogram), *check_gold(tomogram)]
    assert [check.state for check in checks] == ["ok"] * 4
    assert checks[2].found == "no bead"
    assert check_wedge(tomogram).state == "ok"
    assert strongest_blobs(tomogram, 200.0).clear == "bright"


def test_no_number_without_a_wedge(opened):
    noise = opened(np.random.default_rng(0).normal(size=SHAPE))
    assert seen_in(noise) is None and check_wedge(noise).state == "warning"
