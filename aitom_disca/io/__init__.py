"""Reading and writing: tomograms, subtomogram stores, RELION star files, tables."""

from aitom_disca.io.disk.atomic import replacing, write_text
from aitom_disca.io.formats.relion.read_star import read_particles_star
from aitom_disca.io.formats.relion.write_star import write_cluster_stars, write_particles_star
from aitom_disca.io.picks import read_picks, read_picks_csv, write_picks_csv
from aitom_disca.io.result_tables import (
    read_labels_csv,
    read_rows_csv,
    write_labels_csv,
    write_rows_csv,
)
from aitom_disca.io.stores.read_store import SubtomogramStore, open_store
from aitom_disca.io.stores.write_store import StoreWriter
from aitom_disca.io.tomograms.mrc import read_mask, write_volume
from aitom_disca.io.tomograms.tomogram import Tomogram, open_map, open_tomogram
from aitom_disca.io.tomograms.tomogram_lists import open_tomograms, read_tomograms_star

__all__ = [
    "StoreWriter",
    "SubtomogramStore",
    "Tomogram",
    "open_map",
    "open_store",
    "open_tomogram",
    "open_tomograms",
    "read_labels_csv",
    "read_mask",
    "read_particles_star",
    "read_picks",
    "read_picks_csv",
    "read_rows_csv",
    "read_tomograms_star",
    "replacing",
    "write_cluster_stars",
    "write_labels_csv",
    "write_particles_star",
    "write_picks_csv",
    "write_rows_csv",
    "write_text",
    "write_volume",
]
