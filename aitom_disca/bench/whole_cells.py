"""Whole runs on simulated cells, two tomograms each: simulated, run, scored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aitom_disca.bench.accuracy import machine
from aitom_disca.bench.case_data import TemplateSet
from aitom_disca.bench.cell_scores import CellScore, score_cells
from aitom_disca.errors import InputError
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.progress import say
from aitom_disca.simulation import Template
from aitom_disca.simulation.cell import (
    LEVELS,
    CellRecipe,
    Imaging,
    read_truth,
    surroundings_of,
    write_cell,
)

ABUNDANT = ("4v4r", "2uv8", "4cr2", "3j9i", "1qvr", "3cf3")
MEMBRANE, FILLERS = "6rd4", ("1bxn", "1u6g", "3h84")
_ABUNDANT_PART = 0.6  # of templates by other names, the largest
_TILTS_DEG = (np.arange(-60.0, 61, 3), np.arange(-54.0, 58, 3))
_COUNTED_PART = (1.0, 0.85)
_DEFOCUS_ANGSTROM = (22_000.0, 36_000.0)

Row = dict[str, Any]


def measure_cells(
    out: str | Path,
    templates: TemplateSet,
    *,
    level: str = "good",
    seeds: Sequence[int] = (0,),
    options: Mapping[str, Any] | None = None,
    shape: Mapping[str, Any] | None = None,
    again: bool = False,
) -> list[Row]:
    """Simulate two tomograms for every seed, run the whole pipeline on them, and score it.

    Cells, runs and results are kept in ``out``: what is there and was made in the same way is not
    made again, and a run that was stopped goes on.

    Parameters
    ----------
    out : path
    templates : TemplateSet
    level : {"good", "mid", "raw"}
    seeds : sequence of int
    options : mapping, optional
        Options of ``aitom-disca run`` by their names.
    shape : mapping, optional
        Changes of `CellRecipe`.
    again : bool
        Run and score even what is there; the cells are kept.

    Returns
    -------
    list of dict
        Of every seed: ``seed``, ``level``, the fields of `CellScore`, with the correlation of each
        cluster's average, ``correlation``, and ``machine``.
    """
    recipe, maps = cell_recipe(templates, shape or {})
    done = []
    for seed in seeds:
        plan = {"seed": seed, "level": level, "source": templates.source}
        plan |= {"recipe": json.loads(json.dumps(asdict(recipe))), "options": dict(options or {})}
        result_file = Path(out) / f"cells_{level}_{seed}.json"
        kept = json.loads(result_file.read_text()) if result_file.is_file() else {}
        if again or any(kept.get(key) != value for key, value in plan.items()):
            kept = plan | _measure(Path(out), recipe, maps, plan, again or bool(kept))
            write_text(result_file, json.dumps(kept, indent=1) + "\n")
        done.append(kept)
    return done


def cell_recipe(
    templates: TemplateSet, shape: Mapping[str, Any]
) -> tuple[CellRecipe, dict[str, Template]]:
    """Roles of the templates: those of the ten known names, or by size where others are given."""
    by_name = templates.by_name
    if {*ABUNDANT, MEMBRANE, *FILLERS} <= {*by_name}:
        abundant, fillers = templates.take(ABUNDANT), templates.take(FILLERS)
        membrane = by_name[MEMBRANE].name
    else:
        ordered = sorted(by_name.values(), key=lambda t: -t.radius_angstrom)
        n = max(1, round(_ABUNDANT_PART * len(ordered)))
        abundant, fillers, membrane = ordered[:n], ordered[n:], None
    recipe = CellRecipe(
        **{
            "abundant": tuple(t.name for t in abundant),
            "fillers": tuple(t.name for t in fillers),
            "membrane": membrane,
            **shape,
        }
    )
    return recipe, {t.name: t for t in by_name.values()}


def cell_imagings(seed: int) -> list[Imaging]:
    """Two tomograms of different tilts, defocus and noise."""
    defocus = np.random.default_rng((seed, 3)).uniform(*_DEFOCUS_ANGSTROM, len(_TILTS_DEG))
    parts = zip(_TILTS_DEG, defocus.tolist(), _COUNTED_PART, strict=True)
    return [Imaging(tuple(t.tolist()), round(d), counted_part=part) for t, d, part in parts]


def score_with_averages(
    run: str | Path,
    truth_files: Sequence[str | Path],
    templates: Mapping[str, Template],
    imagings: Sequence[Imaging] = (),
) -> CellScore:
    """Score a run, compare its averages with the templates, if there are any, and draw it.

    The picture is ``cell.png`` in the folder of the run, as far as its tomograms are there.
    """
    from aitom_disca.bench.cell_averages import compare_with_templates
    from aitom_disca.bench.cell_picture import write_cell_picture

    around = [surroundings_of(path) for path in truth_files]
    surroundings = {name: volume for one in around for name, volume in one.items()}
    truth = read_truth(*truth_files)
    score = score_cells(truth, run, surroundings)
    compared = compare_with_templates(run, score.clusters, templates, imagings)
    for row in score.clusters:
        one = compared.get(row["cluster"])
        row["correlation"] = None if one is None else one.correlation
    try:
        say(f"picture written to {write_cell_picture(run, truth, score.clusters, compared)}")
    except (InputError, OSError, KeyError) as error:  # the figures are worth more than a picture
        say(f"no picture of the cell: {error}")
    return score


def summary_rows(score: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of a score but those by kind, as text."""
    picker, sorting = score["picker"], score["sorting"]
    rows = [
        ("picks", str(picker["picks"])),
        ("their recall, precision", f"{picker['recall']:.2f}, {picker['precision']:.2f}"),
        ("other picks hit", _counts(picker["wrong"])),
        ("K", str(sorting["K"])),
        ("ARI of particles", f"{sorting['ari']:.2f}"),
        ("ARI with junk as one class", f"{sorting['ari_with_junk']:.2f}"),
        ("purity, completeness", f"{sorting['purity']:.2f}, {sorting['completeness']:.2f}"),
        ("junk in clusters", f"{sorting['junk_in_clusters']:.1%}"),
    ]
    for row in score["clusters"]:
        known = row.get("correlation")
        fit = "" if known is None else f", average {known:.2f}"
        rows.append(
            (f"cluster {row['cluster']}", f"{row['members']}: {_counts(row['holds'])}{fit}")
        )
    for row in score["junk"]:
        part = f", {row['recall']:.0%} of all" if "recall" in row else ""
        rows.append((f"called {row['name']}", f"{row['places']}: {_counts(row['holds'])}{part}"))
    seconds = score["seconds"]
    stages = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    return [*rows, ("seconds", f"{sum(seconds.values()):.0f} ({stages})")]


