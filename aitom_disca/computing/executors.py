"""Where tasks are computed: in this process, in several, or on many machines by Dask.

Every function that has independent tasks takes an ``executor``, any `concurrent.futures.Executor`;
here those of Dask are made. Tasks are sent as paths and settings: all machines see the same files
under the same names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aitom_disca.computing.cores import n_cores, use_threads
from aitom_disca.errors import InputError
from aitom_disca.progress import say

if TYPE_CHECKING:
    from distributed import Client, Worker

_CLUSTERS = {"slurm": "SLURM", "pbs": "PBS", "sge": "SGE", "lsf": "LSF"}  # before "Cluster"
_PATIENCE_S = 30
_LOOK_EVERY = "5s"  # whether there is work for more workers, or for fewer
_IDLE_LOOKS = 12  # before a worker is sent away


@contextmanager
def tasks_on(
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    queue: str | None = None,
    config: str | Path | None = None,
) -> Iterator[Executor | None]:
    """An executor for the tasks inside of the block; None, for this process, if nothing is given.

    Parameters
    ----------
    workers : int, optional
        Processes on this machine, or, with ``queue``, jobs at most (1 unless given).
    scheduler : str, optional
        Address of a Dask scheduler that runs already, such as ``tcp://head:8786``.
    queue : str, optional
        Queueing system, of slurm, pbs, sge and lsf, whose jobs are the workers. They come when
        there is work, and go when there is none.
    config : path, optional
        Settings of the jobs, in YAML as dask-jobqueue documents them; its own configuration files
        count otherwise.

    Raises
    ------
    InputError
        If Dask is not installed, options contradict one another, no scheduler answers, settings
        of jobs are not enough, or a task's workers die again and again.
    """
    if scheduler and (queue or workers):
        raise InputError("--scheduler brings workers; leave out --workers and --cluster.")
    if config and not queue:
        raise InputError("--cluster-config is of --cluster; give both.")
    if not (workers or scheduler or queue):
        yield None
        return
    try:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError

        if queue:
            import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise InputError(
            "--workers, --scheduler and --cluster need Dask; install it with "
            "pip install 'aitom-disca[cluster]'."
        ) from error
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are raised here as well
    with ExitStack() as stack:
        threads = None
        if scheduler:
            client = _connected(stack, scheduler)
        elif queue:
            client, threads = _in_jobs(stack, queue, workers or 1, config)
        else:
            client, threads = _on_this_machine(stack, workers or 1)
        client.register_plugin(_worker_threads(threads))
        client.forward_logging("aitom_disca", logging.WARNING)
        try:
            yield client.get_executor()
        except KilledWorker as error:
            raise InputError(
                "the workers of a task died several times over, perhaps for want of memory; give "
                "each more, or take fewer at once. What was finished is kept, --resume goes on."
            ) from error
        except (CommClosedError, FutureCancelledError) as error:
            raise InputError(
                "the scheduler was lost; start it again. What was finished is kept, --resume goes "
                "on."
            ) from error


def _connected(stack: ExitStack, address: str) -> Client:
    from distributed import Client

    try:
        return stack.enter_context(Client(address, timeout=_PATIENCE_S))
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}); start one (dask scheduler), or "
            "check the address."
        ) from error


def _on_this_machine(stack: ExitStack, workers: int) -> tuple[Client, int]:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,  # one task at a time; a task has threads of its own
        memory_limit=0,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )
    stack.enter_context(cluster)
    return stack.enter_context(Client(cluster)), max(1, n_cores() // workers)


def _in_jobs(
    stack: ExitStack, queue: str, jobs: int, config: str | Path | None
) -> tuple[Client, int]:
    import dask
    import dask_jobqueue
    from distributed import Client

    if config is not None:
        whole = dask.config.merge(dask.config.get("jobqueue"), _read_config(Path(config)))
        stack.enter_context(dask.config.set(jobqueue=whole))
    own: dict[str, Any] = dask.config.get(f"jobqueue.{queue}", {})
    processes = own.get("processes") or 1
    options = {
        "processes": processes,
        # The last of several counts: a worker does one task at a time, with threads of its own.
        "worker_extra_args": [*(own.get("worker-extra-args") or ()), "--nthreads", "1"],
        "silence_logs": "critical",
    }
    try:
        cluster = getattr(dask_jobqueue, f"{_CLUSTERS[queue]}Cluster")(**options)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        raise InputError(
            f"jobs of {queue} cannot be made of these settings ({str(error).splitlines()[0]}); "
            "--cluster-config takes a file with at least cores and memory below jobqueue: "
            f"{queue}:."
        ) from error
    stack.enter_context(cluster)
    say(f"workers are jobs of {queue}, at most {jobs}; tasks wait for them")
    client = stack.enter_context(Client(cluster))
    cluster.adapt(
        minimum=0,
        maximum=jobs * processes,
        interval=_LOOK_EVERY,
        wait_count=_IDLE_LOOKS,
    )
    return client, max(1, int(own["cores"]) // processes)


def _read_config(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML ({error}).") from error
    if not isinstance(found, dict) or not isinstance(found.get("jobqueue"), dict):
        raise InputError(
            f"expected jobqueue: at the top of {path}, as in the configuration of dask-jobqueue."
        )
    return found["jobqueue"]


def _worker_threads(threads: int | None) -> Any:
    """A plugin that gives every task so many threads, also on workers that come later.

    Where it is not said, a worker that does several tasks at once has one for each.
    """
    from distributed import WorkerPlugin

    class WorkerThreads(WorkerPlugin):
        name = "aitom_disca_threads"

        def setup(self, worker: Worker) -> None:
            if threads is not None or worker.state.nthreads > 1:
                use_threads(threads or 1)

    return WorkerThreads()
