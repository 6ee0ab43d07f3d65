"""These tests run under Triton's interpreter, in a process of their own: see `tests/kernels/test_interpreter.py`."""

import os

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
collect_ignore_glob = [] if INTERPRETED else ["test_*.py"]

if INTERPRETED:
    import torch

    from tests.kernels.interpreter import BoundsChecker

    @pytest.fixture(autouse=True)
    def _nan_where_nothing_was_written():
        """Memory that a kernel forgets to write holds NaN."""
        torch.use_deterministic_algorithms(True)
        yield
        torch.use_deterministic_algorithms(False)

    @pytest.fixture(autouse=True)
    def checker(monkeypatch):
        """Every address that a kernel touches is checked; a test whose kernels touch nothing fails."""
        checker = BoundsChecker(monkeypatch)
        yield checker
        assert checker.lanes > 0
