"""The benchmark: accuracy beside other methods, speed, memory, choice of K."""

from aitom_disca.bench.accuracy import read_results, run_bench
from aitom_disca.bench.case_data import TemplateSet, load_templates, simulate_case
from aitom_disca.bench.cases import CASES, Case, choose_cases
from aitom_disca.bench.methods import METHODS, Answer, BenchOptions, Method, choose_methods
from aitom_disca.bench.scores import score_labels
from aitom_disca.bench.table import comparisons, rich_table, summarise, write_tables

__all__ = [
    "CASES",
    "METHODS",
    "Answer",
    "BenchOptions",
    "Case",
    "Method",
    "TemplateSet",
    "choose_cases",
    "choose_methods",
    "comparisons",
    "load_templates",
    "read_results",
    "rich_table",
    "run_bench",
    "score_labels",
    "simulate_case",
    "summarise",
    "write_tables",
]
