"""All steps within so many minutes, each kept as it ends: stopped, they go on where they were."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aitom_disca.bench.accuracy import machine
from aitom_disca.bench.child_process import run_child
from aitom_disca.bench.device.published import least_and_all_seconds
from aitom_disca.io.disk.atomic import write_text
from aitom_disca.progress import say
from aitom_disca.version import __version__

RESULT = "device.json"
_STEP_MODULE = "aitom_disca.bench.device.step"
_BOXES_PX = (24, 32)
_PRECISIONS = ("float32", "mixed")
_CASES = ("snr-0.1", "snr-0.03")
_START_S = 15.0  # of a process: imports, the device
_FEWEST_S = 45.0  # that any step is let go on
_LONGEST = 1.5  # times what a step was given, after which it is ended


@dataclass(frozen=True)
class Step:
    """A measurement, and its share of the time, relative to the others'."""

    name: str
    kind: str
    share: float
    arguments: dict[str, Any]


def steps(templates: str | None, width: float, seed: int) -> list[Step]:
    """What is measured, in that order, after the device itself."""
    found = [Step("expectation", "expectation", 1.0, {"seed": seed})]
    found += [
        Step(
            f"network {box} {precision}",
            "network",
            0.75,
            {"box_px": box, "precision": precision, "width": width, "seed": seed},
        )
        for box in _BOXES_PX
        for precision in _PRECISIONS
    ]
    given = {"templates": templates, "width": width, "seed": seed}
    found += [Step(f"published {case}", "published", 3.0, {"case": case, **given})
              for case in _CASES]  # fmt: skip
    return [*found, Step("scale", "scale", 5.0, {"seed": seed})]


def measure_device(
    out: str | Path,
    *,
    minutes: float = 8.0,
    templates: str | Path | None = None,
    width: float = 1.0,
    seed: int = 0,
    again: bool = False,
) -> dict[str, Any]:
    """Measure on whatever device Keras' backend finds, within about so many minutes.

    In order: the device and its products of matrices; the expectation step; the network's
    features and training, in float32 and bfloat16; the published method at its own size; sorting
    and prediction of many subtomograms. What does not fit into the time is done in part and
    extrapolated, and the result says so. Steps that are in ``out`` already, of this device and
    these arguments, are not done again.

    Parameters
    ----------
    out : path
        Folder of ``device.json``.
    minutes : float
    templates : path, optional
        Folder of density maps for the published method; built-in phantoms, unless given.
    width : float
        Of the published network; 1 is its own.
    seed : int
    again : bool
        Measure even what is there.

    Returns
    -------
    dict
        ``device`` and ``steps``, a result by the name of each; ``error`` where one failed.
    """
    ends = time.monotonic() + 60 * minutes
    path = Path(out) / RESULT
    path.parent.mkdir(parents=True, exist_ok=True)
    device = run_child(_STEP_MODULE, step="device", seconds=0, arguments={})
    plan = {
        "backend": device["backend"],
        "device": device["device"],
        "version": __version__,
        "width": width,
        "seed": seed,
    }
    peak = device["peak_tflops"]
    say(f"{device['device']} ({device['backend']}): {peak['float32']:.2f} TFLOP/s in float32, "
        f"{peak['bfloat16']:.2f} in bfloat16")  # fmt: skip
    result: dict[str, Any] = {"plan": plan, "device": device, "machine": machine(), "steps": {}}
    if path.is_file() and not again:
        before = json.loads(path.read_text())
        if before.get("plan") == plan:
            result["steps"] = {
                name: one for name, one in before["steps"].items() if "error" not in one
            }
    todo = [
        step
        for step in steps(None if templates is None else str(templates), width, seed)
        if step.name not in result["steps"]
    ]
    for i, step in enumerate(todo):
        left = ends - time.monotonic()
        shares = {one.name: one.share for one in todo[i:] if _may_fit(one, left, result["steps"])}
        left = max(left - _START_S * len(shares), 0.0)
        seconds = left * shares.get(step.name, 0.0) / max(sum(shares.values()), 1e-9)
        result["steps"][step.name] = done = _do(step, seconds, device, result["steps"])
        write_text(path, json.dumps(result, indent=1) + "\n")
        for name, value in _rows(step.name, done, peak):
            say(f"{name}: {value}")
    return result


