"""RELION's own programs open what is written here, and what they write is read."""

from __future__ import annotations

import os
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile

from aitom_disca.averaging import fsc
from aitom_disca.averaging.average_at_poses import average_at_poses
from aitom_disca.averaging.fsc import corrected_fsc, half_shells
from aitom_disca.cli.app import main
from aitom_disca.geometry import rotation_from_euler_zyz_deg
from aitom_disca.io import open_store, write_particles_star, write_volume
from aitom_disca.io.formats.read_particles import read_particles
from aitom_disca.simulation import load_phantoms, simulate_tomogram

pytestmark = pytest.mark.relion

VOXEL, BOX, N = 16.0, 20, 40
SHAPE = (60, 132, 116)  # z, y, x
TILT = (-60.0, 60.0)


def run(*commands: str) -> None:
    for command in commands:
        assert main(command.split()) == 0, command


def volume(path: str | Path) -> np.ndarray:
    with mrcfile.open(path) as mrc:
        return mrc.data.astype(float)


def pearson(first: str | Path | np.ndarray, second: str | Path) -> float:
    """Correlation of two maps in a sphere of 0.4 box edges."""
    first = first if isinstance(first, np.ndarray) else volume(first)
    away = np.indices(first.shape) - first.shape[0] // 2
    inside = (away**2).sum(axis=0) <= (0.4 * first.shape[0]) ** 2
    return float(np.corrcoef(first[inside], volume(second)[inside])[0, 1])


