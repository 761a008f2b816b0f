"""`identify`: which known structure an average is likest."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aitom_disca.cli.app import main
from aitom_disca.curation import Curation, Decision
from aitom_disca.errors import InputError
from aitom_disca.io import read_rows_csv, write_labels_csv, write_rows_csv
from aitom_disca.io.tomograms.mrc import write_volume
from aitom_disca.pipeline.identify import identify
from aitom_disca.simulation import load_phantoms
from aitom_disca.simulation.atomic_models import read_structure

BOX, VOXEL = 20, 16.0
NAMES = ("two_lobes", "ring")
ATOM = "ATOM  {:5d}  CA  ALA A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00          {:>2s}\n"


def pdb(places: np.ndarray, elements: list[str]) -> str:
    rows = zip(places, elements, strict=True)
    return "".join(ATOM.format(i, i, *place, element) for i, (place, element) in enumerate(rows))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Averages of a turned phantom with noise, and of noise alone; maps of two phantoms."""
    folder, rng = tmp_path_factory.mktemp("results"), np.random.default_rng(4)
    phantoms = load_phantoms()
    (folder / "maps").mkdir()
    for name in NAMES:
        density = phantoms[name].density(2 * BOX, VOXEL / 2).astype(np.float32)
        write_volume(folder / "maps" / f"{name}.mrc", density, VOXEL / 2)
    turned = phantoms["ring"].density(BOX, VOXEL, Rotation.from_rotvec([0.4, 0.9, -0.3]), (1, 0, 0))
    noise = rng.standard_normal((2, BOX, BOX, BOX)).astype(np.float32)
    for number, volume in ((1, turned / turned.std() + 0.5 * noise[0]), (3, noise[1])):
        own = folder / "averages" / f"cluster_{number:02d}"
        own.mkdir(parents=True)
        write_volume(own / "average.mrc", volume.astype(np.float32), VOXEL)
    rows = [{"cluster": k, "resolution_0.143_angstrom": 60.0} for k in (1, 3)]
    write_rows_csv(folder / "averages" / "averages.csv", rows)
    return folder


def test_the_right_structure_is_proposed_and_noise_is_none(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["identify", str(results), "--maps", str(results / "maps")]) == 0
    said = capsys.readouterr().out
    first, second = read_rows_csv(results / "averages" / "identified.csv")
    assert first["proposed"] == "ring" and float(first["score"]) > 0.7
    assert float(first["over_second"]) > 0.1 < float(first["over_noise"])
    assert second["cluster"] == "3" and second["proposed"] == ""
    assert "cluster 3: none of them for sure" in said
    assert f"aitom-disca curate {results} --name 1=ring" in said


def test_what_is_missing_is_said(results: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `aitom-disca average` first"):
        identify(tmp_path, results / "maps")
    with pytest.raises(InputError, match="density maps"):
        identify(results, tmp_path)


def test_averages_that_are_damaged_or_outdated_are_said_with_their_cluster(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = shutil.copytree(results, tmp_path / "damaged")
    shutil.rmtree(damaged / "averages" / "cluster_01")
    broken = np.full((BOX, BOX, BOX), np.nan, np.float32)
    write_volume(damaged / "averages" / "cluster_03" / "average.mrc", broken, VOXEL)
    with pytest.raises(InputError, match="average of cluster 3 cannot be compared"):
        identify(damaged, damaged / "maps")
    write_labels_csv(damaged / "labels.csv", np.array([0, 1, 2, 2]))
    Curation(damaged).add([Decision("move", (1,), (2,))])
    assert main(["identify", str(damaged), "--maps", str(damaged / "maps")]) == 2
    said = capsys.readouterr()
    assert "cluster 3 is left out: decision 1 moved particles" in said.out
    assert "run `aitom-disca average` first" in said.err


def test_atoms_are_drawn_about_their_centre_of_mass(tmp_path: Path) -> None:
    pytest.importorskip("gemmi")
    places = np.array([[10.0, 20, 30], [50, 20, 30], [30, 60, 30], [90, 90, 90]])
    (tmp_path / "model.pdb").write_text(pdb(places, ["C", "C", "FE", "H"]))
    drawn = read_structure(tmp_path / "model.pdb", 4.0, 12.0)
    assert drawn.map_zyx.sum() == pytest.approx(6 + 6 + 26)  # hydrogen is left out
    grid = np.indices(drawn.map_zyx.shape) - drawn.map_zyx.shape[0] // 2
    centre = (grid * drawn.map_zyx).sum(axis=(1, 2, 3)) / drawn.map_zyx.sum()
    np.testing.assert_allclose(centre, 0, atol=1e-6)
    iron = np.array(np.unravel_index(drawn.map_zyx.argmax(), drawn.map_zyx.shape))
    mass = np.array([6.0, 6, 26])
    expected_xyz = places[2] - (mass[:, None] * places[:3]).sum(axis=0) / mass.sum()
    np.testing.assert_allclose(iron - drawn.map_zyx.shape[0] // 2, expected_xyz[::-1] / 4, atol=0.5)


@pytest.mark.parametrize("text", ["", "END\n", "no atoms here\n"])
def test_models_without_atoms_are_refused(tmp_path: Path, text: str) -> None:
    pytest.importorskip("gemmi")
    (tmp_path / "empty.pdb").write_text(text)
    with pytest.raises(InputError, match=r"atoms|atomic model"):
        read_structure(tmp_path / "empty.pdb", 4.0, 12.0)
