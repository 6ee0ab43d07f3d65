"""How a file says that its samples are to be shown: by a colour profile, or by chunks of a PNG."""

from __future__ import annotations

from collections.abc import Mapping

from cmgan.errors import warn

# Kind -> length in bytes (PNG specification, third edition, 11.3.2).
_LENGTHS = {b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}
_MAX_PROFILE = 2**20  # bytes
_SRGB_CODES = b"\x01\x0d\x00\x01"  # of a cICP chunk (ITU-T H.273): sRGB's primaries and curve, RGB, full range
_SRGB_GAMMA = (45455).to_bytes(4, "big")
_SRGB_PRIMARIES = b"".join(
    value.to_bytes(4, "big") for value in (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
)


def colour_chunks(chunks: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Of a PNG's chunks those that say how samples are to be shown; one of a wrong length is left out."""
    return {kind: chunks[kind] for kind, length in _LENGTHS.items() if len(chunks.get(kind, b"")) == length}


def changes_look(chunks: Mapping[bytes, bytes], profile: bytes | None) -> bool:
    """Whether a picture looks different without these chunks: one that says nothing is shown as sRGB.

    cICP comes first, then the profile, then sRGB, then gAMA and cHRM (4.3 of the specification).
    """
    if codes := chunks.get(b"cICP"):
        return codes != _SRGB_CODES
    plain = chunks.get(b"gAMA", _SRGB_GAMMA) == _SRGB_GAMMA and chunks.get(b"cHRM", _SRGB_PRIMARIES) == _SRGB_PRIMARIES
    return not (profile or b"sRGB" in chunks or plain)


def checked_profile(icc: bytes | None, mode: str, name: str | None) -> bytes | None:
    """`icc` if its header (ICC.1:2022, 7.2) is that of a profile for samples of `mode`, and if it is not too large."""
    if not icc:
        return None
    kind, space = ("grey", b"GRAY") if mode in ("L", "LA") else ("RGB", b"RGB ")
    valid = (
        128 <= len(icc) <= _MAX_PROFILE
        and int.from_bytes(icc[:4]) == len(icc)
        and icc[36:40] == b"acsp"
        and icc[16:20] == space
    )
    if not valid:
        warn("icc_dropped", f"{name or 'picture'}: its colour profile is no valid {kind} profile and was dropped")
        return None
    return icc
