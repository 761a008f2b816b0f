"""The command that writes star files of clusters."""

from __future__ import annotations

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import Relion
from aitom_disca.progress import say


def export(
    store: o.Store,
    labels: o.Labels,
    out: o.Out,
    relion: o.RelionVersion = Relion.v31,
    images: o.Images = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Write the particles of a store with their clusters as RELION star files.

    Example: aitom-disca export subtomograms.h5 --labels labels.csv --out stars --relion 5
    """
    from aitom_disca.io.disk.outputs import refuse_existing
    from aitom_disca.pipeline import write_stars
    from aitom_disca.pipeline.star_files import star_files_there, what_was_written

    refuse_existing(star_files_there(out, images), overwrite)
    summary = write_stars(store, labels, out, relion=relion.value, images=images)
    say(what_was_written(summary, out))