def _do(step: Step, seconds: float, device: dict[str, Any], before: dict[str, Any]) -> Any:
    arguments = dict(step.arguments)
    if step.kind == "expectation":
        arguments["device"] = "auto" if device["kind"] == "gpu" else "cpu"
        seconds /= 2 if device["kind"] == "gpu" else 1
    if step.kind == "network":
        arguments["kind"] = device["kind"]
    if step.kind == "published":
        fastest = _fastest(before)
        if fastest is None:
            return {"error": "not done, since no measurement of the network was"}
        if not _may_fit(step, seconds, before):
            return {"error": _too_long(fastest)}
        arguments |= fastest
    limit = _LONGEST * max(seconds, _FEWEST_S) + 2 * _START_S
    start = time.monotonic()
    try:
        found = run_child(
            _STEP_MODULE, timeout_s=limit, step=step.kind, seconds=seconds, arguments=arguments
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done: it had not ended after {limit:.0f} s"}
    except RuntimeError as error:
        return {"error": str(error)}
    return found | {"took_s": time.monotonic() - start}


def _may_fit(step: Step, seconds: float, before: dict[str, Any]) -> bool:
    """Whether the smallest part of a step can end in so many seconds, as far as is known."""
    fastest = _fastest(before) if step.kind == "published" else None
    if fastest is None:
        return True
    return least_and_all_seconds(*_speeds(fastest))[0] <= _LONGEST * max(seconds, _FEWEST_S)


def _too_long(fastest: dict[str, Any]) -> str:
    least_s, all_s = least_and_all_seconds(*_speeds(fastest))
    return (
        f"not done: at the speed of the network it would take {all_s / 3600:.1f} hours "
        f"(extrapolated), its smallest part {least_s / 60:.1f} minutes; ask for more --minutes"
    )


def _speeds(fastest: dict[str, Any]) -> tuple[float, float]:
    return fastest["features_per_s"], fastest["trained_per_s"]


def _fastest(before: dict[str, Any]) -> dict[str, Any] | None:
    """Speed of the network in the box of the cases, in the precision that trains fastest."""
    known = [
        one
        for name, one in before.items()
        if name.startswith(f"network {_BOXES_PX[0]}") and "error" not in one
    ]
    if not known:
        return None
    best = max(known, key=lambda one: one["steps_per_s"] * one["step_size"])
    return {
        "features_per_s": best["features_per_s"],
        "trained_per_s": best["steps_per_s"] * best["step_size"],
        "precision": best["precision"],
    }


def device_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of text for a table."""
    device, peak = result["device"], result["device"]["peak_tflops"]
    rows = [
        ("device", f"{device['device']}, {device['backend']} {device.get('version', '')}"),
        (
            "product of matrices",
            f"{peak['float32']:.2f} TFLOP/s in float32, {peak['bfloat16']:.2f} in bfloat16",
        ),
    ]
    for name, done in result["steps"].items():
        rows += _rows(name, done, peak)
    return rows


def _rows(name: str, done: dict[str, Any], peak: dict[str, float]) -> list[tuple[str, str]]:
    if "error" in done:
        return [(name, done["error"])]
    if name == "expectation":
        share = 100 * done["tflops"] / peak["float32"]
        return [
            (
                f"expectation, K = {done['n_clusters']}",
                f"{done['particles_per_s']:.0f} subtomograms a second ({share:.0f} % of the "
                f"product of matrices), {done['ratio']:.1f} times the processor's NumPy",
            )
        ]
    if name.startswith("network"):
        best = peak["bfloat16" if done["precision"] == "mixed" else "float32"]
        shares = [100 * done[f"{part}_tflops"] / best for part in ("features", "training")]
        return [
            (
                f"{name}, width {done['width']:g}",
                f"features {done['features_per_s']:.1f} a second ({shares[0]:.0f} %), training "
                f"{done['steps_per_s']:.2f} steps of {done['step_size']} a second "
                f"({shares[1]:.0f} %)",
            )
        ]
    if name.startswith("published"):
        part = "" if done["n"] == done["n_published"] else f" of {done['n_published']}"
        return [
            (
                f"preset paper, {done['case']}",
                f"{done['n']}{part} subtomograms, {done['iterations']} iterations in "
                f"{done['seconds']:.0f} s: ARI {done['ari']:.3f}, homogeneity "
                f"{done['homogeneity']:.3f}, completeness {done['completeness']:.3f}, K "
                f"{', '.join(map(str, done['k_by_iteration']))}",
            )
        ]
    n_sorted, n_predicted = done["n_wanted"]
    return [
        _of_all("sorting", done["n_sorted"], done["sorting_s"], n_sorted, done["sorting_all_s"]),
        _of_all(
            "prediction",
            done["n_predicted"],
            done["prediction_s"],
            n_predicted,
            done["prediction_all_s"],
        ),
    ]


def _of_all(name: str, n: int, seconds: float, wanted: int, all_s: float) -> tuple[str, str]:
    text = f"{n} of {_BOXES_PX[1]} voxels in {seconds:.0f} s"
    if n < wanted:
        text += f"; {wanted} would take {all_s / 60:.0f} minutes (extrapolated)"
    return name, text
