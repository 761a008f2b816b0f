"""What the report says against a run, and what it checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aitom_disca.errors import InputError
from aitom_disca.io import Tomogram
from aitom_disca.number_text import counted
from aitom_disca.report.cards_of_run import by_cluster, sorting_of
from aitom_disca.runs.run_folder import RunFolder

_MOST_CHECKED = 3  # tomograms: the first, the middle and the last


@dataclass(frozen=True)
class Looked:
    """Something that was looked at.

    Parameters
    ----------
    name : str
    well : bool
    found : str
        A sentence.
    serious : bool
        Whether nothing is worth much if it is not well.
    """

    name: str
    well: bool
    found: str
    serious: bool = False


def checks_of_tomograms(tomograms: Sequence[Tomogram], diameter_angstrom: float) -> list[Looked]:
    """Whether polarity and tilt range are what the first, middle and last tomogram show."""
    from aitom_disca.doctor.measured_wedge import check_wedge
    from aitom_disca.doctor.polarity import check_polarity

    looked = []
    few = np.unique(np.linspace(0, max(len(tomograms) - 1, 0), _MOST_CHECKED).astype(int))
    for tomogram in [tomograms[i] for i in few if tomograms]:
        try:
            checks = check_polarity(tomogram, diameter_angstrom), check_wedge(tomogram)
        except (InputError, OSError):  # what cannot be read is said where it is drawn
            continue
        for check in checks:
            name = f"{check.name[0].upper()}{check.name[1:]} of {tomogram.name}"
            found = f"{check.found}; {check.remedy}" if check.remedy else check.found
            found = re.sub(r"(?<=\d) A\b", " Å", found)
            if check.state == "ok":
                found = f"as it was taken to be ({found})"
            well, sure = check.state == "ok", "too few blobs" not in check.found
            looked.append(Looked(name, well, f"{found}.", serious=not well and sure))
    return looked


def problems_of_run(folder: RunFolder, history: Sequence[dict[str, Any]]) -> list[str]:
    """What went wrong with the run as a whole, in sentences."""
    stages = folder.record["stages"]
    found = [f"Iteration {r['iteration']}: {r['event']}." for r in history if r.get("event")]
    if not sorting_of(stages)["converged"]:
        found.append(
            "The clusters still changed when the sorting ended: it came to its largest number of "
            "rounds, not to rest."
        )
    return found


def nuisance_of_run(folder: RunFolder) -> Looked | None:
    """What the audit says of all clusters, those that it warns of named; None without an audit."""
    stage = folder.record["stages"].get("audit")
    if stage is None:
        return None
    name = "What else could explain the clusters"
    warnings = by_cluster(stage.get("warnings", ()))
    general = warnings.pop(0, [])
    if warnings:
        few = ", ".join(map(str, sorted(warnings)))
        of = "the card of cluster" if len(warnings) == 1 else "the cards of clusters"
        general.insert(0, f"There are warnings on {of} {few}.")
    if not general:
        return Looked(name, True, "nothing that was measured does, beside their structure.")
    return Looked(name, False, " ".join(general))


def remarks_of_run(folder: RunFolder) -> list[str]:
    """What a reader should know of the run besides, in sentences."""
    stages = folder.record["stages"]
    found = []
    dropped = stages.get("extract", {}).get("n_dropped_border", 0)
    if dropped:
        were = counted(dropped, "pick was", "picks were")
        found.append(f"{were} too near to a face of the tomogram for a whole box.")
    if folder.curation.exists():
        found.append(
            "A person decided about the clusters since they were sorted (curation.json): numbers, "
            "names and sizes are those after it; the audit is of the clusters as they were sorted."
        )
    return found
