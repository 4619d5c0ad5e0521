"""backstride.interop.torch beside PyTorch: gradients of first and second order, modules, `convert`, shared memory."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from backstride import kernels
from backstride.kernels import OPERATIONS

torch = pytest.importorskip("torch", reason="interop.torch needs PyTorch")
nn, F = torch.nn, torch.nn.functional

import backstride.interop.torch as ours  # noqa: E402 - needs torch
from backstride.interop.torch import tensors  # noqa: E402

RANKS = OPERATIONS["conv"].family.ranks
NAMES = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 1e-5, torch.float64: 1e-12}
"""dtypes, with some roundings of each: outputs are sums of some dozen products."""


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the problems are tiny
    yield
    torch.set_num_threads(before)


def drawn(*shape: int, dtype: Any = torch.float64) -> Any:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def per_axis(rank: int, *values: int) -> tuple[int, ...]:
    return values[-rank:]


# --- functions


def functions(rank: int):
    """Functions of tensors, and the tensors' shapes: every option in use."""
    extents = per_axis(rank, 2, 4, 3)
    x = (1, 2, *extents)
    options: dict[str, Any] = {"stride": per_axis(rank, 1, 2, 1), "dilation": per_axis(rank, 1, 1, 3), "groups": 2}
    sides = ((1, 1), (1, 0), (2, 1))[-rank:]
    taps = per_axis(rank, 2, 3, 2)
    yield "conv", lambda *a: ours.conv(*a, padding=sides, **options), (x, (4, 1, *taps), (4,))
    yield "conv without bias", lambda *a: ours.conv(*a, padding="same"), ((1, 2, *extents), (2, 2, *taps))
    for extra in (per_axis(rank, 0, 1, 0), per_axis(rank, 0, 1, 2)):  # less than the stride; than the dilation
        yield (
            f"conv_transpose {extra}",
            lambda *a, extra=extra: ours.conv_transpose(*a, padding=sides, output_padding=extra, **options),
            (x, (2, 1, *taps), (2,)),
        )
    window = {"stride": per_axis(rank, 1, 2, 1), "padding": per_axis(rank, 0, 1, 1), "ceil_mode": True}
    yield "max_pool", lambda x: ours.max_pool(x, taps, **window), (x,)
    yield "avg_pool", lambda x: ours.avg_pool(x, taps, count_include_pad=False, **window), (x,)
    yield "adaptive_avg_pool", lambda x: ours.adaptive_avg_pool(x, per_axis(rank, 3, 4, 3)), (x,)


FUNCTIONS = [
    pytest.param(function, shapes, id=f"{name} {rank}d") for rank in RANKS for name, function, shapes in functions(rank)
]
FUNCTIONS += [
    pytest.param(ours.linear, ((2, 3, 5), (4, 5), (4,)), id="linear"),
    pytest.param(ours.linear, ((5,), (4, 5)), id="linear of one sample"),
]


@pytest.mark.parametrize(("function", "shapes"), FUNCTIONS)
def test_gradients_of_first_and_second_order(function, shapes):
    given = [drawn(*shape) for shape in shapes]
    assert torch.autograd.gradcheck(function, given)
    assert torch.autograd.gradgradcheck(function, given, fast_mode=True)


CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_channels_last(t: Any) -> bool:
    return t.is_contiguous(memory_format=CHANNELS_LAST[t.ndim]) and not t.is_contiguous()


IMAGES = [each for each in FUNCTIONS if each.id.endswith(("2d", "3d"))]


@pytest.mark.parametrize("weights_too", [False, True])
@pytest.mark.parametrize(("function", "shapes"), IMAGES)
def test_channels_last_comes_back_so(function, shapes, weights_too):
    """With the numbers of channels first, of which sums have another order, and the same gradients of both orders."""
    given = [drawn(*shape) for shape in shapes]
    moved = [
        t.detach().to(memory_format=CHANNELS_LAST[t.ndim]).requires_grad_()
        if t.ndim > 2 and (weights_too or place == 0)
        else t.detach().clone().requires_grad_()
        for place, t in enumerate(given)
    ]
    y, expected = function(*moved), function(*given)
    assert is_channels_last(y)
    torch.testing.assert_close(y.contiguous(), expected)
    (expected**2).sum().backward()
    (y**2).sum().backward()
    assert is_channels_last(moved[0].grad)
    for got, wanted in zip(moved, given, strict=True):
        torch.testing.assert_close(got.grad.contiguous(), wanted.grad)
    assert torch.autograd.gradgradcheck(function, moved, fast_mode=True)


