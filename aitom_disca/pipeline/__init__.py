"""From tomograms to clusters, averages and reports: the stages, alone and in a row."""

from aitom_disca.pipeline.average import average_store
from aitom_disca.pipeline.decode_centres import decode
from aitom_disca.pipeline.mine_clusters import mine
from aitom_disca.pipeline.pick import pick_tomograms
from aitom_disca.pipeline.predict_labels import predict
from aitom_disca.pipeline.refine_clusters import refine
from aitom_disca.pipeline.report import report_again
from aitom_disca.pipeline.run_stages import run
from aitom_disca.pipeline.star_files import write_stars

__all__ = [
    "average_store",
    "decode",
    "mine",
    "pick_tomograms",
    "predict",
    "refine",
    "report_again",
    "run",
    "write_stars",
]
