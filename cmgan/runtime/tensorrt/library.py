"""TensorRT and TensorRT-RTX: two modules with one interface. What building and running share."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from cmgan.errors import MissingError
from cmgan.formats import FORMATS

logger = logging.getLogger("cmgan.tensorrt")

_MODULES = {"trt": "tensorrt", "trt-rtx": "tensorrt_rtx"}
TITLES = {"trt": "TensorRT", "trt-rtx": "TensorRT-RTX"}


def library(format: str) -> Any:
    """The module behind the format `trt` or `trt-rtx`.

    Raises:
        MissingError: it is not installed, with the line that installs it.
    """
    try:
        return importlib.import_module(_MODULES[format])
    except (ImportError, OSError) as error:  # OSError: its shared libraries do not load
        why = "is not installed" if isinstance(error, ImportError) else f"does not load ({error})"
        line = f"pip install 'cmgan[{FORMATS[format].extra}]'"
        raise MissingError("tensorrt", f"{TITLES[format]} {why}: {line}") from None


def new_log(trt: Any) -> Any:
    """An `ILogger` that hands everything to Python's logging and keeps the errors: `log.errors`."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(message)
            if int(severity) <= int(trt.ILogger.INFO):  # below stand tens of thousands of lines a build
                logger.debug("%s", message)

    return Log()
