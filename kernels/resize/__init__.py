"""Resizing of images and its gradient."""

from .functions import upsample, upsample_grad

__all__ = ["upsample", "upsample_grad"]
