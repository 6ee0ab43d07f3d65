"""The figures of what feeds a training run."""

import time

from cmgan.bench.training import measure_training


def test_figures_are_rates_of_this_process():
    """Both fit the time that went by: neither figure counts more than what was done."""
    began = time.process_time()
    figures = measure_training(seconds=0.2)
    passed = time.process_time() - began
    assert [figure.unit for figure in figures] == ["/s", "/s"]
    assert all(figure.value > 1 / passed for figure in figures)  # each did one thing at least