def test_batch_norm_of_channels_last_comes_back_so():
    x, gamma, beta = drawn(3, 4, 5, 6), drawn(4), drawn(4)
    moved = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    for given in (moved, x):
        y, *_ = ours.batch_norm(given, gamma, beta)
        (y**2 * torch.arange(4.0).reshape(1, 4, 1, 1)).sum().backward()
    assert is_channels_last(ours.batch_norm(moved, gamma, beta)[0])
    assert is_channels_last(moved.grad)
    torch.testing.assert_close(moved.grad.contiguous(), x.grad)


def test_channels_last_is_read_where_it_lies(monkeypatch):
    """No tensor is copied: the kernel is given views, in the layout of their memory."""
    seen, computed = [], kernels.conv2d

    def conv2d(x, w, b, **options):
        seen.append((x, w, options["layout"]))
        return computed(x, w, b, **options)

    monkeypatch.setattr(ours.functions.kernels, "conv2d", conv2d)
    x, w = (torch.ones(shape).to(memory_format=torch.channels_last) for shape in ((2, 3, 6, 5), (4, 3, 3, 2)))
    ours.conv(x, w)
    ((array, weights, layout),) = seen
    assert (array.shape, weights.shape, layout) == ((2, 6, 5, 3), (4, 3, 2, 3), "NHWC")
    assert array.flags.c_contiguous
    assert (array.ctypes.data, weights.ctypes.data) == (x.data_ptr(), w.data_ptr())


def batch_norm(x, gamma=None, beta=None):
    return ours.batch_norm(x, gamma, beta)[0]


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 2, 3), (2, 3, 2, 2, 2)])
def test_gradients_of_batch_norm(shape):
    mean, var = torch.randn(3, dtype=torch.float64), torch.rand(3, dtype=torch.float64) + 0.5
    given = drawn(*shape), drawn(3), drawn(3)
    for function, inputs in (
        (batch_norm, given),
        (batch_norm, given[:1]),
        (lambda *a: ours.batch_norm_inference(*a, mean, var), given),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)
        first = torch.autograd.grad(function(*inputs).square().sum(), inputs)
        again = torch.autograd.grad(function(*inputs).square().sum(), inputs, create_graph=True)
        torch.testing.assert_close(again, first)


