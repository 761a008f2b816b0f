"""Train on one tomogram, predict on the next, and notice what is new in it.

You learn to use a saved model: by alignment to its averages or by its network, and what the
outlier score is worth. The second tomogram holds a structure that the first did not.

Run it as it is: python tutorials/006_predict_a_new_tomogram.py
It takes about two minutes on 2 cores and writes into ./tutorial_006.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import aitom_disca
from aitom_disca import progress
from aitom_disca.colours import cluster_colour
from aitom_disca.io import write_volume
from aitom_disca.simulation import load_phantoms, match_picks, simulate_tomogram

VOXEL_ANGSTROM, TILTS = 13.5, (-60.0, 60.0)
KNOWN = ("two_lobes", "ring", "chaperone")
NEW = "cross"


def main(out: Path = Path("tutorial_006"), n_particles: int = 120) -> None:
    # 1. Sort the first tomogram, and keep the model: network, clusters and averages in one file.
    first, _ = prepare(out, "first", KNOWN, n_particles, seed=0)
    with aitom_disca.open_store(first) as store:
        disca = aitom_disca.DISCA(candidate_k=range(1, 7), seed=0).fit(store)
    disca.save(out / "model.h5")
    print(f"first tomogram: {disca.n_clusters_} clusters")

    # 2. A second one, picked and cut in the same way: box and voxel size must be those of the
    #    model, or it refuses. The diameter decides the box: give the same one.
    second, truth = prepare(out, "second", (*KNOWN[:2], NEW), n_particles, seed=1)

    # 3. Predict. Alignment to the averages tells apart what the network cannot, and takes longer.
    #    -1 is "none of them": like noise, or farther out than 99 % of the cluster's own members.
    model = aitom_disca.DISCA.load(out / "model.h5")
    answers = {}
    with aitom_disca.open_store(second) as store:
        for by in ("alignment", "network"):
            answers[by] = model.predict_all(store, by=by)
            print(f"\nby {by}: rows are planted, columns clusters 1 to {model.n_clusters_}, none")
            for name in (*KNOWN[:2], NEW):
                labels = answers[by].labels[truth == name]
                counts = np.bincount(labels[labels >= 0], minlength=model.n_clusters_)
                print(f"  {name:10s} {counts} {int((labels < 0).sum())}")

    # 4. What is new? The outlier score is the share of a cluster's own members that lie less far
    #    out. It finds noise reliably, and a new structure only as far as the network sees it
    #    differ: many high scores say that something is new, few do not say that nothing is.
    prediction = answers["alignment"]
    print("\noutlier score, quartiles:")
    for name in (*KNOWN[:2], NEW):
        low, middle, high = np.percentile(prediction.outlier_score[truth == name], (25, 50, 75))
        print(f"  {name:10s} {low:.2f} {middle:.2f} {high:.2f}")
    far = prediction.outlier_score > 0.9
    expected = 0.1 * len(far)
    print(f"{int(far.sum())} of {len(far)} lie above 0.9; {expected:.0f} would if nothing were new")

    # 5. Another sign: alignment and network, which see different things, contradict each other.
    apart = answers["alignment"].labels != answers["network"].labels
    print("share of subtomograms on which they contradict each other:")
    for name in (*KNOWN[:2], NEW):
        print(f"  {name:10s} {apart[truth == name].mean():.2f}")

    # 6. To be sure, sort the second tomogram by itself: prediction cannot make new clusters.
    with aitom_disca.open_store(second) as store:
        anew = aitom_disca.DISCA(candidate_k=range(1, 7), seed=0).fit(store)
    shares = [np.mean(truth[anew.labels_ == k] == NEW) for k in range(anew.n_clusters_)]
    print(f"sorted anew: {anew.n_clusters_} clusters; share of {NEW} in each:", np.round(shares, 2))
    draw(out / "006.png", answers, anew.labels_, truth)


def prepare(out, name, structures, n_particles, seed):
    """A tomogram, picked and cut; the store, and what was planted at each of its rows."""
    phantoms = load_phantoms()
    simulated = simulate_tomogram(
        [phantoms[s] for s in structures],
        n_particles,
        shape_zyx=(72, 200, 200),
        voxel_size_angstrom=VOXEL_ANGSTROM,
        snr=0.1,
        gap_px=4,
        seed=seed,
        name=name,
    )
    write_volume(out / f"{name}.mrc", simulated.volume, VOXEL_ANGSTROM, tilt_range_deg=TILTS)
    tomogram = aitom_disca.open_tomogram(out / f"{name}.mrc")
    settings = aitom_disca.PickSettings(particle_diameter_angstrom=200)
    picks = aitom_disca.pick_particles(tomogram, settings)
    store = out / f"{name}.h5"
    aitom_disca.extract_subtomograms([tomogram], picks, store, overwrite=True)
    with aitom_disca.open_store(store) as opened:
        centers = opened.particles().center_zyx_px
    truth = np.full(len(centers), "nothing", object)
    pairs = match_picks(centers, simulated.truth.center_zyx_px, 7).pairs
    truth[pairs[:, 0]] = np.array(structures)[simulated.truth.cluster[pairs[:, 1]]]
    return store, truth


def draw(path, answers, anew, truth) -> None:
    figure = Figure(figsize=(10.4, 3.4), dpi=110, layout="constrained")
    panels = figure.subplots(1, 4)
    names = (*KNOWN[:2], NEW)
    sortings = {f"predicted by {by}": answer.labels for by, answer in answers.items()}
    for axes, (title, labels) in zip(
        panels, {**sortings, "sorted anew (numbers of its own)": anew}.items(), strict=False
    ):
        bottom = np.zeros(len(names))
        for label in (*range(max(labels.max(), 2) + 1), -1):
            counts = [int((labels[truth == name] == label).sum()) for name in names]
            text = f"cluster {label + 1}" if label >= 0 else "none"
            axes.bar(names, counts, bottom=bottom, color=cluster_colour(label), label=text)
            bottom += counts
        axes.set_title(title, size=10)
        axes.tick_params(axis="x", labelsize=8)
        axes.margins(y=0.1)
    panels[0].set_ylabel("subtomograms, by what was planted")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=5, fontsize=8
    )
    for name, style in zip(names, ("-", "--", "-"), strict=True):
        score = np.sort(answers["alignment"].outlier_score[truth == name])
        share = np.arange(1, len(score) + 1) / len(score)
        panels[3].plot(score, share, style, label=name, lw=2.4 if name == NEW else 1.4)
    panels[3].plot((0, 1), (0, 1), ":", color="0.5", label="as members")
    panels[3].legend(fontsize=7)
    panels[3].set_title("is it new?", size=10)
    panels[3].set(xlabel="outlier score", ylabel="share at or below")
    figure.savefig(path)


if __name__ == "__main__":
    with progress.shown(Console()):
        main(*(Path(name) for name in sys.argv[1:2]))
