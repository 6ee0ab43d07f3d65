"""Signals that ask a run to save: SIGTERM and SIGINT then end it, SIGUSR1 lets it go on."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

_STOP = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Within the block the signals are only noted, to be looked at between steps; a second one to stop ends at once."""

    def __init__(self) -> None:
        self.stop: int | None = None  # the signal that asked
        self.save = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # Python installs handlers there only
            for number in (*_STOP, signal.SIGUSR1):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self.save = True
        elif self.stop is None:
            self.stop = number
        else:
            sys.exit(128 + number)