@pytest.mark.parametrize("wanted", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize(
    ("function", "theirs", "shapes"),
    [
        (ours.conv, F.conv2d, ((2, 3, 6, 5), (4, 3, 3, 2), (4,))),
        (ours.conv_transpose, F.conv_transpose2d, ((2, 3, 6, 5), (3, 4, 3, 2), (4,))),
        (ours.linear, F.linear, ((6, 5), (4, 5), (4,))),
        (batch_norm, lambda x, g, b: F.batch_norm(x, None, None, g, b, True), ((2, 3, 4, 5), (3,), (3,))),
    ],
)
def test_only_wanted_gradients_are_computed(function, theirs, shapes, wanted):
    given = [drawn(*shape).requires_grad_(needed) for shape, needed in zip(shapes, wanted, strict=True)]
    y = function(*given)
    assert y.requires_grad == any(wanted)
    if not any(wanted):
        return
    dy = torch.randn_like(y)
    y.backward(dy)
    found = [each.grad for each in given]
    for each in given:
        each.grad = None
    theirs(*given).backward(dy)
    for grad, each in zip(found, given, strict=True):
        assert (grad is None) == (each.grad is None)
        if grad is not None:
            torch.testing.assert_close(grad, each.grad, rtol=1e-11, atol=1e-11)


def test_a_frozen_layer_costs_no_weight_gradient(monkeypatch):
    monkeypatch.setattr(kernels, "conv2d_weight_grad", None)
    monkeypatch.setattr(kernels, "conv2d_parameter_grads", None)
    x, w, b = drawn(1, 2, 5, 5), drawn(3, 2, 3, 3).detach(), drawn(3)
    ours.conv(x, w, b).sum().backward()
    assert x.grad is not None
    assert b.grad is not None


def test_two_uses_of_a_tensor_add_up():
    x, w = drawn(2, 2, 5, 5), drawn(2, 2, 3, 3)
    (ours.conv(x, w, padding=1) * ours.conv(x, w, padding=1)).sum().backward()
    expected = torch.autograd.grad((F.conv2d(x, w, padding=1) ** 2).sum(), (x, w))
    torch.testing.assert_close((x.grad, w.grad), expected)


@pytest.mark.parametrize("dtype", NAMES)
def test_dtypes_and_strides(dtype):
    """Among them channels_last, transposed, sliced and expanded tensors."""
    x = torch.randn(2, 6, 9, 8).to(dtype)[:, ::2].to(memory_format=torch.channels_last)
    w = torch.randn(3, 2, 3, 4).to(dtype).permute(3, 0, 1, 2)
    for given in (x, x.transpose(2, 3), x[:1].expand(3, -1, -1, -1)):
        leaf, twin = given.clone().requires_grad_(), given.double().clone().requires_grad_()
        y, expected = ours.conv(leaf, w, stride=2), F.conv2d(twin, w.double(), stride=2)
        assert y.dtype == dtype
        assert is_channels_last(y) if is_channels_last(leaf) else y.is_contiguous()
        y.sum().backward()  # whose dy is expanded from one number
        expected.sum().backward()
        for got, right in ((y, expected), (leaf.grad, twin.grad)):
            torch.testing.assert_close(got.double(), right, rtol=NAMES[dtype], atol=NAMES[dtype] * 8)


def test_autocast_computes_products_in_its_dtype():
    x, w, b = (drawn(*shape, dtype=torch.float32) for shape in ((2, 3, 8, 8), (4, 3, 3, 3), (4,)))
    m, s = drawn(5, 4, dtype=torch.float32), drawn(2, 4, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, z = ours.conv(x, w, b), ours.linear(s, m.double())
        normalised = ours.BatchNorm2d(4)(y)
        assert ours.max_pool(x, 2).dtype == torch.float32
        assert F.conv2d(x, w, b).dtype == y.dtype == normalised.dtype == torch.bfloat16
        assert z.dtype == F.linear(s, m.double()).dtype == torch.float64
    normalised.sum().backward()
    assert {x.grad.dtype, w.grad.dtype, b.grad.dtype} == {torch.float32}
    torch.testing.assert_close(y.float(), F.conv2d(x, w, b), rtol=2e-2, atol=5e-2)  # bfloat16 rounds to 2**-9


def test_what_cannot_be_computed_is_refused():
    x, w = drawn(1, 2, 5, 5), drawn(3, 2, 3, 3)
    with pytest.raises(TypeError, match=r"conv2d: x.dtype is int64"):
        ours.conv(x.long(), w)
    with pytest.raises(TypeError, match=r"w.dtype is float64; expected float32 as x"):
        ours.conv(x.float(), w)
    with pytest.raises(TypeError, match="got a tensor on meta; expected one on the CPU or on CUDA"):
        ours.conv(x.to("meta"), w.to("meta"))
    with pytest.raises(ValueError, match="padding"):
        ours.max_pool(x, 2, padding=2)
    y = ours.conv(x, w)
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_without_torch_the_extra_is_named():
    code = "import sys; sys.modules['torch'] = None; import backstride; import backstride.interop.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'backstride[torch]'" in done.stderr


# --- memory


@pytest.mark.parametrize("dtype", NAMES)
def test_cpu_tensors_and_arrays_share_memory(dtype):
    given = torch.arange(24).to(dtype).reshape(4, 6)
    for tensor in (given, given.t(), given[::2, 1::3], given[1:2]):
        array = tensors.array(tensor.requires_grad_(False))
        assert array.ctypes.data == tensor.data_ptr()
        assert array.dtype.name == str(dtype).removeprefix("torch.")
        np.testing.assert_array_equal(array.astype(np.float64), tensor.double().numpy())
        again = tensors.tensor(array)
        assert (again.data_ptr(), again.dtype, again.stride()) == (tensor.data_ptr(), dtype, tensor.stride())
    assert tensors.array(None) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU and PyTorch's CUDA build")
@pytest.mark.parametrize("dtype", NAMES)
def test_cuda_tensors_share_memory_and_streams(dtype):
    """The work is queued behind PyTorch's on the same stream: what a slow product writes last is what is read."""
    cupy = pytest.importorskip("cupy")
    tensor = torch.arange(24, device="cuda").to(dtype).reshape(4, 6)[:, ::2]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), tensors.current(tensor.device):
        array = tensors.array(tensor)
        assert isinstance(array, cupy.ndarray)
        assert cupy.cuda.get_current_stream().ptr == stream.cuda_stream
        assert array.data.ptr == tensor.data_ptr() == tensors.tensor(array).data_ptr()
    w = torch.randn(8, 3, 3, 3, device="cuda").to(dtype).requires_grad_()
    busy = torch.randn(4096, 4096, device="cuda")
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        x = torch.zeros(4, 3, 16, 16, device="cuda", dtype=dtype)
        for _ in range(20):
            busy = busy @ busy / 4096
        x.copy_(torch.randn_like(x)).requires_grad_()
        y = ours.conv(x, w, padding=1)
        y.sum().backward()
    stream.synchronize()
    given = [each.detach().cpu().double().requires_grad_() for each in (x, w)]
    expected = F.conv2d(*given, padding=1)
    expected.sum().backward()
    # dw adds up 1024 elements of x; 16-bit is rounded once
    for got, right in ((y, expected), (x.grad, given[0].grad), (w.grad, given[1].grad)):
        torch.testing.assert_close(got.cpu().double(), right, rtol=NAMES[dtype], atol=NAMES[dtype] * 100)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU and PyTorch's CUDA build")
def test_a_converted_network_on_cuda_learns_as_pytorchs():
    losses = [trained(network().float().cuda(), 10, convert) for convert in (False, True)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)  # float32, and PyTorch may take TF32


# --- modules


def modules(rank: int):
    """Names and arguments of modules, and the channels of their input."""
    yield "Conv", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, 4
    yield "Conv", (4, 4, 2), {"padding": "same", "dilation": 2, "bias": False}, 4
    yield "Conv", (4, 3, per_axis(rank, 2, 3, 1)), {"padding": 1, "padding_mode": "circular"}, 4
    yield "ConvTranspose", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, 4
    yield "ConvTranspose", (4, 3, per_axis(rank, 2, 3, 1)), {"dilation": 2, "output_padding": 1, "bias": False}, 4
    yield "MaxPool", (3, 2), {"padding": 1, "ceil_mode": True}, 3
    yield "MaxPool", (2,), {"dilation": 2, "return_indices": True}, 3
    yield "AvgPool", (3,), {"stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}, 3
    yield "AdaptiveAvgPool", (3,), {}, 3
    if rank > 1:
        yield "AvgPool", (per_axis(rank, 2, 3, 2),), {"divisor_override": 5}, 3
        yield "AdaptiveAvgPool", ((None, *per_axis(rank - 1, 4, 2)),), {}, 3


def cases():
    for rank in RANKS:
        for name, arguments, options, channels in modules(rank):
            for shape in ((2, channels, *per_axis(rank, 6, 7, 8)), (channels, *per_axis(rank, 6, 7, 8))):
                yield pytest.param(f"{name}{rank}d", arguments, options, shape, id=f"{name}{rank}d {options} {shape}")
    for shape in ((5,), (3, 5), (2, 3, 5)):
        yield pytest.param("Linear", (5, 4), {}, shape, id=f"Linear {shape}")
    yield pytest.param("Linear", (5, 4), {"bias": False}, (3, 5), id="Linear without bias")


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), list(cases()))
def test_modules(name, arguments, options, shape):
    theirs = getattr(nn, name)(*arguments, **options).double()
    twin = getattr(ours, name)(*arguments, **options).double()
    assert repr(twin) == repr(theirs)
    twin.load_state_dict(theirs.state_dict())
    x = drawn(*shape)
    results = []
    for module in (theirs, twin):
        y = module(x)
        y, *indices = y if isinstance(y, tuple) else (y,)
        torch.manual_seed(1)
        wanted = [x, *module.parameters()]
        results.append((y, *indices, *torch.autograd.grad(y, wanted, torch.randn_like(y))))
    torch.testing.assert_close(results[1], results[0], rtol=1e-11, atol=1e-11)


