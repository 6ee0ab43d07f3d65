"""The least time a layer can take: `python -m cmgan.bench.kernels.roofline` prints the table.

A model, not a measurement: operations at the matrix units' rate or bytes at the memory's, whichever takes longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from cmgan.bench.kernels.plan import PAPER_LAYERS


@dataclass(frozen=True)
class Machine:
    """Rates that a large product and a large copy reach."""

    name: str
    flops: float  # a second, bfloat16
    bandwidth: float  # bytes a second, read and written


H200 = Machine("H200", 790e12, 4.3e12)


def floor_us(
    batch: int, channels_in: int, channels: int, side: int, *, size: int = 3, up: bool = False, machine: Machine = H200
) -> float:
    """Microseconds of one layer in a 16-bit type: activations and weights moved once, every product done once.

    `side` is the output's. With `up` the input has a quarter of its positions, and each is multiplied once.
    """
    positions_out = batch * side * side
    positions = positions_out / 4 if up else positions_out
    weights = size * size * channels_in * channels
    moved = 2 * (positions * channels_in + positions_out * channels + weights)
    return max(2 * positions * weights / machine.flops, moved / machine.bandwidth) * 1e6


def pass_us(batch: int, channels: int, side: int, machine: Machine = H200) -> float:
    """Microseconds of reading and writing an activation once more: what one fused pass saves."""
    return 4 * batch * side * side * channels / machine.bandwidth * 1e6


def table() -> str:
    """Markdown: the 3x3 layers of paper-512 at both batch sizes."""
    lines = [
        f"| N | C@R | GFLOP | MB | floor on {H200.name}, us | bound by | one more pass, us |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for n in (1, 8):
        for c, r in PAPER_LAYERS:
            flop, moved = 2 * n * r * r * 9 * c * c, 2 * (2 * n * r * r * c + 9 * c * c)
            bound = "matrix units" if flop / H200.flops > moved / H200.bandwidth else "memory"
            cells = n, f"{c}@{r}", f"{flop / 1e9:.2f}", f"{moved / 1e6:.1f}", f"{floor_us(n, c, c, r):.1f}", bound
            lines.append("| " + " | ".join(str(cell) for cell in (*cells, f"{pass_us(n, c, r):.1f}")) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
