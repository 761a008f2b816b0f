"""Options of results, and of where they are computed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from aitom_disca.cli.choices import JobsOf, Relion
from aitom_disca.cli.help_text import OFTEN, rarely
from aitom_disca.cli.options.declared import option
from aitom_disca.computing.chosen_device import use
from aitom_disca.computing.cores import n_cores, slurm_cores, use_threads

_COMPUTE = rarely("where to compute")


def _use_threads(n: int | None) -> None:
    """Limit threads as asked for; libraries know nothing of what SLURM allots."""
    if n is None and (slurm_cores() is None or "OMP_NUM_THREADS" in os.environ):
        return
    use_threads(n or n_cores())


Out = Annotated[Path, option(OFTEN, "--out", "-o", text="Folder for the results.")]
Overwrite = Annotated[
    bool, option(OFTEN, "--overwrite", text="Replace what is there from an earlier run.")
]
Resume = Annotated[
    bool, option(OFTEN, "--resume", text="Go on with the run there, where it stopped.")
]
RelionVersion = Annotated[
    Relion, option(OFTEN, "--relion", text="Write star files for this RELION.")
]
Images = Annotated[
    bool,
    option(
        OFTEN,
        "--images",
        text="Write subtomograms and missing wedges for RELION as well, into OUT/subtomograms; the "
        "star files name them.",
    ),
]
Device = Annotated[
    str,
    option(
        _COMPUTE,
        "--device",
        text="Where networks and alignment compute: auto (a graphics card, where Keras' backend "
        "sees one), cpu, or a card such as cuda:0.",
        callback=use,
        expose_value=False,
    ),
]
Devices = Annotated[
    int,
    option(_COMPUTE, "--devices", text="Graphics cards, or processors, to train on.", min=1),
]
Threads = Annotated[
    int | None,
    option(
        _COMPUTE,
        "--threads",
        text="Cores to use at once; by default all that this process may run on, or that SLURM "
        "allots to it.",
        min=1,
        callback=_use_threads,
        expose_value=False,
    ),
]
Workers = Annotated[
    int | None,
    option(
        _COMPUTE,
        "--workers",
        text="Processes that share the tasks: a tomogram each, or a chunk of subtomograms. With "
        "--cluster jobs at most. (Needs Dask, as the next three do.)",
        min=1,
    ),
]
Scheduler = Annotated[
    str | None,
    option(
        _COMPUTE,
        "--scheduler",
        text="Address of a Dask scheduler that runs, such as tcp://head:8786; its workers do the "
        "tasks.",
    ),
]
_JOBS = "Queueing system to which workers are submitted as jobs"
Cluster = Annotated[JobsOf | None, option(_COMPUTE, "--cluster", "--jobs-of", text=f"{_JOBS}.")]
JobsOnly = Annotated[
    JobsOf | None,
    option(_COMPUTE, "--jobs-of", text=f"{_JOBS}: --cluster of other commands."),
]
ClusterConfig = Annotated[
    Path | None,
    option(
        _COMPUTE,
        "--cluster-config",
        text="What a job is given, in YAML: settings of dask-jobqueue, such as cores, memory, "
        "walltime, queue below jobqueue: slurm:.",
    ),
]
Part = Annotated[
    str | None,
    option(
        _COMPUTE,
        "--part",
        text="Do this part of so many only, such as 2/10, one in each job; auto takes it from "
        "SLURM_ARRAY_TASK_ID. `merge` makes the parts one.",
        metavar="I/N",
    ),
]
