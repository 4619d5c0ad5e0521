"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..kernels import checks
from ..kernels.optim.rules import ADAM, Options
from .groups import Parameters
from .optimizer import Optimizer, at_least_0


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): m and v are running means of g and g², with g = grad + weight_decay*w;
    w -= lr * m/(1-beta1^t) / (sqrt(v/(1-beta2^t)) + eps).

    The rule of torch.optim.Adam. What parameters and schedule are, and what is raised: see Optimizer.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        schedule: Any = None,
    ) -> None:
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(ADAM, parameters, schedule, options)

    def _numbers(self, options: Mapping[str, Any]) -> Options:
        for place, beta in enumerate(options["betas"]):
            if not 0 <= beta < 1:
                raise checks.value_error(self._name, f"betas[{place}]", beta, "0 <= beta < 1")
        beta1, beta2 = map(float, options["betas"])
        eps, decay = (float(at_least_0(self._name, name, options[name])) for name in ("eps", "weight_decay"))
        return {"beta1": beta1, "beta2": beta2, "eps": eps, **self._decays(decay)}

    def _decays(self, weight_decay: float) -> Options:
        return {"weight_decay": weight_decay, "decoupled_decay": 0.0}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): lr*weight_decay*w is subtracted besides, and g
    is the gradient alone. The rule of torch.optim.AdamW."""

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        schedule: Any = None,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, schedule=schedule)

    def _decays(self, weight_decay: float) -> Options:
        return {"weight_decay": 0.0, "decoupled_decay": weight_decay}
