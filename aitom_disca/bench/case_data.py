"""The data of a case: simulated from density maps, or from the built-in phantoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aitom_disca.bench.cases import TEN, Case
from aitom_disca.errors import InputError
from aitom_disca.simulation import (
    SimulatedSubtomograms,
    Template,
    load_phantoms,
    read_template,
    simulate_subtomograms,
)

_ENDINGS = (".mrc", ".mrc.gz", ".map", ".map.gz")


@dataclass(frozen=True)
class TemplateSet:
    """Structures by the names that the cases use.

    Parameters
    ----------
    by_name : dict of str to Template
    source : {"templates", "phantoms"}
    """

    by_name: dict[str, Template]
    source: str

    def take(self, names: Sequence[str]) -> list[Template]:
        """The structures of these names; beside density maps, phantoms go by their own.

        Raises
        ------
        InputError
            If one is not there.
        """
        known = self.by_name if self.source == "phantoms" else load_phantoms() | self.by_name
        missing = [name for name in names if name not in known]
        if missing:
            raise InputError(
                f"expected a density map {missing[0]}.mrc or {missing[0]}.mrc.gz among the "
                f"templates (found: {', '.join(sorted(self.by_name))}); add it, or leave out the "
                "cases that need it (--cases), or leave out --templates."
            )
        return [known[name] for name in names]


def load_templates(folder: str | Path | None) -> TemplateSet:
    """Density maps of a folder by their file names up to the first dot.

    Without a folder, the built-in phantoms stand in for the ten structures, one for one.

    Raises
    ------
    InputError
        If the folder holds no maps.
    """
    if folder is None:
        phantoms = load_phantoms().values()
        return TemplateSet(dict(zip(TEN, phantoms, strict=False)), "phantoms")
    files = sorted(p for p in Path(folder).glob("*") if p.name.endswith(_ENDINGS))
    if not files:
        raise InputError(
            f"expected a folder with density maps (.mrc or .mrc.gz), but {folder} holds none; "
            "give another with --templates, or leave it out for built-in phantoms."
        )
    return TemplateSet(
        {path.name.split(".")[0]: read_template(path) for path in files}, "templates"
    )


def simulate_case(
    case: Case, templates: TemplateSet, seed: int, fraction: float = 1.0
) -> SimulatedSubtomograms:
    """Simulate the subtomograms of a case, or of a part of it."""
    per_class, n_noise = case.counts(fraction)
    return simulate_subtomograms(
        templates.take(case.structures(seed)),
        per_class,
        case.box_px,
        case.voxel_size_angstrom,
        case.snr,
        case.tilt_range_deg,
        case.shift_max_px,
        seed,
        n_noise=n_noise,
        gain_spread=case.gain_spread,
        offset_spread=case.offset_spread,
    )
