"""Alignment, averages and refinement on simulated subtomograms: how right and how fast."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from sklearn.metrics import adjusted_rand_score

from aitom_disca.bench.accuracy import machine
from aitom_disca.bench.case_data import TemplateSet, simulate_case
from aitom_disca.bench.cases import CASES
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.progress import say

Row = dict[str, Any]
STRUCTURES, SNRS = ("4v4r", "1qvr"), (0.1, 0.03)
REFINE_SNRS = (0.1, 0.05, 0.03)
_BOX_PX, _VOXEL_ANGSTROM, _TILT_RANGE_DEG, _SHIFT_PX = 32, 10.0, (-60.0, 60.0), 2.0
_PLAIN_STEP_DEG, _PLAIN_VOLUMES, _PLAIN_RADIUS = 20.0, 10, 10.0
_FIRST_STEP_DEG = 7.5
_NEW_SEED = 1000  # added to the seed of subtomograms that are predicted


def measure_alignment(
    out: str | Path, templates: TemplateSet, *, n: int = 200, seed: int = 0
) -> list[Row]:
    """Poses of n copies against the true template, beside a plain exhaustive search.

    The plain search is run on ten of them with a grid of 20 degrees. Its seconds at 7.5 degrees
    are those times 19, the ratio of the rotations.
    """
    from aitom_disca.alignment.search_grids import rotation_grid
    from aitom_disca.alignment.to_reference import align_to_reference, n_rotations
    from aitom_disca.bench.plain_alignment import align_plainly

    rows = []
    grid = rotation_grid(n_rotations(_PLAIN_STEP_DEG))
    for name, snr, made, truth in _one_class(templates, n, seed):
        start = time.perf_counter()
        found = align_to_reference(
            made.volumes, truth, _TILT_RANGE_DEG, first_step_deg=_FIRST_STEP_DEG
        )
        seconds = (time.perf_counter() - start) / n
        say(f"{name}, SNR {snr:g}: now the plain search")
        start = time.perf_counter()
        few = made.volumes[:_PLAIN_VOLUMES]
        plain = align_plainly(
            few, truth, _TILT_RANGE_DEG, grid, largest_shift_px=4, radius=_PLAIN_RADIUS
        )
        plain_seconds = (time.perf_counter() - start) / len(few)
        plain_seconds *= n_rotations(_FIRST_STEP_DEG) / len(grid)
        rows.append(
            {"structure": name, "snr": snr, "n": n}
            | _errors("", found.rotations, made.rotations)
            | {"per_minute": 60 / seconds}
            | _errors("plain_", plain.rotations, made.rotations[: len(few)])
            | _errors("same_", found.rotations[: len(few)], made.rotations[: len(few)])
            | {"plain_per_minute": 60 / plain_seconds, "ratio": plain_seconds / seconds}
        )
    return kept(out, "alignment", rows)


def measure_averages(
    out: str | Path, templates: TemplateSet, *, n: int = 200, seed: int = 0
) -> list[Row]:
    """Averages of n copies of one structure, without a reference, beside the true template."""
    from aitom_disca.averaging.validation import KnownMap, judged_average
    from aitom_disca.config import AverageSettings

    rows = []
    for name, snr, made, truth in _one_class(templates, n, seed):
        start = time.perf_counter()
        known = {name: KnownMap(truth, _VOXEL_ANGSTROM)}
        settings = AverageSettings(seed=seed)
        done = judged_average(made.volumes, _TILT_RANGE_DEG, _VOXEL_ANGSTROM, settings, known=known)
        seconds = time.perf_counter() - start
        compared = done.compared[name]
        turned = done.found.rotations * compared.rotation
        rows.append(
            {"structure": name, "snr": snr, "n": n}
            | _errors("", turned, made.rotations)
            | {
                "correlation": compared.correlation,
                "resolution_0.143_angstrom": done.resolution_angstrom,
                "with_template_0.5_angstrom": compared.curve.resolution_angstrom(0.5),
                "seconds": seconds,
            }
        )
    return kept(out, "averages", rows)


def measure_refinement(
    out: str | Path, templates: TemplateSet, *, seeds: Sequence[int] = (0,)
) -> list[Row]:
    """Five structures of one size: labels of mining, and what refining makes of them.

    Once from the labels of the preset fast, once from those of the network alone. The model of
    either sorts as many new subtomograms before and after it was taught the refined labels.
    """
    from aitom_disca.classification import AlignmentSorter
    from aitom_disca.mining import DISCA

    rows = []
    network: Row = {"alignment": False, "max_iterations": 2}
    for snr in REFINE_SNRS:
        case = replace(CASES["one-size"], snr=snr)
        for seed in seeds:
            made = simulate_case(case, templates, seed)
            new = simulate_case(case, templates, seed + _NEW_SEED)
            ways: list[tuple[str, Row]] = [("fast", {}), ("network alone", network)]
            for start_from, settings in ways:
                begin = time.perf_counter()
                disca = DISCA(seed=seed, **settings).fit(made.volumes)
                before, mined = disca.labels_, time.perf_counter()
                sorter = AlignmentSorter(made.volumes, case.tilt_range_deg, seed=seed)
                after = sorter.refine(before, most=max(case.candidate_k), splits=3)
                refined = time.perf_counter()
                taught = DISCA(seed=seed).teach(made.volumes, after)
                rows.append(
                    {
                        "snr": snr,
                        "seed": seed,
                        "from": start_from,
                        "ari_before": adjusted_rand_score(made.labels, before),
                        "k_before": int(before.max()) + 1,
                        "ari": adjusted_rand_score(made.labels, after),
                        "k": int(after.max()) + 1,
                        "mine_seconds": mined - begin,
                        "seconds": refined - mined,
                        "new_ari_before": adjusted_rand_score(
                            new.labels, disca.predict_all(new.volumes, by="network").labels
                        ),
                        "new_ari_taught": adjusted_rand_score(
                            new.labels, taught.predict_all(new.volumes, by="network").labels
                        ),
                        "least_held_out_z": min(verdict.z for verdict in sorter.held_out()),
                    }
                )
                say(json.dumps(rows[-1]))
    return kept(out, "refinement", rows)


def structure_rows(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Rows as text, numbers with few digits."""
    return [
        {n: f"{v:.3g}" if isinstance(v, float) else str(v) for n, v in row.items()} for row in rows
    ]


def _one_class(templates: TemplateSet, n: int, seed: int) -> Iterator[tuple[str, float, Any, Any]]:
    from aitom_disca.simulation import simulate_subtomograms

    for name in STRUCTURES:
        (template,) = templates.take([name])
        for snr in SNRS:
            made = simulate_subtomograms(
                [template], n, _BOX_PX, _VOXEL_ANGSTROM, snr, _TILT_RANGE_DEG, _SHIFT_PX, seed=seed
            )
            yield name, snr, made, template.density(_BOX_PX, _VOXEL_ANGSTROM)


def _errors(prefix: str, found: Rotation, truth: Rotation) -> Row:
    error_deg = np.rad2deg((found * truth.inv()).magnitude())
    return {
        f"{prefix}median_error_deg": float(np.median(error_deg)),
        f"{prefix}error_90_deg": float(np.quantile(error_deg, 0.9)),
    }


def kept(out: str | Path, name: str, rows: list[Row]) -> list[Row]:
    """Rows written into ``NAME.json``, with the machine that they were measured on."""
    text = json.dumps({"machine": machine(), "rows": rows}, indent=1)
    write_text(Path(out) / f"{name}.json", text + "\n")
    return rows
