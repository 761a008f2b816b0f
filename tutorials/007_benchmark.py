"""The benchmark, from Python: how right is the answer where the truth is known?

You learn to measure on simulated data, to read the table, and to measure your own changes. This is
a quick look: part of two cases, built-in phantoms. The figures of docs/benchmark.md are the full
size on density maps:

    aitom-disca bench --templates maps

where maps holds NAME.mrc or NAME.mrc.gz of the structures that docs/benchmark.md names; it takes
hours, and goes on where it was stopped. Phantoms are easier than molecules of one size: do not
compare their figures with those of docs/benchmark.md.

Run it as it is: python tutorials/007_benchmark.py
It takes about two minutes on 2 cores and writes into ./tutorial_007.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from aitom_disca import bench, progress

CASES = ("snr-0.1", "snr-0.03")
METHODS = ("ours", "start", "pca")


def main(
    out: Path = Path("tutorial_007"),
    fraction: float = 0.3,
    cases: tuple[str, ...] = CASES,
    methods: tuple[str, ...] = METHODS,
) -> None:
    # 1. What there is: cases (data), methods (ours, its first clustering alone, and others).
    print("cases:", ", ".join(bench.CASES))
    print("methods:", ", ".join(bench.METHODS))

    # 2. Measure. Each result is a file: a second call measures only what is missing. More seeds
    #    cost more time and say how far to trust the figures: one seed says little.
    results = bench.run_bench(
        out,
        bench.choose_cases(list(cases)),
        bench.choose_methods(list(methods)),
        seeds=[0],
        templates=bench.load_templates(None),
        options=bench.BenchOptions(fraction=fraction),
    )

    # 3. The table. ARI: 1 is a perfect match, 0 is chance. Homogeneity: are clusters pure?
    #    Completeness: is each structure in one cluster? K is chosen by each method itself.
    rows = bench.summarise(results)
    Console(width=150).print(bench.rich_table(rows))
    for line in bench.comparisons(results):
        print(line)
    bench.write_tables(out, results, rows)
    print(f"written: {out / 'bench.md'}, {out / 'bench.csv'}")
    draw(out / "007.png", results, cases, methods)


def draw(path, results, cases, methods) -> None:
    figure = Figure(figsize=(8.4, 3.4), dpi=110, layout="constrained")
    panels = figure.subplots(1, 2)
    place = np.arange(len(cases))
    for i, method in enumerate(methods):
        mine = [r for case in cases for r in results if (r["case"], r["method"]) == (case, method)]
        for axes, values in (
            (panels[0], [r["scores"]["ari"] for r in mine]),
            (panels[1], [r["seconds"] for r in mine]),
        ):
            bars = axes.bar(place + 0.27 * (i - 1), values, 0.25, label=bench.METHODS[method].title)
            axes.bar_label(bars, fmt="%.2f" if axes is panels[0] else "%.0f", fontsize=8)
    for axes, name in ((panels[0], "adjusted Rand index (1: perfect)"), (panels[1], "seconds")):
        titles = [
            f"{bench.CASES[case].title}\n({bench.CASES[case].k_true} structures)" for case in cases
        ]
        axes.set_xticks(place, titles)
        axes.set_ylabel(name)
        axes.margins(x=0.08, y=0.15)
    panels[0].set_title("how right", size=10)
    panels[1].set_title("how fast", size=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path)


if __name__ == "__main__":
    with progress.shown(Console()):
        main(*(Path(name) for name in sys.argv[1:2]))
