"""What every optimizer has: groups, the step and what comes before it, a state to go on from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._state import Expected, checked
from ..backend import get_array_module, is_capturing, is_cupy, on_device, plain, quietly
from ..jit import get_jit
from ..kernels import checks
from ..kernels.dispatch import Paths
from ..kernels.dtypes import accumulation_dtype
from ..kernels.optim.rules import Options, Rule
from ..kernels.optim.tensors import Control, Tensor
from .groups import Parameters, grouped

if TYPE_CHECKING:
    from ..kernels.optim import cpu, cuda

Gradients = Sequence[Any]

_paths = Paths[Any]("optim")


class Optimizer:
    """Holds parameters; `step()` moves them against their `grad`. `lr` may be changed between steps.

    parameters: Parameters, or groups of them: dicts with "parameters" and options that differ from those given here.
    schedule: what lr is multiplied by at each step, such as one of optim.schedules, the last number for all further
    steps; on CuPy it is on the device. A parameter that is frozen (requires_grad is False) or has had no gradient is
    passed over, and its count of steps, on which Adam depends, stands still.

    Raises ValueError for no parameters, a parameter given twice, or a number out of range, TypeError for parameters of
    two libraries, and RuntimeError where lr is set inside a captured step, which would freeze it.
    """

    def __init__(self, rule: Rule, parameters: Parameters, schedule: Any, options: Mapping[str, Any]) -> None:
        self._name = type(self).__name__
        self.groups = grouped(self._name, parameters, options)
        self.parameters = [p for group in self.groups for p in group.parameters]
        get_array_module(*(p.data for p in self.parameters))
        self.gradients: Gradients | None = None
        """What step() takes in place of each parameter's grad, None for none: gradients that were summed up elsewhere,
        in float32 for 16-bit parameters."""
        self._lr = self._checked_lr(options["lr"])
        rates = [self._checked_lr(group.options["lr"]) for group in self.groups]
        self.schedule = _schedule(self._name, schedule)
        """What lr is multiplied by at each step, as a NumPy array; fixed when the optimizer is made."""
        self._shares = _shares(rule, self._tensors(rule), rates, self.schedule)

    def _numbers(self, options: Mapping[str, Any]) -> Options:
        """What the rule calls the options of a group; ValueError where one is out of range."""
        raise NotImplementedError

    def _tensors(self, rule: Rule) -> list[Tensor]:
        tensors: list[Tensor] = []
        for place, group in enumerate(self.groups):
            numbers = self._numbers(group.options)
            for p in group.parameters:
                state = tuple(_zeros(p.data) for _ in rule.slots(numbers))
                names = dict(zip(rule.slots(numbers), state, strict=True))
                tensors.append(Tensor(len(tensors), place, numbers, names, _master(p.data), p.data))
        return tensors

    def _checked_lr(self, value: float) -> float:
        return at_least_0(self._name, "lr", value)

    @property
    def lr(self) -> float:
        """The learning rate of the steps to come, before the schedule; groups that were given their own keep it."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._checked_lr(value)
        for share in self._shares:
            rates = share.control.rates
            with on_device(rates):
                if is_capturing(rates):
                    raise RuntimeError(f"{self._name}: lr is set in a captured step; expected it between the calls")
                for place, group in enumerate(self.groups):
                    if not group.own_lr:
                        rates[place : place + 1].fill(value)
        self._lr = value

    @property
    def steps(self) -> int:
        """The steps taken so far; on CuPy, reading it waits for the device."""
        return int(self._shares[0].control.steps)

    @steps.setter
    def steps(self, value: int) -> None:
        for share in self._shares:
            share.count(value, np.full(len(self.parameters), value))

    def step(self) -> None:
        """Update every parameter once; those are passed over that are frozen or have had no gradient."""
        for share in self._shares:
            with on_device(share.control.steps):
                share.updates.step(self._with_gradients(share))

    @quietly
    def gradient_norm(self) -> Any:
        """The 2-norm of all gradients that step() is going to use: float64 without axes, where the first parameter is.

        Its additions are in a fixed order; it is infinite or NaN where a gradient is.
        """
        sums = []
        for share in self._shares:
            with on_device(share.control.steps):
                sums.append(share.updates.square_sum(self._with_gradients(share)))
        scale = self._shares[0].control.scale
        xp = get_array_module(scale)
        with on_device(scale):
            total = sums[0]
            for other in sums[1:]:
                total = total + xp.asarray(other)
            return xp.asarray(xp.sqrt(total) * scale)

    @quietly
    def scale_gradients(self, factor: Any) -> None:
        """Let the next step multiply the gradients by this number, or array without axes; they stay as they are."""
        for share in self._shares:
            with on_device(share.control.scale):
                share.control.scale *= _here(share.control.scale, factor)

    def skip_step(self, condition: Any) -> None:
        """Leave out the next step where this bool, or array without axes, is True: it changes and counts nothing."""
        for share in self._shares:
            with on_device(share.control.skip):
                share.control.skip |= _here(share.control.skip, condition)

    def _with_gradients(self, share: _Share) -> list[Tensor]:
        """The tensors that take part in a step."""
        given = self.gradients
        found = []
        for tensor in share.tensors:
            parameter = self.parameters[tensor.number]
            gradient = parameter.grad if given is None else given[tensor.number]
            if gradient is None or not parameter.requires_grad:
                continue
            if parameter.data is not tensor.data:
                self._check(f"parameter {tensor.number}", parameter.data, tensor.data)
                tensor.data = parameter.data
            tensor.grad = plain(gradient)
            if type(tensor.grad) is not type(tensor.data) or tensor.grad.shape != tensor.data.shape:
                self._check(f"the gradient of parameter {tensor.number}", tensor.grad, tensor.data)
            found.append(tensor)
        return found

    def _check(self, name: str, found: Any, expected: Any) -> None:
        """`found` is an array of the library, shape and dtype of `expected`."""
        got, wanted = (f"a {type(a).__module__} array {a.shape}" for a in (found, expected))
        if got != wanted:
            raise checks.value_error(self._name, name, got, f"{wanted}, as when the optimizer was made")

    def zero_grad(self) -> None:
        """Set every gradient to 0."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Copies of what a resumed run needs: "steps", "counts" by parameter, and "0.momentum" and the like by the
        parameter's place."""
        state = {"counts": self._counts()}
        for name, array in [("steps", self._shares[0].control.steps), *self._named_arrays()]:
            with on_device(array):
                state[name] = array.copy()
        return state

    def _counts(self) -> Any:
        first, *others = (share.control.counts for share in self._shares)
        with on_device(first):
            counts = first.copy()
            for other in others:
                counts += get_array_module(first).asarray(other)
        return counts

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, arrays of any library. ValueError lists all that is wrong, and changes nothing.

        A state of version 0.2 or before has no "counts" (every parameter took all steps) and no "0.master" (it is what
        the parameter is now).
        """
        found = self.check_state_dict(state)
        counts = found.get("counts", np.full(len(self.parameters), found["steps"]))
        for share in self._shares:
            share.count(int(found["steps"]), counts)
        for name, array in self._named_arrays():
            with on_device(array):
                parameter = self.parameters[int(name.partition(".")[0])]
                array[...] = get_array_module(array).asarray(found[name]) if name in found else parameter.data

    def check_state_dict(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of `state` as NumPy arrays, without loading them. Raises as load_state_dict."""
        whole = "a whole number of at least 0"
        expected = {"steps": Expected(((),), np.dtype(np.int64), whole, are_counts)}
        expected["counts"] = Expected(((len(self.parameters),),), np.dtype(np.int64), f"each {whole}", are_counts)
        for name, array in self._named_arrays():
            expected[name] = Expected((array.shape,), array.dtype)
            if name.endswith(".square"):
                expected[name] = Expected((array.shape,), array.dtype, "no number below 0", _none_below_0)
        later = {name for name in expected if name == "counts" or name.endswith(".master")}
        return checked(self._name, {n: e for n, e in expected.items() if n in state or n not in later}, state)

    def _named_arrays(self) -> Iterable[tuple[str, Any]]:
        tensors = sorted((t for share in self._shares for t in share.tensors), key=lambda t: t.number)
        for tensor in tensors:
            for slot, array in tensor.state.items():
                yield f"{tensor.number}.{slot}", array
            if tensor.master is not None:
                yield f"{tensor.number}.master", tensor.master


