"""From picks of AITom's picker to clusters, and back to files that AITom reads.

You learn how AITom's lists and arrays become particles here: x, y, z order, dark minima, no units.
Look at the precision of the picks first, then at the table of clusters and planted structures.

Run it as it is: python tutorials/002_from_aitom_picks.py
It takes about a minute on 2 cores and writes into ./tutorial_002. AITom is used if it can be
imported; nothing needs it.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix

import aitom_disca
from aitom_disca import bridge, progress
from aitom_disca.colours import cluster_colour
from aitom_disca.io import write_volume
from aitom_disca.simulation import load_phantoms, match_picks, simulate_tomogram

VOXEL_ANGSTROM = 13.5
DIAMETER_ANGSTROM = 200
STRUCTURES = ("two_lobes", "ring", "chaperone")


def main(out: Path = Path("tutorial_002"), n_particles: int = 150) -> None:
    # 1. A tomogram as microscopes give it: protein is dark. AITom's script expects that too.
    phantoms = load_phantoms()
    simulated = simulate_tomogram(
        [phantoms[name] for name in STRUCTURES],
        n_particles,
        shape_zyx=(80, 220, 220),
        voxel_size_angstrom=VOXEL_ANGSTROM,
        snr=0.1,
        gap_px=4,
    )
    write_volume(out / "cell.mrc", -simulated.volume, VOXEL_ANGSTROM, tilt_range_deg=(-60, 60))

    # 2. AITom's picker. Its arrays are (x, y, z), ours (z, y, x): the transpose is all it takes.
    #    sigma = diameter / (2 sqrt 3). find_maxima=False looks for minima: dark particles.
    tomogram = aitom_disca.open_tomogram(out / "cell.mrc", dark_protein=True)
    peak__partition, do_filter, whose = aitom_functions()
    sigma_px = DIAMETER_ANGSTROM / VOXEL_ANGSTROM / (2 * np.sqrt(3))
    dark_xyz = -tomogram.read().T  # read() turns protein bright; AITom looks at the file as it is
    peaks = peak__partition(dark_xyz, s1=sigma_px, s2=1.1 * sigma_px, find_maxima=False)
    depths = np.array([-peak["val"] for peak in peaks])
    least = depths[depths > 0].min()
    level = least + 3 * (depths.max() - least) / 20  # its rule: level 3 of 20
    peaks = [peak for peak, depth in zip(peaks, depths, strict=True) if depth >= level]
    peaks = do_filter(peaks, 0.75 * DIAMETER_ANGSTROM / VOXEL_ANGSTROM)
    bridge.write_pickle(out / "peaks.pickle", peaks)
    xyz = [int(n) for n in peaks[0]["x"]]
    print(f"{len(peaks)} peaks by {whose} picker, such as x = {xyz}, val = {peaks[0]['val']:.3f}")

    # 3. Read them. A peak list has no voxel size and no name of its tomogram: say both. Nothing in
    #    a pickle is run here, so that one from elsewhere can do no harm.
    picks = bridge.read_particles(
        out / "peaks.pickle", tomogram_name="cell", voxel_size_angstrom=VOXEL_ANGSTROM
    )
    found = match_picks(picks.center_zyx_px, simulated.truth.center_zyx_px, tolerance_px=7)
    print(f"precision {found.precision:.2f}, recall {found.recall:.2f}")
    if found.precision < 0.5:
        print("precision this low means swapped axes or the wrong contrast: stop and look")

    # 4. Cut subtomograms. The store keeps them bright; a pickle in AITom's form is an export, and
    #    comes back as a store. Such a pickle says neither voxel size nor tilts nor contrast.
    summary = aitom_disca.extract_subtomograms(
        [tomogram], picks, out / "subtomograms.h5", overwrite=True
    )
    bridge.export_subvolumes(summary.path, out / "subvolumes.pickle")
    bridge.import_store(
        out / "subvolumes.pickle",
        out / "again.h5",
        voxel_size_angstrom=VOXEL_ANGSTROM,
        tilt_range_deg=(-60, 60),
        overwrite=True,
    )
    with (
        aitom_disca.open_store(summary.path) as store,
        aitom_disca.open_store(out / "again.h5") as again,
    ):
        particles = again.particles()
        same = np.abs(store.read() - again.read()).max()
        print(f"{len(again)} subvolumes of {summary.box_px} voxels; largest difference {same:.0e}")

    # 5. Sort them. K is chosen between 1 and 6.
    with aitom_disca.open_store(out / "again.h5") as store:
        disca = aitom_disca.DISCA(candidate_k=range(1, 7), seed=0).fit(store)
    pairs = match_picks(particles.center_zyx_px, simulated.truth.center_zyx_px, 7).pairs
    truth, labels = simulated.truth.cluster[pairs[:, 1]], disca.labels_[pairs[:, 0]]
    print(
        f"{disca.n_clusters_} clusters, ARI {adjusted_rand_score(truth, labels):.2f} (1: perfect)"
    )

    # 6. Back to AITom: a peak list for every cluster. 1 in file names is 0 in the labels.
    for k in range(disca.n_clusters_):
        members = particles.select(disca.labels_ == k)
        bridge.write_particles(out / f"cluster_{k + 1:02d}.pickle", members, kind="peaks")
    print(f"written: {out / 'cluster_01.pickle'} and so on")
    draw(out / "002.png", simulated.volume, particles, disca.labels_, truth, labels)


def aitom_functions():
    """AITom's extrema and its choice among close ones; ours give the same."""
    try:
        from aitom.pick.dog.particle_picking_dog__filter import do_filter
        from aitom.pick.dog.particle_picking_dog__util import peak__partition
    except Exception:  # absent, or too old for this NumPy
        return bridge.dog_peaks, bridge.filter_peaks, "our own"
    return peak__partition, do_filter, "AITom's"


def draw(path, volume, particles, labels, truth, found) -> None:
    figure = Figure(figsize=(8.4, 3.9), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    middle = volume.shape[0] // 2
    scale = VOXEL_ANGSTROM / 10
    left.imshow(
        -volume[middle - 4 : middle + 5].mean(0), cmap="gray", origin="lower",
        extent=(0, volume.shape[2] * scale, 0, volume.shape[1] * scale),
    )  # fmt: skip
    for center, label in zip(particles.center_zyx_px, labels, strict=True):
        if abs(center[0] - middle) < 8:
            colour = cluster_colour(label)
            left.plot(*center[:0:-1] * scale, "o", ms=13, mfc="none", mec=colour, mew=1.8)
    left.set(title="picks by cluster (grey: in none)", xlabel="x (nm)", ylabel="y (nm)")
    table = contingency_matrix(found, truth)
    right.imshow(table, cmap="Blues", aspect="auto", vmax=1.4 * table.max())
    for (row, column), count in np.ndenumerate(table):
        right.text(column, row, str(count), ha="center", va="center")
    names = [f"cluster {k + 1}" if k >= 0 else "none" for k in np.unique(found)]
    right.set_yticks(range(len(names)), names)
    right.set_xticks(range(len(STRUCTURES)), STRUCTURES)
    right.set_title("members, by planted structure")
    figure.savefig(path)


if __name__ == "__main__":
    with progress.shown(Console()):
        main(*(Path(name) for name in sys.argv[1:2]))
