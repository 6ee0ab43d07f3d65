"""The figures of what feeds a training run."""

import time

from cmgan.bench.pictures import _rate, measure_training


def test_a_rate_is_calls_by_processor_time():
    def work(index: int) -> None:
        until = time.process_time() + 0.005
        while time.process_time() < until:
            pass
        time.sleep(0.005)  # does not count

    assert 150 < _rate(work, 0.2) <= 200


def test_both_figures_are_rates():
    figures = measure_training(seconds=0.2)
    assert [figure.unit for figure in figures] == ["/s", "/s"]
    assert all(figure.value > 1 for figure in figures)
