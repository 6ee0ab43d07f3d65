"""The generator on kernels, for inference."""
