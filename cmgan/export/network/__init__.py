"""The network as exporters want it: the same function in fewer and larger operations, without Fourier transforms."""