def kind_rows(score: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures of every kind, as text."""
    correlation = {row["cluster"]: row.get("correlation") for row in score["clusters"]}
    holds = {row["cluster"]: row["kind"] for row in score["clusters"]}
    rows = []
    for row in score["kinds"]:
        fit = correlation.get(row["cluster"]) if holds.get(row["cluster"]) == row["kind"] else None
        rows.append(
            {
                "kind": row["kind"],
                "true": str(row["true"]),
                "picked": f"{row['pick_recall']:.2f}",
                "off centre (voxels)": ""
                if row["off_centre_px"] is None
                else f"{row['off_centre_px']:.1f}",
                "best cluster": str(row["cluster"] or "none"),
                "recall": f"{row['recall']:.2f}",
                "purity": f"{row['purity']:.2f}",
                "average": "" if fit is None else f"{fit:.2f}",
            }
        )
    return rows


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "none"


def _measure(
    out: Path, recipe: CellRecipe, maps: Mapping[str, Template], plan: Row, again: bool
) -> Row:
    level, seed = plan["level"], plan["seed"]
    cells, run = out / f"cells_{seed}", out / f"run_{level}_{seed}"
    imagings = cell_imagings(seed)
    names = [f"cell{seed}{letter}" for letter, _ in zip("ab", imagings, strict=True)]
    tomograms = [cells / f"{name}_{level}.mrc" for name in names]
    made = {"recipe": plan["recipe"], "source": plan["source"], "levels": LEVELS}
    made_file = cells / "made.json"
    same = made_file.is_file() and json.loads(made_file.read_text()) == made
    for stale in () if same else cells.glob("*.mrc"):
        stale.unlink()
    for number, (name, imaging, tomogram) in enumerate(
        zip(names, imagings, tomograms, strict=True)
    ):
        if not (same and tomogram.is_file()):
            say(f"simulating {tomogram.name}")
            write_cell(cells, name, recipe, imaging, maps, 10 * seed + number, [level])
    write_text(made_file, json.dumps(made, indent=1) + "\n")
    _run(tomograms, run, plan["options"], again)
    score = score_with_averages(run, [cells / f"truth_{n}.csv" for n in names], maps, imagings)
    return {**asdict(score), "machine": machine()}


def _run(tomograms: Sequence[Path], run: Path, options: Mapping[str, Any], again: bool) -> None:
    """The command as it is typed, in a process of its own."""
    told = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = ["run", *map(str, tomograms), "--out", str(run), "--dark-protein", *told]
    command.append("--overwrite" if again else "--resume")
    code = subprocess.run([sys.executable, "-m", "aitom_disca", *command]).returncode
    if code != 0:
        raise RuntimeError(f"aitom-disca {' '.join(command)} ended with code {code}")
