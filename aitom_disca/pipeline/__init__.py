"""From tomograms to clusters, averages and reports: the stages, alone and in a row."""

from aitom_disca.pipeline.averages import average_store
from aitom_disca.pipeline.decoding import decode
from aitom_disca.pipeline.prediction import predict
from aitom_disca.pipeline.refinement import refine
from aitom_disca.pipeline.reports import report_again
from aitom_disca.pipeline.runs import mine, run
from aitom_disca.pipeline.stages import pick_tomograms, write_stars

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
