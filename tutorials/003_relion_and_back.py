"""Pre-sort for RELION 5, and take its result back.

You learn what RELION needs from here (star files, cubes, missing wedges), how to read what it
refined, and how to prove that coordinates and angles survive the trip. RELION itself is not run:
the script writes a run_it025_data.star in its layout, with poses near the planted ones.

Run it as it is: python tutorials/003_relion_and_back.py
It takes about a minute on 2 cores and writes into ./tutorial_003, as if that were the folder of a
RELION project.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from scipy.spatial.transform import Rotation

import aitom_disca
from aitom_disca import progress
from aitom_disca.averaging import compare_with_map
from aitom_disca.averaging.average_at_poses import average_at_poses
from aitom_disca.geometry import euler_zyz_deg_from_rotation, rotation_from_euler_zyz_deg
from aitom_disca.io import write_volume
from aitom_disca.io.formats import Known, get_format, recognise
from aitom_disca.io.formats.relion.relion5 import write_optimisation_set, write_tomograms_star
from aitom_disca.io.formats.relion.star_blocks import read_blocks, write_blocks_text
from aitom_disca.io.formats.relion.subtomogram_images import export_subtomograms
from aitom_disca.io.formats.tomogram_infos import tomogram_infos
from aitom_disca.reembedding import PlacedAverage, embed_tomogram
from aitom_disca.simulation import load_phantoms, match_picks, simulate_tomogram

VOXEL_ANGSTROM = 13.5
BINNING = 4  # the tilt series has pixels of 3.375 A: RELION 5 wants to know
TILTS = (-60.0, 60.0)
TURN_DEG, SHIFT_ANGSTROM = 1.0, 2.0  # by which the "refined" poses miss the planted ones


def main(out: Path = Path("tutorial_003"), n_particles: int = 120) -> None:
    # 1. A tomogram with two structures, sorted as in 001.
    phantoms = load_phantoms()
    wanted = phantoms["two_lobes"]
    simulated = simulate_tomogram(
        [wanted, phantoms["ring"]],
        n_particles,
        shape_zyx=(72, 200, 200),
        voxel_size_angstrom=VOXEL_ANGSTROM,
        snr=0.1,
        gap_px=4,
        name="cell",
    )
    write_volume(out / "cell.mrc", simulated.volume, VOXEL_ANGSTROM, tilt_range_deg=TILTS)
    tomogram = aitom_disca.open_tomogram(out / "cell.mrc")
    settings = aitom_disca.PickSettings(particle_diameter_angstrom=200)
    picks = aitom_disca.pick_particles(tomogram, settings)
    aitom_disca.extract_subtomograms([tomogram], picks, out / "subtomograms.h5", overwrite=True)
    with aitom_disca.open_store(out / "subtomograms.h5") as store:
        disca = aitom_disca.DISCA(candidate_k=range(1, 6), seed=0).fit(store)
        particles = store.particles().with_clusters(disca.labels_, disca.posterior_)

        # 2. To RELION 5: cubes and missing wedges (rlnCtfImage) into a folder, and a star file
        #    whose rlnClassNumber is our cluster. Boxes must be even. Run relion_refine on one
        #    class at a time: that is what pre-sorting is for.
        export_subtomograms(
            store,
            out / "cubes",
            particles,
            out / "particles.star",
            to="relion5",
            known=Known(binning=BINNING),
        )
    #    RELION 5 counts from the tomogram's centre, so that it needs the tomograms' sizes too.
    info = Known(binning=BINNING).info("cell", particles)
    write_tomograms_star(out / "tomograms.star", [info])
    write_optimisation_set(out / "optimisation_set.star", "particles.star", "tomograms.star")
    star = read_blocks(out / "particles.star")
    print(f"{len(star['particles'])} particles in {disca.n_clusters_} classes for RELION 5")

    # 3. What RELION would give back for the class that holds most of the larger structure.
    pairs = match_picks(particles.center_zyx_px, simulated.truth.center_zyx_px, 7).pairs
    rows, true_rows = pairs[simulated.truth.cluster[pairs[:, 1]] == 0].T
    chosen = np.bincount(disca.labels_[rows][disca.labels_[rows] >= 0]).argmax()
    inside = disca.labels_[rows] == chosen
    rows, truth = rows[inside], simulated.truth.select(true_rows[inside])
    print(f"class {chosen + 1}: {len(rows)} members that were planted as {wanted.name}")
    refined = write_as_relion_does(out / "run_it025_data.star", star, rows, particles, truth)

    # 4. Read it. The layout is recognised; sizes come from tomograms.star.
    result = out / "run_it025_data.star"
    known = Known(tomograms=tomogram_infos([out / "tomograms.star"]))
    back = recognise(result).read(result, known)
    print(f"{result.name} is {get_format(recognise(result).name).title}")
    picked = particles.select(rows)
    for name, center, rotation in (
        ("the pick, before RELION", picked.center_zyx_px, None),
        ("what RELION was made to write", *refined),
        ("what was planted", truth.center_zyx_px, rotation_of(truth)),
    ):
        away = np.linalg.norm(back.center_zyx_px - center, axis=1) * VOXEL_ANGSTROM
        text = f"read back against {name}: {np.median(away):.4f} A"
        if rotation is not None:
            turned = np.rad2deg((rotation_of(back) * rotation.inv()).magnitude())
            text += f", {np.median(turned):.4f} degrees"
        print(text + " (median)")

    # 5. Use it: average at RELION's poses, without alignment, and put the average back. The boxes
    #    are cut again at the refined places; what is left is less than a voxel.
    aitom_disca.extract_subtomograms([tomogram], back, out / "refined.h5", overwrite=True)
    with aitom_disca.open_store(out / "refined.h5") as store:
        volumes, placed = store.read(), store.particles()
    at = find_rows(placed.center_zyx_px, back.center_zyx_px)
    shifts = placed.center_zyx_px - np.floor(placed.center_zyx_px + 0.5)
    average = average_at_poses(volumes, rotation_of(back)[at], shifts, TILTS)
    write_volume(out / "average.mrc", average, VOXEL_ANGSTROM)
    known_map = wanted.density(average.shape[0], VOXEL_ANGSTROM)
    compared = compare_with_map(
        average,
        known_map,
        voxel_size_angstrom=VOXEL_ANGSTROM,
        known_voxel_size_angstrom=VOXEL_ANGSTROM,
    )
    off = np.rad2deg(compared.rotation.magnitude())
    print(f"average and structure: correlation {compared.correlation:.3f}, turned by {off:.1f} deg")
    if off > 5:
        print("a turn here, or a mirror image, means a wrong angle convention: stop and look")
    back_info = known.tomograms["cell"]
    embed_tomogram(
        [PlacedAverage(1, average, VOXEL_ANGSTROM, back.center_zyx_px, back.euler_zyz_deg)],
        back_info,
        out / "density.mrc",
    )
    density = aitom_disca.open_tomogram(out / "density.mrc", tilt_range_deg=TILTS).read()
    draw(out / "003.png", average, known_map, density, simulated.clean)


def write_as_relion_does(path, star, rows, particles, truth):
    """Poses near the planted ones, as angles and origins; coordinates stay as they are.

    RELION never moves a coordinate: the particle lies at coordinate minus rlnOriginX/Y/ZAngst.
    """
    rng = np.random.default_rng(1)
    turns = Rotation.from_rotvec(np.deg2rad(TURN_DEG) * unit(rng.normal(size=(len(rows), 3))))
    moves = SHIFT_ANGSTROM / VOXEL_ANGSTROM * unit(rng.normal(size=(len(rows), 3)))
    center, rotation = truth.center_zyx_px + moves, turns * rotation_of(truth)
    table = star["particles"].iloc[rows].copy()
    cut = np.floor(particles.center_zyx_px[rows] + 0.5)  # the middle of each cube
    table[[f"rlnOrigin{a}Angst" for a in "ZYX"]] = (cut - center) * VOXEL_ANGSTROM
    table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]] = euler_zyz_deg_from_rotation(rotation)
    subtomogram = [f"rlnTomoSubtomogram{a}" for a in ("Rot", "Tilt", "Psi")]
    table[subtomogram] = 0.0  # RELION's pose is the product of both; here all is in the first
    table["rlnClassNumber"] = 1  # RELION numbers its own classes: ours is gone now
    table["rlnRandomSubset"] = 1 + np.arange(len(rows)) % 2
    table["rlnNrOfSignificantSamples"] = 1
    path.write_text(write_blocks_text({"optics": star["optics"], "particles": table}, 50001))
    return center, rotation


def rotation_of(particles):
    return rotation_from_euler_zyz_deg(particles.euler_zyz_deg)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def find_rows(some, among):
    """Row of ``among`` that every one of ``some`` is: extraction may leave particles out."""
    return np.array([np.linalg.norm(among - one, axis=1).argmin() for one in some])


def draw(path, average, known_map, density, clean) -> None:
    figure = Figure(figsize=(9.6, 5.2), dpi=110, layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.35))
    n, nm = average.shape[0], VOXEL_ANGSTROM / 10
    extent = (-n / 2 * nm, n / 2 * nm) * 2
    panels = top.subplots(1, 6)
    for row, (title, axis) in enumerate((("x–y", 0), ("x–z", 1), ("y–z", 2))):
        for column, volume in ((row, average), (row + 3, known_map)):
            plane = volume.take(n // 2, axis=axis)
            panels[column].imshow(plane, cmap="gray", origin="lower", extent=extent)
            panels[column].set_title(f"{'average' if column < 3 else 'planted'}, {title}", size=9)
            panels[column].tick_params(labelsize=7)
    panels[0].set_ylabel("nm", fontsize=8)
    middle = density.shape[0] // 2
    left, right = bottom.subplots(1, 2)
    size = (0, density.shape[2] * nm, 0, density.shape[1] * nm)
    slab = slice(middle - 6, middle + 7)
    for axes, volume, title in (
        (left, clean, "planted: both structures, no noise"),
        (right, density, "put back: averages of one class, at RELION's poses"),
    ):
        axes.imshow(volume[slab].max(0), cmap="gray", origin="lower", extent=size)
        axes.set_title(title, size=10)
        axes.set_xlabel("x (nm)")
    left.set_ylabel("y (nm)")
    figure.savefig(path)


if __name__ == "__main__":
    with progress.shown(Console()):
        main(*(Path(name) for name in sys.argv[1:2]))
