"""CM-GAN: a readable reference of the inpainting network, and exports that paint the same picture."""

__version__ = "0.1.0"
