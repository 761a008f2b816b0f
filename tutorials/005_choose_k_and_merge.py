"""How many clusters? Read what a run says about it, merge by hand, refine, name.

You learn what the numbers mean: BIC of the features, p-value of the null test, held-out z, audit.
The trap: a good average with a small p-value does not prove that two clusters are two structures.

Run it as it is: python tutorials/005_choose_k_and_merge.py
It takes about two minutes on 2 cores and writes into ./tutorial_005.
"""

import json
import shutil
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score

import aitom_disca
from aitom_disca import progress
from aitom_disca.averaging import compare_with_map
from aitom_disca.clustering import estimate_k
from aitom_disca.config import AverageSettings, MineSettings
from aitom_disca.io import read_labels_csv, read_rows_csv, write_labels_csv
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.pipeline import average_store, mine, refine
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

STRUCTURES = ("two_lobes", "ring", "chaperone")
BOX_PX, VOXEL_ANGSTROM, TILTS = 20, 16.0, (-60.0, 60.0)
ALIKE = 0.9  # correlation from which two averages may be one; your data may want another


def main(out: Path = Path("tutorial_005"), per_class: int = 50, null_test: str = "noise") -> None:
    # 1. A store of three structures, and a run that chooses K between 1 and 8 itself.
    phantoms = load_phantoms()
    made = simulate_subtomograms(
        [phantoms[name] for name in STRUCTURES], per_class, BOX_PX, VOXEL_ANGSTROM, snr=0.1
    )
    store = out / "subtomograms.h5"
    nowhere = np.full((len(made.labels), 3), np.nan)  # there is no tomogram: no positions
    with StoreWriter.create(store, (BOX_PX,) * 3, VOXEL_ANGSTROM, TILTS, overwrite=True) as writer:
        names = np.full(len(made.labels), "simulated")
        writer.append(made.volumes, aitom_disca.ParticleSet(names, nowhere))
    settings = MineSettings(candidate_k=range(1, 9), seed=0)
    run = mine(store, out / "run", settings, overwrite=True)
    own, _ = read_labels_csv(run.labels)

    # 2. What it says about K. Features alone have a BIC for every K: the lowest is a guess, and a
    #    flat valley says that it is a weak one. In the preset fast it only starts the search: two
    #    clusters are merged when the members of both fit a joint average as well as their own.
    saved = np.load(run.clusters)
    history = json.loads(str(saved["history"]))
    first, last = history[0], history[-1]
    best = min(first["bic"].values())
    print("BIC above the lowest, by K:", {k: round(v - best) for k, v in first["bic"].items()})
    print(f"features alone: K = {first['k']}; after alignment: K = {last['k']}")
    embedding = saved["embedding"][:, :6]  # of the trained network
    by_criterion = {name: estimate_k(embedding, range(1, 9), criterion=name) for name in CRITERIA}
    print(f"of the trained features: {by_criterion} (criteria differ: none of them is a judge)")
    audit = run.record["stages"]["audit"]  # what else than structure tells clusters apart
    for said in audit["warnings"] + audit["notes"]:
        print("audit:", said)
    print(f"ARI with what was planted: {adjusted_rand_score(made.labels, own):.2f}")
    print(f"open {run.report} in a browser")

    # 3. Too many clusters, as another program may give them: each of ours cut in two.
    middle = [np.median(embedding[own == k, 0]) for k in range(own.max() + 1)]
    many = np.where(own < 0, -1, 2 * own + (embedding[:, 0] > np.take(middle, own)))
    write_labels_csv(out / "many.csv", many)
    averaged = average_store(store, out / "many", labels=out / "many.csv")

    # 4. Are two of them one? Lay their averages on one another, filtered to what they resolve:
    #    noise would make any two look different.
    numbers = [one.cluster for one in averaged]
    maps = [one.judged.filtered for one in averaged]
    alike = np.eye(len(maps))
    for i, j in combinations(range(len(maps)), 2):
        compared = compare_with_map(
            maps[i],
            maps[j],
            voxel_size_angstrom=VOXEL_ANGSTROM,
            known_voxel_size_angstrom=VOXEL_ANGSTROM,
        )
        alike[i, j] = alike[j, i] = compared.correlation

    print("correlation of averages:")
    print(alike.round(2))

    # 5. Merge by hand. Labels in memory count from 0 (-1: none), in labels.csv from 1 (0: none).
    #    Numbers must have no gaps; the largest cluster comes first.
    _, group = connected_components(alike > ALIKE)
    merged = np.full(len(many), -1)
    for k, g in zip(numbers, group, strict=True):
        merged[many == k] = g
    order = np.argsort(-np.bincount(merged[merged >= 0]), kind="stable")
    merged = np.where(merged < 0, -1, np.argsort(order)[merged])
    write_labels_csv(out / "merged.csv", merged)
    print(f"merged by hand: {merged.max() + 1} clusters of {np.bincount(merged[merged >= 0])}")

    # 6. Refine: members move to where they fit. held_out_z says, with Fourier coefficients that
    #    took no part in the sorting, whether a cluster differs from the one most like it: above 3
    #    it does.
    refined = refine(store, out / "merged.csv", out / "refined", settings, overwrite=True)
    labels, _ = read_labels_csv(refined.labels)
    for row in read_rows_csv(refined.refinement):
        print(
            f"cluster {row['cluster']}: {row['members']} members, of {row['came_from']}; "
            f"held-out z = {float(row['held_out_z']):.1f}"
        )
    before, after = (adjusted_rand_score(made.labels, x) for x in (many, labels))
    print(f"ARI {before:.2f} with {len(maps)} clusters, {after:.2f} merged and refined")

    # 7. Names. Clusters are numbers everywhere; a name is a file of your own. The p-value of
    #    the null test says how probable it is that noise fits the average of the other half as well
    #    as the members do. That does not make it another structure than its neighbour.
    for one in average_store(
        store,
        out / "refined" / "averages",
        AverageSettings(null_test=null_test),
        labels=refined.labels,
    ):
        name = name_of(one.judged.filtered, phantoms)
        folder = out / "refined" / "averages" / f"cluster_{one.cluster + 1:02d}"
        shutil.copy(folder / "average.mrc", out / f"{name}.mrc")
        verdict = f" ({one.judged.verdict})" if one.judged.verdict else ""
        print(f"cluster {one.cluster + 1} looks like {name}{verdict}: {out / f'{name}.mrc'}")
    draw(out / "005.png", first["bic"], first["k"], alike, maps, group)


