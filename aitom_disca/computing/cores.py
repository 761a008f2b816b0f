"""How many cores this process may use, and how many threads it does."""

from __future__ import annotations

import os

from threadpoolctl import threadpool_limits

# Read by libraries as they are loaded, and handed on to processes that this one starts.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_chosen: int | None = None


def n_cores() -> int:
    """How many cores this process may use.

    What `use_threads` said; else those that the system lets it run on, or that SLURM allotted to
    a task (``SLURM_CPUS_PER_TASK``, else ``SLURM_CPUS_ON_NODE``) where these are fewer.
    """
    if _chosen is not None:
        return _chosen
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        cores = os.cpu_count() or 1
    allotted = slurm_cores()
    return cores if allotted is None else min(cores, allotted)


def slurm_cores() -> int | None:
    """How many cores SLURM allotted to this task; None outside of its jobs."""
    names = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
    found = [os.environ[name] for name in names if os.environ.get(name, "").isdigit()]
    return int(found[0]) or None if found else None


def use_threads(n: int) -> None:
    """Use so many threads from now on, here and in libraries that are not loaded yet.

    Libraries of linear algebra take it at once, TensorFlow before its first computation.
    """
    global _chosen
    _chosen = n
    os.environ.update(dict.fromkeys(_VARIABLES, str(n)))
    threadpool_limits(n)