def test_modules_refuse_other_numbers_of_axes():
    with pytest.raises(
        ValueError, match=r"the input has 5 axes; expected \(N, C, \*X\) or \(C, \*X\) with 2 axes in X"
    ):
        ours.MaxPool2d(2)(torch.zeros(1, 2, 3, 4, 5))


def test_output_size_of_a_transposed_convolution():
    layer = ours.ConvTranspose2d(2, 3, 3, stride=2)
    assert layer(torch.zeros(1, 2, 4, 4), output_size=[10, 9]).shape == (1, 3, 10, 9)


@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize(("rank", "shape"), [(1, (5, 3)), (1, (4, 3, 5)), (2, (4, 3, 2, 2)), (3, (2, 3, 1, 2, 2))])
def test_batch_norm(rank, shape, tracked, affine, momentum):
    options = {"affine": affine, "track_running_stats": tracked, "momentum": momentum}
    theirs = getattr(nn, f"BatchNorm{rank}d")(3, **options).double()
    if affine:
        nn.init.normal_(theirs.weight), nn.init.normal_(theirs.bias)
    twin = ours.convert(copy.deepcopy(theirs))
    assert type(twin) is getattr(ours, f"BatchNorm{rank}d")
    for training in (True, True, False):
        x = drawn(*shape)
        found = []
        for module in (theirs.train(training), twin.train(training)):
            y = module(x)
            found.append((y, *torch.autograd.grad(y.square().sum() + y.sum(), [x, *module.parameters()])))
        torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(dict(twin.state_dict()), dict(theirs.state_dict()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("parameters", [torch.float32, torch.bfloat16])
def test_batch_norm_in_bfloat16(parameters):
    x = torch.randn(8, 3, 4, 4).bfloat16()
    layer = ours.BatchNorm2d(3).to(parameters)
    y = layer(x)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert layer.weight.grad.dtype == layer.running_mean.dtype == parameters
    torch.testing.assert_close(y.float(), F.batch_norm(x.float(), None, None, training=True), rtol=1e-2, atol=1e-2)


def test_batch_norm_of_one_value_is_refused_in_training():
    layer = ours.BatchNorm1d(3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(torch.zeros(1, 3))
    assert layer.num_batches_tracked == 0
    assert layer.eval()(torch.zeros(1, 3)).shape == (1, 3)


# --- whole networks


class Block(nn.Module):
    """A residual block as torchvision's ResNets have it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.downsample(x))


def network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        Block(8, 8, 1),
        Block(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    ).double()


def trained(net, steps, convert, swap_at=None):
    """The losses of `steps` steps; converted from the beginning, or changed to and fro at a step."""
    if convert:
        ours.convert(net)
    parameter = next(net.parameters())
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    torch.manual_seed(4)
    losses = []
    for step in range(steps):
        if step == swap_at:
            ours.convert(net, back=convert)
        x, labels = torch.randn(8, 3, 20, 20), torch.randint(0, 5, (8,))
        x = x.to(parameter) + labels.to(parameter)[:, None, None, None] / 3
        loss = F.cross_entropy(net(x), labels.to(parameter.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_a_converted_network_learns_as_pytorchs():
    """In float64, where 50 steps do not blow up the differences between two orders of summation."""
    theirs = trained(network(), 50, False)
    np.testing.assert_allclose(trained(network(), 50, True), theirs, rtol=1e-6)
    np.testing.assert_allclose(trained(network(), 20, False, swap_at=10), theirs[:20], rtol=1e-8)
    np.testing.assert_allclose(trained(network(), 20, True, swap_at=10), theirs[:20], rtol=1e-8)
    assert np.mean(theirs[-10:]) < 0.8 * np.mean(theirs[:10])


def test_convert_is_in_place_and_back():
    net = network().eval()
    net[5].train()
    seen = []
    net[0].register_forward_hook(lambda *_: seen.append(1))
    before = {name: (value.data_ptr(), value.shape) for name, value in net.state_dict().items()}
    kinds, modes = [type(m) for m in net.modules()], [m.training for m in net.modules()]
    assert ours.convert(net) is net
    assert {name: (value.data_ptr(), value.shape) for name, value in net.state_dict().items()} == before
    assert [m.training for m in net.modules()] == modes
    assert {type(m).__name__ for m in net.modules() if type(m).__module__ == "backstride.interop.torch.modules"} == {
        "Conv2d",
        "BatchNorm2d",
        "MaxPool2d",
        "AdaptiveAvgPool2d",
        "Linear",
    }
    net(torch.zeros(1, 3, 32, 32, dtype=torch.float64))
    assert seen == [1]
    copied = copy.deepcopy(net)
    assert ours.convert(net, back=True) is net
    assert [type(m) for m in net.modules()] == kinds
    assert type(copied[0]) is ours.Conv2d


def test_convert_leaves_subclasses_alone():
    class Own(nn.Conv2d):
        pass

    net = nn.Sequential(Own(3, 4, 3), nn.Conv2d(4, 4, 3))
    ours.convert(net)
    assert [type(m) for m in net] == [Own, ours.Conv2d]
    lonely = ours.convert(nn.Linear(2, 2))
    assert type(lonely) is ours.Linear