CRITERIA = ("bic", "ch", "jump")


def name_of(average, phantoms) -> str:
    """The known structure that fits best; with your data, you look and decide."""
    scores = {}
    for name in STRUCTURES:
        compared = compare_with_map(
            average,
            phantoms[name].density(BOX_PX, VOXEL_ANGSTROM),
            voxel_size_angstrom=VOXEL_ANGSTROM,
            known_voxel_size_angstrom=VOXEL_ANGSTROM,
        )
        scores[name] = compared.correlation
    return max(scores, key=scores.get)


def draw(path, bic, chosen, alike, maps, group) -> None:
    figure = Figure(figsize=(9.6, 4.6), dpi=110, layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.6, 1))
    left, right = top.subplots(1, 2)
    left.plot([int(k) for k in bic], list(bic.values()), "o-")
    left.plot(int(chosen), bic[str(chosen)], "o", ms=12, mfc="none", mec="k")
    left.set_title("features alone: the lowest BIC is only a start", size=10)
    left.set(xlabel="number of clusters K", ylabel="BIC (lower is better)")
    picture = right.imshow(alike, cmap="viridis", vmin=0.4, vmax=1)
    for (i, j), value in np.ndenumerate(alike):
        right.text(
            j,
            i,
            f"{value:.2f}",
            ha="center",
            va="center",
            size=7,
            color="w" if value < 0.8 else "k",
        )
    right.set_xticks(range(len(alike)), range(1, len(alike) + 1))
    right.set_yticks(range(len(alike)), range(1, len(alike) + 1))
    right.set_title("correlation of the averages, too many clusters", size=10)
    right.set(xlabel="cluster", ylabel="cluster")
    figure.colorbar(picture, ax=right)
    half = BOX_PX * VOXEL_ANGSTROM / 20
    for k, axes in enumerate(bottom.subplots(1, len(maps))):
        plane = maps[k][BOX_PX // 2]
        axes.imshow(plane, cmap="gray", origin="lower", extent=(-half, half) * 2)
        axes.set_title(f"cluster {k + 1} → {group[k] + 1}", size=9)
        axes.tick_params(labelsize=7)
        axes.set_xlabel("nm", size=8)
    figure.savefig(path)


if __name__ == "__main__":
    with progress.shown(Console()):
        main(*(Path(name) for name in sys.argv[1:2]))
