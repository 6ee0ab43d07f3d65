"""Where a server's limits come from."""

import pytest

from cmgan.errors import UsageError
from cmgan.serve.settings import is_loopback, server_limits


def test_flags_before_the_environment_before_the_server_s_own():
    assert server_limits({}).max_pixels == 2**25 and server_limits({}).max_aspect == 32
    assert server_limits({"CMGAN_MAX_PIXELS": "5000"}).max_pixels == 5000
    assert server_limits({"CMGAN_MAX_PIXELS": "5000"}, max_pixels=6000, max_side=None).max_pixels == 6000
    with pytest.raises(UsageError, match="CMGAN_MAX_SIDE"):
        server_limits({"CMGAN_MAX_SIDE": "many"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LocalHost"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example"])
def test_not_loopback(host):
    assert not is_loopback(host)