@pytest.fixture(scope="module")
def made(tmp_path_factory, relion) -> Path:
    """A tomogram of three different edges, particles without symmetry, and their average."""
    folder, before = tmp_path_factory.mktemp("relion"), Path.cwd()
    os.chdir(folder)
    letter = load_phantoms()["letter_l"]
    tomogram = simulate_tomogram([letter], N, SHAPE, VOXEL, 0.3, TILT, seed=3, name="tomo")
    write_volume("tomo.mrc", tomogram.volume, VOXEL, tilt_range_deg=TILT)
    write_particles_star("truth.star", tomogram.truth)
    optics = {"rlnOpticsGroup": 1, "rlnOpticsGroupName": "tomograms", "rlnVoltage": 300.0}
    optics |= {"rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1}
    optics |= {"rlnMicrographOriginalPixelSize": VOXEL, "rlnMicrographPixelSize": VOXEL}
    micrographs = {"rlnMicrographName": ["tomo.mrc"], "rlnOpticsGroup": [1]}
    starfile.write(
        {"optics": pd.DataFrame([optics]), "micrographs": pd.DataFrame(micrographs)}, "mics.star"
    )
    run(
        f"extract tomo.mrc --picks truth.star --out s.h5 --box-px {BOX}",
        "average s.h5 --out avg --images --null-test none",
    )
    (folder / "refined").mkdir()
    relion(
        "refine --i avg/particles.star --o refined/run --ref avg/cluster_01/average.mrc --K 1",
        "--iter 1 --skip_align --ctf --particle_diameter 240",
    )
    yield folder
    os.chdir(before)


AVERAGE = "avg/cluster_01/average.mrc"


def test_reconstruct_gives_the_average_back(made, relion):
    relion("reconstruct --i avg/particles.star --o whole.mrc --ctf --3d_rot")
    assert pearson(AVERAGE, "whole.mrc") > 0.99
    for half in (1, 2):
        relion(f"reconstruct --i avg/particles.star --o h.mrc --ctf --3d_rot --subset {half}")
        fits = [pearson(f"avg/cluster_01/half{k}.mrc", "h.mrc") for k in (1, 2)]
        assert fits[half - 1] > 0.98 and fits[half - 1] > fits[2 - half]


def test_refine_without_alignment_gives_the_average_back(made):
    assert pearson(AVERAGE, "refined/run_it001_class001.mrc") > 0.99


def test_refined_particles_come_back(made):
    """To subtomograms, to the poses of a store, and to its labels."""
    run(
        "convert s.h5 again.star --to relion31 --images --poses refined/run_it001_data.star",
        "convert s.h5 labelled.star --to relion31 --labels refined/run_it001_data.star",
        "import-subtomograms refined/run_it001_data.star --out i.h5",
        "convert i.h5 imported.star --to relion31 --images",
    )
    old = starfile.read("avg/particles.star")["particles"]
    numbers = [c for c in old if c.startswith(("rlnAngle", "rlnOrigin", "rlnCoordinate"))]
    numbers += ["rlnClassNumber", "rlnRandomSubset"]
    for name in ("again", "imported"):
        new = starfile.read(f"{name}.star")["particles"]
        np.testing.assert_allclose(new[numbers], old[numbers], atol=1e-3)
        for one, other in zip(new["rlnImageName"], old["rlnImageName"], strict=True):
            np.testing.assert_allclose(volume(one), volume(other), atol=1e-4)
    labelled = starfile.read("labelled.star")["particles"]
    assert set(labelled["rlnClassNumber"]) == {1}


@pytest.mark.parametrize("options", ["--box-px 21", "--box-px 14 --working-voxel-size-angstrom 24"])
def test_odd_and_reduced_boxes(made, relion, options):
    """Known poses: RELION's reconstruction from the images is ours from the store."""
    run(
        f"extract tomo.mrc --picks truth.star --out o.h5 {options} --overwrite",
        "convert o.h5 o.star --to relion31 --images --overwrite",
    )
    relion("reconstruct --i o.star --o o.mrc --ctf --3d_rot")
    with open_store("o.h5") as store:
        members, edge = store.particles(), len(volume("o.mrc"))
        shifts = (members.center_zyx_px - members.cut_at_zyx_px) * VOXEL
        own = average_at_poses(
            store.read()[:, :edge, :edge, :edge],
            rotation_from_euler_zyz_deg(members.euler_zyz_deg),
            shifts / store.voxel_size_angstrom,
            TILT,
        )
    assert edge % 2 == 0 and pearson(own, "o.mrc") > 0.99


def test_the_layout_of_relion_30(made, relion):
    """Read by RELION 3.1 as it is, and made into 3.1 by its own program."""
    run("convert s.h5 old.star --to relion30 --images --poses avg/particles.star")
    relion("reconstruct --i old.star --o old.mrc --ctf --3d_rot")
    assert pearson(AVERAGE, "old.mrc") > 0.99
    relion("convert_star --i old.star --o new.star --Cs 2.7 --Q0 0.1")
    ours, theirs = read_particles("avg/particles.star"), read_particles("new.star")
    for column in ("center_zyx_px", "box_center_zyx_px"):
        np.testing.assert_allclose(getattr(theirs, column), getattr(ours, column), atol=1e-4)
    turned = (rotation_from_euler_zyz_deg(one.euler_zyz_deg) for one in (ours, theirs))
    assert (next(turned) * next(turned).inv()).magnitude().max() < 1e-4
    assert theirs.more["rlnRandomSubset"].tolist() == ours.more["rlnRandomSubset"].tolist()


def test_relion_cuts_the_same_subtomograms(made, relion):
    """A coordinate file of poses that were found, and particles that are cut once more."""
    run(
        "convert avg/particles.star cut.star --to relion_coordinates --micrographs mics.star",
        "convert avg/particles.star mic.star --to relion31 --micrographs mics.star",
    )
    cut = f"--extract --extract_size {BOX}"
    relion(
        f"preprocess --i mics.star --coord_dir ./ --coord_suffix _cut.star {cut} --part_dir P/",
        "--part_star P.star",
    )
    relion(
        f"preprocess --i mics.star --reextract_data_star mic.star {cut} --part_dir R/",
        "--part_star R.star",
    )
    with open_store("s.h5") as store:
        own = store.read()
    for name in ("P.star", "R.star"):
        found = starfile.read(name)["particles"]
        assert len(found) == N
        for image, subtomogram in zip(found["rlnImageName"], own, strict=True):
            assert np.corrcoef(volume(image).ravel(), subtomogram.ravel())[0, 1] > 0.999999
    run("import-subtomograms P.star --out p.h5 --tilt-range -60 60")
    run("convert p.h5 p.star --to relion31 --images")
    relion("reconstruct --i p.star --o p.mrc --ctf --3d_rot")
    assert pearson(AVERAGE, "p.mrc") > 0.99


def test_postprocess_finds_the_same_curves(made, relion, monkeypatch):
    (made / "pp").mkdir()
    halves = [f"avg/cluster_01/half{k}.mrc" for k in (1, 2)]
    mask = "avg/cluster_01/mask.mrc"
    relion(f"postprocess --i {halves[0]} --i2 {halves[1]} --mask {mask} --angpix {VOXEL} --o pp/pp")
    theirs = starfile.read("pp/pp.star")
    maps = [volume(path) for path in (*halves, mask)]
    ours = corrected_fsc(*maps, VOXEL)
    edge_angstrom = VOXEL * BOX
    assert theirs["general"]["rlnRandomiseFrom"] == pytest.approx(
        edge_angstrom / ours.randomised_from_shell, abs=1e-3
    )
    resolution = ours.corrected.resolution_angstrom(0.143)
    shell = edge_angstrom / theirs["general"]["rlnFinalResolution"]  # the last one above 0.143
    assert shell - 0.5 < edge_angstrom / resolution < shell + 1.5
    up_to = theirs["fsc"]["rlnAngstromResolution"] >= resolution
    shells, weight = half_shells(BOX)
    assert set(weight) == {1, 2}
    monkeypatch.setattr(fsc, "half_shells", lambda n: (shells, np.ones_like(weight)))
    counted_as_relion = corrected_fsc(*maps, VOXEL)  # the plane kx = 0 twice
    for name, label in {
        "unmasked": "FourierShellCorrelationUnmaskedMaps",
        "masked": "FourierShellCorrelationMaskedMaps",
        "randomised": "CorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
        "corrected": "FourierShellCorrelationCorrected",
    }.items():
        own, curve = getattr(ours, name).correlation, theirs["fsc"][f"rln{label}"]
        np.testing.assert_allclose(own[up_to], curve[up_to], atol=0.02, err_msg=name)
        exact = getattr(counted_as_relion, name).correlation
        np.testing.assert_allclose(exact, curve, atol=1e-3, err_msg=name)
    of_file = pd.read_csv("avg/cluster_01/fsc.csv")
    for name in ("unmasked", "masked"):
        curve = getattr(ours, name).correlation
        np.testing.assert_allclose(of_file[name], curve, atol=1e-5)
