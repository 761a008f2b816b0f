"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from aitom_disca.computing.cores import n_cores, use_threads

# The same examples every time: a run that passes passes again.
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")

# Processes share the work by files. Those that take longest begin first, so that at the end no
# process waits long for another.
LONG = {
    f"test_{name}.py"
    for name in (
        "aligned",
        "alignment",
        "average",
        "cluster",
        "demo",
        "gumnet",
        "initial_model",
        "killed",
        "refine",
        "tutorials",
    )
}

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARED_CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


def pytest_configure(config: pytest.Config) -> None:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if workers > 1:  # threads of processes beside one another only get in each other's way
        use_threads(max(1, n_cores() // workers))
    config.option.loadscopereorder = False  # pytest-xdist would begin with the most tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real densities and tomograms kept beside the repository; skipped where they are not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder ../shared/data with real data is not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of small inputs that once went wrong."""
    if not SHARED_CASES.is_dir():
        pytest.skip("the folder ../shared/cases with inputs that went wrong is not here")
    return SHARED_CASES


@pytest.fixture(scope="session")
def relion() -> Callable[..., str]:
    """Run one of RELION's programs; what it says. Skipped where there is no RELION."""
    if shutil.which("relion_refine") is None:
        pytest.skip("RELION is not here: relion_refine is not on the PATH")
    said = subprocess.run(["relion_refine", "--version"], capture_output=True, text=True).stdout
    if "3.1" not in said:
        pytest.skip(f"these tests are for RELION 3.1, here is {said.splitlines()[:1]}")

    def run(*words: object) -> str:
        command = f"relion_{' '.join(map(str, words))}".split()
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout + done.stderr

    return run


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20231)


def _uncompiled() -> Iterator[None]:
    """Steps that TensorFlow does not compile: for few data that takes longest."""
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow

    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


uncompiled = pytest.fixture(_uncompiled, name="uncompiled")
uncompiled_file = pytest.fixture(_uncompiled, scope="module", name="uncompiled_file")


@pytest.fixture(scope="session")
def tomograms(tmp_path_factory):
    """Two small tomograms with picks."""
    from small_run import make_tomograms

    return make_tomograms(tmp_path_factory.mktemp("tomograms"))


@pytest.fixture(scope="session")
def alone(tomograms, tmp_path_factory):
    """A run of the two tomograms in one process."""
    from small_run import make_run

    return make_run(tomograms, tmp_path_factory.mktemp("alone") / "run")
