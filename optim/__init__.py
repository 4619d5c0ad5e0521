"""Optimizers: they change parameters in place, by PyTorch's rules, and never wait for a device.

16-bit parameters have a master in float32, in which the optimizer's own arrays are kept too. What changes from step to
step (the step count, lr and all that depends on them) is in arrays, so that a captured step (backstride.capture) counts
on and follows lr and the schedule; the other numbers are fixed when the optimizer is made.
"""

from . import schedules
from .adam import Adam, AdamW
from .clip import clip_grad_norm
from .groups import decay_groups
from .optimizer import Optimizer
from .scaler import GradScaler
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "GradScaler", "Optimizer", "clip_grad_norm", "decay_groups", "schedules"]
