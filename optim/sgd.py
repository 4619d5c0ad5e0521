"""Gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kernels.optim.rules import SGD as RULE
from ..kernels.optim.rules import Options
from .groups import Parameters
from .optimizer import Optimizer, at_least_0


class SGD(Optimizer):
    """Gradient descent: g = grad + weight_decay*w; v = momentum*v + (1-dampening)*g (v = g at the first step);
    w -= lr*v, or with nesterov w -= lr*(g + momentum*v).

    The rule of torch.optim.SGD. Nesterov needs a momentum and no dampening (ValueError otherwise). What parameters and
    schedule are, and what is raised: see Optimizer.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        schedule: Any = None,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(RULE, parameters, schedule, options)

    def _numbers(self, options: Mapping[str, Any]) -> Options:
        momentum, dampening = at_least_0("SGD", "momentum", options["momentum"]), options["dampening"]
        if options["nesterov"] and (momentum == 0 or dampening != 0):
            raise ValueError("SGD: nesterov is True; expected a momentum above 0 and dampening 0 with it")
        return {
            "momentum": float(momentum),
            "dampening": float(dampening),
            "weight_decay": float(at_least_0("SGD", "weight_decay", options["weight_decay"])),
            "nesterov": float(options["nesterov"]),
        }
