"""Average one cluster with Gum-Net's help, and without: which is better?

You learn to train the network, to ask it for poses, and to judge averages by a structure that is
known. The honest answer on a CPU: the search (aligner fft) is better and faster. The data here are
clean (SNR 2), since at SNR 0.1 a network trained for minutes learns how noise was turned, and its
poses are chance. Bring trained weights, or a graphics card and time, before you expect more.

Run it as it is: python tutorials/004_gumnet_averaging.py
It takes about three minutes on 2 cores and writes into ./tutorial_004.
"""

import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from aitom_disca import progress
from aitom_disca.alignment.to_reference import align_to_reference
from aitom_disca.averaging import average_cluster, compare_with_map
from aitom_disca.averaging.average_at_poses import average_at_poses
from aitom_disca.io import write_volume
from aitom_disca.network.gumnet import predict_poses, save_gumnet, train_gumnet
from aitom_disca.simulation import load_phantoms, simulate_subtomograms

BOX_PX, VOXEL_ANGSTROM, TILTS = 24, 16.0, (-60.0, 60.0)


def main(
    out: Path = Path("tutorial_004"), n_members: int = 80, epochs: int = 40, starts: int = 24
) -> None:
    # 1. One cluster: copies of one structure. Yours comes from a store and its labels.csv:
    #    aitom-disca train-gumnet subtomograms.h5 --labels results/labels.csv --out gum.keras
    phantom = load_phantoms()["letter_l"]
    made = simulate_subtomograms([phantom], n_members, BOX_PX, VOXEL_ANGSTROM, snr=2.0, seed=1)
    known_map = phantom.density(BOX_PX, VOXEL_ANGSTROM)

    # 2. Train. The network sees each member twice, turned by known motions, and learns to say the
    #    motion. A twentieth of the published width is bearable on a CPU.
    began = time.perf_counter()
    model = train_gumnet(made.volumes, TILTS, width=0.05, epochs=epochs, batch_size=8, seed=0)
    save_gumnet(model, out / "gum.keras")
    print(f"trained in {time.perf_counter() - began:.0f} s")

    # 3. Does it know poses? Ask for those in the known structure. Chance would give 126 degrees.
    #    Each member is tried in the 24 rotations of the cube: the network answers near motions
    #    well, and far ones badly.
    began = time.perf_counter()
    rotations, shifts = predict_poses(model, made.volumes, known_map, TILTS, starts=starts)
    by_network = time.perf_counter() - began
    network_error = error_deg(rotations, made)
    began = time.perf_counter()
    searched = align_to_reference(made.volumes, known_map, TILTS)
    by_search = time.perf_counter() - began
    search_error = error_deg(searched.rotations, made)
    print("error of poses in the known structure: median, and share below 30 degrees")
    for name, error, seconds in (
        ("network", network_error, by_network),
        ("search", search_error, by_search),
    ):
        print(f"  {name:8s} {np.median(error):6.1f}  {np.mean(error < 30):.2f}  in {seconds:.0f} s")

    # 4. Averages. fft and gumnet+fft begin with nothing; gumnet+fft takes the network's pose where
    #    it fits the average better, so that it is never much worse. It has one flaw: the network
    #    was trained on both halves, so that the halves are no longer independent and their FSC
    #    says too much. The network alone was given the true structure here: it had help.
    averages = {"gumnet alone": average_at_poses(made.volumes, rotations, shifts, TILTS)}
    for name, network in (
        ("fft", None),
        ("gumnet+fft", lambda v, target: predict_poses(model, v, target, TILTS, starts=starts)),
    ):
        began = time.perf_counter()
        averages[name] = average_cluster(made.volumes, TILTS, network=network, seed=0).average
        print(f"{name}: averaged in {time.perf_counter() - began:.0f} s")

    # 5. Compare with the structure. An average has a frame of its own: it is laid on the known map
    #    first. Correlation: 1 is the same. FSC 0.5: smaller is finer.
    scores = {}
    for name, average in averages.items():
        write_volume(
            out / f"{name.replace('+', '_').replace(' ', '_')}.mrc", average, VOXEL_ANGSTROM
        )
        compared = compare_with_map(
            known_map,
            average,
            voxel_size_angstrom=VOXEL_ANGSTROM,
            known_voxel_size_angstrom=VOXEL_ANGSTROM,
        )
        scores[name] = compared
        finest = compared.curve.resolution_angstrom(0.5)
        print(f"{name:13s} correlation {compared.correlation:.3f}, FSC 0.5 at {finest:.0f} A")
    draw(out / "004.png", network_error, search_error, known_map, scores)


def error_deg(rotations, made):
    return np.rad2deg((rotations * made.rotations.inv()).magnitude())


def draw(path, network_error, search_error, known_map, scores) -> None:
    figure = Figure(figsize=(9.6, 3.3), dpi=110, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.5))
    axes = left.subplots()
    bins = np.arange(0, 181, 12)
    axes.hist(network_error, bins, label="network", alpha=0.8)
    axes.hist(search_error, bins, label="search", alpha=0.8)
    axes.set_title("poses in the known structure", size=10)
    axes.set(xlabel="error (degrees)", ylabel="members")
    axes.legend()
    shown = {"planted": known_map} | {name: score.aligned for name, score in scores.items()}
    half = BOX_PX * VOXEL_ANGSTROM / 20
    panels = right.subplots(2, len(shown))
    for column, (name, volume) in enumerate(shown.items()):
        for row, axis in enumerate((0, 1)):
            axes = panels[row, column]
            plane = volume.take(BOX_PX // 2, axis=axis)
            axes.imshow(plane, cmap="gray", origin="lower", extent=(-half, half) * 2)
            axes.tick_params(labelsize=6)
        score = f"\n{scores[name].correlation:.3f}" if name in scores else "\ncorrelation:"
        panels[0, column].set_title(name + score, size=9)
    panels[0, 0].set_ylabel("x–y (nm)", size=8)
    panels[1, 0].set_ylabel("x–z (nm)", size=8)
    figure.savefig(path)


if __name__ == "__main__":
    with progress.shown(Console()):
        main(*(Path(name) for name in sys.argv[1:2]))