class _Share:
    """The parameters on one device, and what their steps need there."""

    def __init__(self, rule: Rule, tensors: list[Tensor], every: int, rates: list[float], schedule: np.ndarray) -> None:
        xp = get_array_module(tensors[0].data)
        self.tensors = tensors
        self.control = Control(
            steps=xp.zeros((), np.int64),
            counts=xp.zeros(every, np.int64),
            rates=xp.asarray(np.array(rates, np.float64)),
            schedule=xp.asarray(schedule),
            scale=xp.ones((), np.float64),
            skip=xp.zeros((), np.bool_),
        )
        self._rule, self._on_cupy = rule, None if xp is np else _paths.cuda.Updates(rule, self.control)

    @property
    def updates(self) -> cpu.Updates | cuda.Updates:
        """What takes the steps; on NumPy the choice in force decides whether they are compiled."""
        if self._on_cupy is not None:
            return self._on_cupy
        path = _paths.jit if get_jit() else _paths.numpy
        updates: cpu.Updates = path.Updates(self._rule, self.control)
        return updates

    def count(self, steps: int, counts: np.ndarray) -> None:
        """Go on from these counts; of other devices' parameters 0 is kept."""
        own = np.zeros(len(counts), np.int64)
        for tensor in self.tensors:
            own[tensor.number] = counts[tensor.number]
        with on_device(self.control.steps):
            self.control.steps.fill(steps)
            self.control.counts[...] = get_array_module(self.control.counts).asarray(own)


