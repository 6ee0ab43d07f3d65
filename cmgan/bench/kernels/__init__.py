"""Benches of single kernels and of the generator on them: the stages of `cmgan.bench.gpu_check`."""
