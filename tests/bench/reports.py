"""A report with a row of every kind, made by hand."""

from dataclasses import replace

from cmgan.bench.measure import latency
from cmgan.bench.report import CANNOT, FAILED, MEASURED, Report, Row

ERRORS = {"hole_max_levels": 1.0, "hole_mean_levels": 0.0002, "hole_equal": 0.99978, "hole_psnr_db": 84.75}


def row(name: str, milliseconds: float, *, pytorch: bool, psnr: float, precision: str = "fp32") -> Row:
    times = latency([milliseconds / 1e3 * (1 + i / 20) for i in range(10)])
    cost = {"pictures_per_s_b1": 1e3 / milliseconds, "load_s": 0.5, "first_call_s": 1.25, "peak_mb": 512.0}
    figures = ERRORS | times | cost | {"hole_psnr_db": psnr, "speedup_eager": 500 / milliseconds}
    gate = precision if precision == "fp32" else "none"
    return Row(name, name, precision, pytorch, MEASURED, "", gate, figures)


def report() -> Report:
    return Report(
        model={"name": "tiny-64", "resolution": 64, "trained": False, "weights_sha256": "0" * 64, "flops": 10**9}
        | {"parameters": 1000},
        environment={"cpu": "Some CPU, 2 cores", "gpu": "none", "instructions": ["avx2", "fma"], "threads": 2},
        settings={"batches": [1], "device": "cpu", "threads": 2, "iters": 10, "min_seconds": 0.0, "warmup": 1}
        | {"form": "activation", "form_ms": {"activation": 500.0, "weight": 555.5}},
        rates={"float32": 150.0},
        rows=(
            row("eager", 500, pytorch=True, psnr=999.0),
            row("eager-channels-last", 400, pytorch=True, psnr=84.75),
            row("eager-bf16", 300, pytorch=True, psnr=44.0, precision="bf16"),
            replace(row("compile", 1, pytorch=True, psnr=0), status=CANNOT, reason="no g++ | here", metrics={}),
            replace(
                row("onnx", 1, pytorch=False, psnr=0), status=FAILED, reason="large: max_abs is 90", metrics=ERRORS
            ),
        ),
    )
