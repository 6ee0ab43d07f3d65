"""The child process: what it measures is its own, and what goes wrong in it has a reason."""

import numpy as np
import pytest

from cmgan.bench.process import RowFailure, Worker
from cmgan.bench.rows import Setting


@pytest.fixture
def worker(tmp_path):
    with Worker(Setting(tmp_path, None, "activation", 1, "cpu")) as worker:
        yield worker


def test_peak_memory_is_the_child_s_own(worker):
    held = np.ones(2**28, np.uint8)  # 256 MiB in this process, touched
    assert 2**23 < worker.ask("peak_memory") < held.nbytes


def test_peak_memory_grows_with_what_the_child_is_given(worker):
    before = worker.ask("peak_memory")
    with pytest.raises(RowFailure):  # no engine is open
        worker.ask("paint", *(np.ones(2**26, np.uint8),) * 3)
    assert worker.ask("peak_memory") > before + 2**26


def test_rate_is_a_number_of_operations_a_second(worker):
    assert worker.ask("rate", "float32", "cpu") > 1e8


def test_what_goes_wrong_is_told(worker, tmp_path):
    with pytest.raises(RowFailure, match="no such folder|no such file|config.json"):
        worker.ask("open", "eager", Setting(tmp_path / "none", None, "activation", 1, "cpu"))
    with pytest.raises(RowFailure, match="AttributeError"):
        worker.ask("paint", *(np.zeros(1),) * 3)
    worker._process.kill()
    with pytest.raises(RowFailure, match="ended by signal 9"):
        worker.ask("peak_memory")
