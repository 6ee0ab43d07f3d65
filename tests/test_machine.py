"""The stamp of a report: enough to judge it by, nothing about whose machine it is."""

import getpass
import json
import platform
import socket
from pathlib import Path

import numpy as np
import onnxruntime

from cmgan.machine import environment, physical_cores


def test_names_versions_and_machine():
    stamp = environment(3)
    assert stamp["threads"] == 3
    assert stamp["numpy"] == np.__version__
    assert stamp["onnxruntime"] == onnxruntime.__version__
    assert stamp["python"] == platform.python_version()
    assert stamp["memory_gb"] > 0
    assert stamp["date"].endswith("+00:00")
    assert json.loads(json.dumps(stamp)) == stamp


def test_tells_nothing_about_the_owner():
    values = [str(value) for key, value in environment(1).items() if key != "gpu"]
    words = {word.strip(",") for value in values for word in value.split()}
    assert socket.gethostname() not in words
    assert getpass.getuser() not in words
    assert not [word for word in words if word.startswith("/") and word != "/"]
    assert str(Path.home()) not in " ".join(values)


def test_cores_are_at_least_one():
    assert physical_cores() >= 1
