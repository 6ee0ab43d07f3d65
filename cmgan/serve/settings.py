"""What a server is told when it starts; every value is checked before anything is loaded."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cmgan.errors import UsageError
from cmgan.imaging.limits import Limits

_MIN_TOKEN = 16  # characters
MIB = 2**20


def server_limits(environment: Mapping[str, str] = os.environ, **given: int | None) -> Limits:
    """The limits of one picture in a server: a photograph of 24 megapixels, and its PNG, go through.

    `CMGAN_MAX_PIXELS` and its like override them, and the `given` that are not None override both.
    """
    own = {"max_file_bytes": 64 * MIB, "max_pixels": 2**25, "max_side": 8192}
    wanted = {name: value for name, value in own.items() if f"CMGAN_{name.upper()}" not in environment}
    return Limits.from_environment(environment, **wanted | {k: v for k, v in given.items() if v is not None})


@dataclass(frozen=True)
class ServeOptions:
    """How a server runs. Times are seconds, but `batch_window`, which is milliseconds.

    Raises:
        UsageError: limit (a value out of its range), token (none, or too short a one, for an address that other
            machines reach).
    """

    host: str = "127.0.0.1"
    port: int = 8080  # 0: any free one
    token: str | None = None  # of the header Authorization: Bearer
    insecure_no_auth: bool = False  # leave loopback without a token
    allowed_hosts: tuple[str, ...] = ()  # names besides the loopback ones that a Host header may have
    allow_origins: tuple[str, ...] = ()  # other sites whose pages may call, as https://example.org
    queue: int = 16  # requests that wait
    concurrency: int = 4  # requests in work at once
    batch_window: float = 0.0  # how long a call of the engine waits for windows of other requests
    batch_max: int = 8  # windows in such a call
    queue_timeout: float = 10.0
    request_timeout: float = 60.0
    header_timeout: float = 5.0
    receive_timeout: float = 20.0
    keepalive: float = 30.0
    max_connections: int = 256
    shutdown_grace: float = 30.0
    max_body_bytes: int = 72 * MIB
    limits: Limits = field(default_factory=server_limits)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("port", 0, 65_535),
            ("queue", 1, 10_000),
            ("concurrency", 1, 256),
            ("batch_window", 0, 1000),
            ("batch_max", 1, 1024),
            ("queue_timeout", 0.001, 86_400),
            ("request_timeout", 0.001, 86_400),
            ("header_timeout", 0.001, 3600),
            ("receive_timeout", 0.001, 86_400),
            ("keepalive", 0.001, 3600),
            ("max_connections", 1, 100_000),
            ("shutdown_grace", 0.001, 3600),
            ("max_body_bytes", 1024, 2**31),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError("limit", f"{flag} is {value}; {low} to {high} is possible")
        if self.token is not None and len(self.token) < _MIN_TOKEN:
            message = (
                f"a token of {len(self.token)} characters; {_MIN_TOKEN} are needed: openssl rand -hex 32 makes one"
            )
            raise UsageError("token", message)
        if not (is_loopback(self.host) or self.token or self.insecure_no_auth):
            message = f"--host {self.host} is reached from other machines: give --token-file FILE or CMGAN_TOKEN"
            raise UsageError("token", f"{message}, or --insecure-no-auth if something in front asks for one")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, a name or an address without a port."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> str:
    """The token in a file: its first line. `UsageError` where it cannot be read."""
    try:
        with open(path, encoding="ascii") as file:
            return file.readline(4096).strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII"
        raise UsageError("token", f"the token cannot be read ({reason})", file=path) from None
