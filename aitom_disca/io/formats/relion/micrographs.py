"""Names of tomograms and optics groups as a micrographs.star of RELION has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from aitom_disca.errors import InputError
from aitom_disca.io.formats.relion.optics_groups import GROUP_NAME_COLUMN, OPTICS_KEY, optics_table
from aitom_disca.io.formats.relion.star_blocks import GROUP_COLUMN, find_table, read_blocks
from aitom_disca.io.numbers_in_files import is_missing
from aitom_disca.io.tomogram_names import known_among
from aitom_disca.particles import ParticleSet, TomogramInfo

MICROGRAPH_COLUMN = "rlnMicrographName"


def named_as_in(particles: ParticleSet, micrographs_star: str | Path) -> ParticleSet:
    """Particles whose micrographs and optics groups are called as in RELION's own list.

    RELION cuts particles again (``--reextract_data_star``) from micrographs of exactly this name,
    and from optics groups of this name.

    Raises
    ------
    InputError
        If the list is no such file, a tomogram is not in it, or twice, or an optics group has no
        name.
    """
    path = Path(micrographs_star)
    blocks = read_blocks(path)
    table = find_table(path, blocks, "micrographs", [MICROGRAPH_COLUMN])
    listed = table[MICROGRAPH_COLUMN].astype(str).tolist()
    own = {
        name: particles.tomograms.get(name, TomogramInfo(name, np.nan))
        for name in dict.fromkeys(particles.tomogram_name.tolist())
    }
    micrograph = {name: said for said, name in known_among(listed, own, path.name).items()}
    row = {}
    for name in own:
        n_found = listed.count(micrograph[name]) if name in micrograph else 0
        if n_found != 1:
            how = "twice" if n_found else "not"
            raise InputError(
                f"the tomogram {name} is {how} in {path.name}; give the micrographs.star that the "
                "tomograms were imported with."
            )
        row[name] = listed.index(micrograph[name])
    rows = table.iloc[[row[name] for name in particles.tomogram_name.tolist()]]
    more = {**particles.more, MICROGRAPH_COLUMN: rows[MICROGRAPH_COLUMN].to_numpy(str)}
    groups = blocks.get("optics")
    if groups is None or GROUP_COLUMN not in rows or GROUP_NAME_COLUMN not in groups:
        return replace(particles, more=more)
    groups = groups if isinstance(groups, pd.DataFrame) else pd.DataFrame([groups])
    name_of = groups.drop_duplicates(GROUP_COLUMN).set_index(GROUP_COLUMN)[GROUP_NAME_COLUMN]
    names = rows[GROUP_COLUMN].map(name_of).to_numpy(object)
    nameless = [group for group, name in zip(rows[GROUP_COLUMN], names, strict=True)
                if is_missing(name)]  # fmt: skip
    if nameless:
        raise InputError(
            f"{path.name} gives no name to the optics group {nameless[0]} of its micrographs; "
            "complete its table of optics groups."
        )
    return _with_group_names(replace(particles, more=more), names.astype(str))


def _with_group_names(particles: ParticleSet, names: np.ndarray) -> ParticleSet:
    more, blocks = {**particles.more, GROUP_NAME_COLUMN: names}, dict(particles.more_blocks)
    own = optics_table(particles)
    if own is not None:
        per_group = pd.Series(names).groupby(np.asarray(particles.more[GROUP_COLUMN])).unique()
        if per_group.map(len).eq(1).all():
            new = own[GROUP_COLUMN].map(per_group.map(lambda found: found[0]))
            blocks[OPTICS_KEY] = own.assign(**{GROUP_NAME_COLUMN: new.fillna("unused")})
        else:  # groups are made anew
            more.pop(GROUP_COLUMN)
            blocks.pop(OPTICS_KEY)
    return replace(particles, more=more, more_blocks=blocks)