def _shares(rule: Rule, tensors: list[Tensor], rates: list[float], schedule: np.ndarray) -> list[_Share]:
    by_device: dict[int, list[Tensor]] = {}
    for tensor in tensors:
        by_device.setdefault(tensor.data.device.id if is_cupy(tensor.data) else -1, []).append(tensor)
    shares = []
    for own in by_device.values():
        with on_device(own[0].data):
            shares.append(_Share(rule, own, len(tensors), rates, schedule))
    return shares


def _schedule(owner: str, schedule: Any) -> np.ndarray:
    """The factors of lr; ValueError for what is no list of numbers of at least 0."""
    factors = np.ones(1) if schedule is None else np.array(schedule, np.float64)
    if factors.ndim != 1 or not factors.size:
        raise checks.value_error(owner, "schedule.shape", factors.shape, "(steps,), of at least one step")
    wrong = factors[~((factors >= 0) & np.isfinite(factors))]
    if wrong.size:
        raise checks.value_error(owner, "schedule", f"{wrong[0]} somewhere", "finite numbers of at least 0")
    return factors


def _zeros(data: Any) -> Any:
    with on_device(data):
        return get_array_module(data).zeros(data.shape, accumulation_dtype(data.dtype))


def _master(data: Any) -> Any:
    """16-bit data in float32, else None."""
    if data.dtype.itemsize > 2:
        return None
    with on_device(data):
        return get_array_module(data).ascontiguousarray(data.astype(accumulation_dtype(data.dtype)))


def _here(array: Any, value: Any) -> Any:
    """An array without axes, which may be on another device, where `array` is; a number as it is."""
    return get_array_module(array).asarray(value) if hasattr(value, "dtype") else value


def are_counts(array: np.ndarray) -> bool:
    return bool(((array >= 0) & (array < 2**63) & (array == np.floor(array))).all())


def _none_below_0(array: np.ndarray) -> bool:
    return not (array < 0).any()


def at_least_0(owner: str, argument: str, value: float) -> float:
    if not value >= 0:
        raise checks.value_error(owner, argument, value, "a number >= 0")
    return value
