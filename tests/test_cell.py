"""A simulated cell: what grows in it, how it is projected and imaged, and its truth."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aitom_disca.errors import InputError
from aitom_disca.geometry.rotations import rotation_from_euler_zyz_deg
from aitom_disca.simulation import load_phantoms
from aitom_disca.simulation.cell import (
    CellRecipe,
    Imaging,
    grow_cell,
    image_cell,
    read_truth,
    reconstruct,
    surroundings_of,
    write_cell,
)
from aitom_disca.simulation.cell.bilayers import (
    Bilayer,
    _along,
    add_membrane_complex,
    add_vesicle,
)
from aitom_disca.simulation.cell.growing import SHAPE_LEVEL, SHEET, GrowingCell, mass_radius_px
from aitom_disca.simulation.cell.imaging import (
    contrast_transfer,
    dose_damping,
    interaction_rad_per_volt_angstrom,
    wavelength_angstrom,
)
from aitom_disca.simulation.cell.projecting import back_project, project, projection_matrix

RECIPE = CellRecipe(
    abundant=("barrel", "two_lobes"),
    fillers=("ring",),
    membrane="rod",
    shape_zyx=(48, 96, 96),
    ice_angstrom=380.0,
    n_abundant=10,
    n_membrane=1,
    n_fillers=5,
    n_vesicles=1,
    n_microtubules=0,
    n_actin=1,
    n_gold=1,
)
TILTS = tuple(np.arange(-60.0, 61, 6).tolist())


@pytest.fixture(scope="module")
def templates():
    return load_phantoms()


@pytest.fixture(scope="module")
def cell(templates):
    return grow_cell(RECIPE, templates, seed=3)


@pytest.fixture(scope="module")
def series(cell):
    return image_cell(cell, RECIPE, Imaging(TILTS), seed=3)


def plain_projection(plane_zx: np.ndarray, tilt_deg: float) -> np.ndarray:
    """Voxel by voxel, as the text of `projection_matrix` says."""
    nz, nx = plane_zx.shape
    line = np.zeros(nx)
    for iz in range(nz):
        for ix in range(nx):
            angle = np.deg2rad(tilt_deg)
            u = (ix - nx // 2) * np.cos(angle) + (iz - nz // 2) * np.sin(angle) + nx // 2
            for pixel in range(nx):
                line[pixel] += plane_zx[iz, ix] * max(0.0, 1 - abs(pixel - u))
    return line


@pytest.mark.parametrize("tilt_deg", [-47.0, 0.0, 23.0])
def test_projection_agrees_with_one_voxel_by_voxel(tilt_deg: float) -> None:
    plane = np.random.default_rng(0).random((6, 9))
    line = projection_matrix((6, 9), tilt_deg) @ plane.ravel()
    assert np.allclose(line, plain_projection(plane, tilt_deg), atol=1e-5)


def test_the_sample_goes_on_beside_the_tomogram() -> None:
    wide = np.tile(np.random.default_rng(0).random((6, 9)), 3)
    seen = plain_projection(wide, 55.0)[9:18]
    line = projection_matrix((6, 9), 55.0, copies=1) @ wide[:, 9:18].ravel()
    assert np.allclose(line, seen, atol=1e-5)


def test_back_projection_from_all_sides_restores_a_ball() -> None:
    z, y, x = np.indices((40, 8, 40)) - np.array([20, 4, 20])[:, None, None, None]
    ball = np.exp(-((x - 5) ** 2 + y**2 + (z + 3) ** 2) / (2 * 3.0**2)).astype(np.float32)
    tilts = np.arange(-88.0, 89, 4)
    restored = back_project(project(ball, tilts), tilts, 40)
    assert np.unravel_index(restored.argmax(), restored.shape) == (17, 4, 25)
    assert restored.max() == pytest.approx(1, abs=0.1)
    assert np.corrcoef(ball.ravel(), restored.ravel())[0, 1] > 0.98


def test_electrons_have_their_wavelength_and_interaction() -> None:
    assert wavelength_angstrom(300) == pytest.approx(0.019687, abs=2e-6)
    assert wavelength_angstrom(200) == pytest.approx(0.025079, abs=2e-6)
    assert interaction_rad_per_volt_angstrom(300) == pytest.approx(6.526e-4, rel=1e-3)


def test_contrast_transfer_agrees_with_its_formula() -> None:
    lens = Imaging(defocus_angstrom=30000, cs_mm=2.7, amplitude_contrast=0.07)
    assert contrast_transfer(np.zeros(1), lens)[0] == pytest.approx(-0.07)
    k, wave = 1 / 35.0, 0.0196875
    chi = np.pi * wave * 30000 * k**2 - 0.5 * np.pi * 2.7e7 * wave**3 * k**4
    expected = -np.sin(chi + np.arcsin(0.07))
    assert contrast_transfer(np.array([k]), lens)[0] == pytest.approx(expected, abs=1e-4)
    assert expected < -0.9  # near its first, dark maximum


def test_dose_damps_fine_detail_more() -> None:
    left = dose_damping(np.array([1 / 100, 1 / 20, 1 / 5]), 60.0)
    assert np.all(np.diff(left) < 0)
    critical = 0.245 * 20**1.665 + 2.81
    assert left[1] == pytest.approx(np.exp(-30 / critical))


def test_distance_to_a_bilayer() -> None:
    ball = Bilayer(np.array([1.0, 2, 3]), np.full(3, 50.0))
    point = np.array([1 + 33.0, 2 + 44, 3])
    assert ball.distance(list(point)) == pytest.approx(5.0, rel=0.06)
    point, normal = ball.random_point(np.random.default_rng(0))
    assert ball.distance(list(point)) == pytest.approx(0, abs=1e-9)
    assert np.allclose(normal, (point - ball.center_zyx) / 50)


def shapes(cell, templates):
    """Box and shape of every template in the cell, drawn again as the truth tells."""
    margin = 40
    for placed in cell.placed:
        if placed.role != "gold":
            whole = np.floor(placed.center_zyx_px + 0.5).astype(int)
            template = templates[placed.kind]
            drawn = template.density(39, 10.0, placed.rotation, placed.center_zyx_px - whole)
            box = tuple(slice(w + margin - 19, w + margin + 20) for w in whole)
            yield placed, box, drawn > SHAPE_LEVEL * drawn.max(), drawn


def test_all_that_was_asked_for_is_there(cell) -> None:
    roles = [placed.role for placed in cell.placed]
    counts = {role: roles.count(role) for role in set(roles)}
    assert counts == {"abundant": 10, "membrane": 1, "filler": 5, "gold": 1}
    assert cell.filled_fraction == pytest.approx(0.25, abs=0.01)
    assert not (cell.density_zyx > 0.5)[~cell.ice_zyx].any()
    assert cell.density_zyx.max() > 5  # gold
    assert set(np.unique(cell.surroundings_zyx)) == {0, 1, 2}


def test_no_two_particles_overlap(cell, templates) -> None:
    count = np.zeros(np.array(cell.density_zyx.shape) + 80, int)
    for _, box, shape, _ in shapes(cell, templates):
        count[box] += shape
    assert count.max() == 1


def test_particles_lie_as_the_truth_says(cell, templates) -> None:
    density = np.pad(cell.density_zyx, 40)
    for placed, box, shape, drawn in shapes(cell, templates):
        inside = np.pad(np.ones(cell.density_zyx.shape, bool), 40)[box] & shape
        assert np.corrcoef(density[box][inside], drawn[inside])[0, 1] > 0.99, placed


def test_membrane_complexes_stand_in_their_bilayer(templates) -> None:
    cell = GrowingCell((60, 60, 60), 10.0, np.random.default_rng(1), 20)
    vesicle = add_vesicle(cell, (150.0, 180.0))
    before = cell.blocked.copy()
    assert add_membrane_complex(cell, templates["rod"], [vesicle])
    (placed,) = cell.placed
    center = placed.center_zyx_px * 10
    assert vesicle.distance(list(center)) == pytest.approx(0, abs=1e-6)
    step = placed.rotation.apply([0, 0, 1])[::-1]  # z, y, x
    assert vesicle.distance(list(center + 5 * step)) == pytest.approx(5, abs=0.3)
    assert cell.blocked.sum() > before.sum()
    assert (cell.surroundings == SHEET).sum() < before.sum()


def test_seeds_decide(cell, templates) -> None:
    small = {"n_abundant": 3, "n_membrane": 0, "n_fillers": 0, "filled_fraction": 0.02}
    recipe = CellRecipe(("barrel",), shape_zyx=(40, 48, 48), ice_angstrom=330, **small)
    once, again, other = (grow_cell(recipe, templates, seed) for seed in (1, 1, 2))
    assert np.array_equal(once.density_zyx, again.density_zyx)
    assert not np.array_equal(once.density_zyx, other.density_zyx)


def test_protein_is_dark_and_noise_grows_as_electrons_get_few(cell, series) -> None:
    volumes = {}
    for electrons in (1e6, 3.0, 0.03):
        images = series.counted(electrons, np.random.default_rng(0))
        volumes[electrons] = reconstruct(images, series.imaging, 48)
    solid = cell.density_zyx > 0.5
    clean = volumes[1e6]
    assert clean[solid].mean() < clean[~solid & cell.ice_zyx].mean()
    likeness = [np.corrcoef(clean.ravel(), volumes[e].ravel())[0, 1] for e in (3.0, 0.03)]
    assert likeness[0] > 3 * likeness[1] > 0


def test_ice_takes_electrons_most_where_it_is_tilted(series) -> None:
    passed = series.passed.mean(axis=(1, 2))
    middle = len(TILTS) // 2
    assert passed[0] < passed[middle] and passed[-1] < passed[middle]
    assert passed[middle] == pytest.approx(np.exp(-380 / 3100), abs=0.02)


def test_files_of_a_cell(templates, tmp_path) -> None:
    small = {"n_abundant": 3, "n_membrane": 0, "n_fillers": 0, "filled_fraction": 0.02}
    recipe = CellRecipe(
        ("barrel",),
        shape_zyx=(40, 48, 48),
        ice_angstrom=330,
        n_vesicles=0,
        n_actin=0,
        n_microtubules=0,
        sheet=False,
        **small,
    )
    paths = write_cell(tmp_path, "one", recipe, Imaging(TILTS), templates, 1, ["good", "raw"])
    assert [path.name for path in paths] == ["one_good.mrc", "one_raw.mrc"]
    for path in paths:
        with mrcfile.open(path) as handle:
            assert handle.data.shape == (40, 48, 48) and handle.data.dtype == np.int8
            assert handle.voxel_size.x == 10 and np.std(handle.data) == pytest.approx(25, abs=1)
    assert np.allclose(np.loadtxt(tmp_path / "one_raw.tlt"), TILTS)
    truth = read_truth(tmp_path / "truth_one.csv")
    assert not surroundings_of(tmp_path / "truth_one.csv")["one"].any()  # none was asked for
    grown = grow_cell(recipe, templates, 1).placed
    assert truth.kind.tolist() == [placed.kind for placed in grown]
    turns = rotation_from_euler_zyz_deg(truth.euler_zyz_deg)
    for i, placed in enumerate(grown):
        assert np.allclose(truth.center_zyx_px[i], placed.center_zyx_px, atol=1e-3)
        if placed.role != "gold":
            assert (turns[i] * placed.rotation.inv()).magnitude() < 1e-4


def test_the_radius_holds_nearly_all_mass() -> None:
    grid = np.indices((41, 41, 41)) - 20
    ball = (np.linalg.norm(grid, axis=0) <= 10).astype(float)
    assert mass_radius_px(ball) == pytest.approx(10, abs=0.15)


def test_a_shape_finds_the_one_place_that_is_free() -> None:
    cell = GrowingCell((9, 9, 9), 10.0, np.random.default_rng(0), 4)
    cell.blocked[:] = True
    cell.blocked[4 + 2 : 4 + 5, 4 + 3 : 4 + 6, 4 + 4 : 4 + 7] = False
    found = list(cell.free_places(np.ones((3, 3, 3), bool), 5000))
    assert found and all(np.array_equal(center, (3, 4, 5)) for center in found)


def test_bad_recipes_are_refused() -> None:
    with pytest.raises(InputError, match="does not fit"):
        CellRecipe(("barrel",), ice_angstrom=2000)
    with pytest.raises(InputError, match="fraction"):
        CellRecipe(("barrel",), filled_fraction=0.7)
    with pytest.raises(InputError, match="give it in Å"):
        Imaging(defocus_angstrom=3.0)
    with pytest.raises(InputError, match="no level"):
        write_cell("", "x", RECIPE, Imaging(), {}, 0, ["worst"])


def test_a_truth_that_lacks_a_column_is_refused(tmp_path) -> None:
    (tmp_path / "truth.csv").write_text("tomogram,x,y,z\na,1,2,3\n")
    with pytest.raises(InputError, match="lacks class"):
        read_truth(tmp_path / "truth.csv")


def test_rods_of_a_cell_turn_with_their_normal() -> None:
    for direction in Rotation.random(5, random_state=0).apply([0, 0, 1]):
        assert np.allclose(_along(direction).apply([0, 0, 1]), direction)
