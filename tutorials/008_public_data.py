"""From public data: what to download, and the commands from there to RELION.

You learn in which order to go, and what to check before each next step. Without a tomogram the
script makes a small stand-in with the same conventions (dark protein, voxels of 13.48 A, no tilt
range in the header) and runs these very commands on it.

    python tutorials/008_public_data.py                         the stand-in, two minutes on 2 cores
    python tutorials/008_public_data.py OUT TS_026.mrc          yours; by size, minutes to hours

Data with complexes large enough to be found without templates (above about 500 kDa):

- CryoET Data Portal 10000 and 10001, https://cryoetdataportal.czscience.com/datasets/10000, and
  EMPIAR-10988: lamellae of S. pombe, imaged defocused and with a phase plate. Tomograms are there,
  voxels of 13.48 A; ribosomes and fatty acid synthase were annotated, which lets you check yours.
- CryoET Data Portal 10445: the CZII challenge; cell lysate with known complexes, 10.01 A.
- EMPIAR-10499: whole cells of M. pneumoniae, treated with chloramphenicol; 70S ribosomes. Tilt
  series: reconstruct them first, to voxels of 10 to 14 A.
- EMPIAR-10045: purified 80S ribosomes of S. cerevisiae. Aligned tilt series with their angles.

From the portal: pip install cryoet-data-portal, then

    from cryoet_data_portal import Client, Tomogram
    client = Client()
    for tomogram in Tomogram.find(client, [Tomogram.run.dataset_id == 10000]):
        print(tomogram.id, tomogram.run.name)
    Tomogram.get_by_id(client, ID).download_mrcfile()

From EMPIAR: the page of the entry, https://www.ebi.ac.uk/empiar/EMPIAR-10988/, lists the files.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from aitom_disca.cli import main as aitom_disca
from aitom_disca.colours import cluster_colour
from aitom_disca.io import (
    open_store,
    open_tomogram,
    read_labels_csv,
    read_picks_csv,
    write_volume,
)
from aitom_disca.simulation import load_phantoms, match_picks, simulate_tomogram

TILTS = ("-60", "60")  # what was measured: the header rarely says it, the .tlt or .mdoc file does


def main(
    out: Path = Path("tutorial_008"),
    tomogram: Path | None = None,
    diameter_angstrom: int = 200,
    n_particles: int = 120,
) -> None:
    planted = None
    if tomogram is None:
        tomogram, planted = stand_in(out, n_particles)

    # 1. What is it? Compare size, voxel size and tilt range with what you know: a wrong voxel size
    #    makes every diameter wrong.
    run("info", tomogram, "--tilt-range", *TILTS)

    # 2. Pick alone, until it is right; it takes seconds. Protein is dark here, as in most
    #    reconstructions. Too many picks on membranes or gold: raise --threshold, or give a --mask.
    common = ("--tilt-range", *TILTS, "--dark-protein")
    size = ("--particle-diameter-angstrom", diameter_angstrom)
    run("pick", tomogram, "--out", out / "picks.csv", *common, *size, "--overwrite")
    picks = read_picks_csv(out / "picks.csv")
    print(f"{len(picks)} picks")
    if planted is not None:
        found = match_picks(picks.center_zyx_px, planted.center_zyx_px, 7)
        print(f"planted: precision {found.precision:.2f}, recall {found.recall:.2f}")

    # 3. All of it, first on the best 2000 picks. --resume goes on after an interruption. Voxels
    #    below 8 A: add --working-voxel-size-angstrom 13.
    results = out / "results"
    run(
        "run", tomogram, "--out", results, *common, *size,
        "--max-picks", 2000, "--candidate-k", "1-8", "--overwrite",
    )  # fmt: skip

    # 4. Open results/report.html. Membrane and gold make clusters of their own: leave them out by
    #    what you see. averages.csv holds resolution and verdict of every average.
    print((results / "averages" / "averages.csv").read_text())

    # 5. To RELION 5, with what its star files count from: size and binning of the tomogram.
    run(
        "convert", results / "averages" / "particles.star", out / "relion5.star",
        "--to", "relion5", "--tomogram", tomogram, "--binning", 4, "--tilt-range", *TILTS,
        "--overwrite",
    )  # fmt: skip
    print(f"clusters as rlnClassNumber: {out / 'relion5.star'}")
    draw(out / "008.png", tomogram, results)


def run(*arguments) -> None:
    """A command, as you would type it; it ends the script if it fails."""
    words = [str(a) for a in arguments]
    print("\n$ aitom-disca", *words)
    code = aitom_disca(words)
    if code:
        raise SystemExit(code)


def stand_in(out, n_particles):
    """A tomogram as from the portal, and what was planted in it."""
    phantoms = load_phantoms()
    simulated = simulate_tomogram(
        [phantoms[name] for name in ("two_lobes", "barrel")],
        n_particles,
        shape_zyx=(72, 200, 200),
        voxel_size_angstrom=13.48,
        snr=0.1,
        gap_px=4,
    )
    write_volume(out / "stand_in.mrc", -simulated.volume, 13.48)
    return out / "stand_in.mrc", simulated.truth


def draw(path, tomogram, results) -> None:
    opened = open_tomogram(tomogram, tilt_range_deg=(-60, 60))
    depth, height, width = opened.shape_zyx
    middle, nm = depth // 2, opened.voxel_size_angstrom / 10
    slab = np.mean([opened.read((slice(z, z + 1),))[0] for z in range(middle - 4, middle + 5)], 0)
    maps = sorted((results / "averages").glob("cluster_*/filtered.mrc"))[:4]
    figure = Figure(figsize=(9.6, 4.3), dpi=110, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.2, 1))
    axes = left.subplots()
    low, high = np.percentile(slab, (0.5, 99.5))
    axes.imshow(
        slab, cmap="gray", vmin=low, vmax=high, origin="lower",
        extent=(0, width * nm, 0, height * nm),
    )  # fmt: skip
    labels, _ = read_labels_csv(results / "labels.csv")
    with open_store(results / "subtomograms.h5") as store:
        centers = store.particles().center_zyx_px
    for center, label in zip(centers, labels, strict=True):
        if abs(center[0] - middle) < 8:
            colour = cluster_colour(label)
            axes.plot(*center[:0:-1] * nm, "o", ms=12, mfc="none", mec=colour, mew=1.8)
    axes.set(title=f"{tomogram.name}: picks by cluster", xlabel="x (nm)", ylabel="y (nm)")
    panels = right.subplots(len(maps), 3, squeeze=False)
    for k, (row, file) in enumerate(zip(panels, maps, strict=True)):
        volume = open_tomogram(file, tilt_range_deg=(-90, 90)).read()  # a map has no wedge
        half = volume.shape[0] * nm / 2
        for axis, (axes, name) in enumerate(zip(row, ("x–y", "x–z", "y–z"), strict=True)):
            plane = volume.take(volume.shape[0] // 2, axis=axis)
            axes.imshow(plane, cmap="gray", origin="lower", extent=(-half, half) * 2)
            axes.set_title(f"cluster {k + 1}, {name}", size=9)
            axes.tick_params(labelsize=7)
        row[0].set_ylabel("nm", size=8)
    figure.savefig(path)


if __name__ == "__main__":
    main(*(Path(name) for name in sys.argv[1:3]))
