"""Pooling with channels last: every width of the CUDA kernels' words, launches in parts, and what is refused. Its
configurations are in test_axes."""

from __future__ import annotations

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_exact, dtype_of, integers

from backstride import kernels, use_batch_invariant
from backstride.kernels.cuda.offline.dryrun import Device, DryArray, Launch, dry_run
from backstride.kernels.cuda.runtime import arrays
from backstride.kernels.layout import NHWC
from backstride.kernels.pool import cuda
from backstride.kernels.pool.geometry import AdaptivePoolGeometry, AvgPoolGeometry, PoolGeometry

OVERLAPPING = {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1)), "layout": NHWC}
MANY_TAPS = {"kernel_size": (17, 16), "stride": 9, "padding": (8, 7), "layout": NHWC}
"""Whose taps are 16 bits wide."""


def check(run, x: np.ndarray, dtype: np.dtype, options: dict, rng: np.random.Generator) -> None:
    """Every operation equals the reference exactly; averages are divided by 2."""
    exact_y, exact_taps = reference.max_pool(x, **options)
    y, taps = run(kernels.max_pool2d, x.astype(dtype), **options)
    assert_exact(y, exact_y)
    np.testing.assert_array_equal(taps.astype(np.int64), exact_taps)
    indices = run(kernels.max_pool2d_indices, taps, x.shape, **options)
    np.testing.assert_array_equal(indices, reference.max_pool_indices(exact_taps, x.shape, **options))
    dy = integers(rng, y.shape)
    dx = run(kernels.max_pool2d_grad, dy.astype(dtype), taps, x.shape, **options)
    assert_exact(dx, reference.max_pool_grad(dy, exact_taps, x.shape, **options))

    numbers, halves = integers(rng, x.shape), options | {"divisor_override": 2}
    y = run(kernels.avg_pool2d, numbers.astype(dtype), **halves)
    assert_exact(y, reference.avg_pool(numbers, **halves).astype(dtype))
    dx = run(kernels.avg_pool2d_grad, dy.astype(dtype), x.shape, **halves)
    assert_exact(dx, reference.avg_pool_grad(dy, x.shape, **halves).astype(dtype))


def special(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1.0, -0.0, 0.0, 1.0, np.nan, np.inf, -np.inf], shape)


@pytest.mark.parametrize("options", [OVERLAPPING, MANY_TAPS], ids=["overlapping", "many taps"])
@pytest.mark.parametrize("channels", [1, 2, 4, 8, 24])
@pytest.mark.parametrize("dtype", DTYPES)
def test_words_of_every_width(path, dtype, channels, options, rng):
    check(path.run, special(rng, (2, 9, 10, channels)), dtype_of(dtype), options, rng)


@pytest.mark.parametrize("channels", [1, 2, 4, 8, 24])
@pytest.mark.parametrize("dtype", DTYPES)
def test_adaptive_words_of_every_width(path, dtype, channels, rng):
    """Windows of 2 x 1, 2 x 2 and 1 x 1 elements."""
    x, dtype = 4 * integers(rng, (2, 3, 5, channels)), dtype_of(dtype)
    y = path.run(kernels.adaptive_avg_pool2d, x.astype(dtype), (2, 4), layout=NHWC)
    assert_exact(y, reference.adaptive_avg_pool(x, (2, 4), layout=NHWC))
    dy = 4 * integers(rng, y.shape)
    dx = path.run(kernels.adaptive_avg_pool2d_grad, dy.astype(dtype), x.shape, layout=NHWC)
    assert_exact(dx, reference.adaptive_avg_pool_grad(dy, x.shape, layout=NHWC))


def test_arrays_that_are_not_contiguous(path, rng):
    """Channels first in memory, and images that begin at no multiple of 16 bytes."""
    first, odd = (integers(rng, shape).astype(np.float32) for shape in ((2, 8, 9, 11), (3, 7, 5, 3)))
    for x, view in ((first, lambda a: a.transpose(0, 2, 3, 1)), (odd, lambda a: a[1:])):
        y = path.run(lambda a, view=view: kernels.max_pool2d(view(a), **OVERLAPPING)[0], x)
        assert_exact(y, reference.max_pool(view(x), **OVERLAPPING)[0])


@pytest.mark.emulated
def test_a_launch_for_each_part_of_the_images(monkeypatch, rng):
    """As many as 32 bits reach, here two of five."""
    image = 9 * 10 * 4
    monkeypatch.setattr(arrays, "MAX_INDEX", 2 * image + 1)
    with emulator.installed() as cupy, emulator.record_launches() as launches:

        def run(function, *given, **options):
            result = function(*(cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in given), **options)
            return tuple(a.get() for a in result) if isinstance(result, tuple) else result.get()

        check(run, special(rng, (5, 9, 10, 4)), np.dtype(np.float32), OVERLAPPING, rng)
    names = [launch.name for launch in launches]
    assert {name: names.count(name) for name in names} == {
        "max_pool_nhwc": 3,
        "max_pool_indices": 2,  # three of them: of y alone
        "max_pool_grad_nhwc": 3,
        "avg_pool_nhwc": 3,
        "avg_pool_grad_nhwc": 3,
    }


def launches_of(operation: str, dtype: str, shape: tuple[int, ...], **options) -> list[Launch]:
    if operation.startswith("adaptive"):
        g = AdaptivePoolGeometry.of(operation, shape, output_size=4, layout=NHWC)
    else:
        of = AvgPoolGeometry.of_average if operation.startswith("avg") else PoolGeometry.of
        g = of(operation, shape, **{"kernel_size": 3, "layout": NHWC, **options})
    device = Device(90, 132)
    given = [DryArray(g.y_shape if operation.endswith("grad") else g.x_shape, dtype_of(dtype), device)]
    if operation == "max_pool_grad":
        given.append(DryArray(g.y_shape, g.tap_dtype, device))
    return dry_run(getattr(cuda, operation), (*given, g), device).launches


OPERATIONS = ["max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad", "adaptive_avg_pool", "adaptive_avg_pool_grad"]


@pytest.mark.parametrize(
    ("dtype", "channels", "vec"),
    [
        ("float16", 64, 8),
        ("bfloat16", 12, 4),
        ("float32", 64, 4),
        ("float32", 6, 2),
        ("float64", 8, 2),
        ("float64", 7, 1),
    ],
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_launch_by_the_widest_words(operation, dtype, channels, vec):
    """Nothing is copied to another layout."""
    (launch,) = launches_of(operation, dtype, (2, 9, 10, channels))
    assert (launch.entry, launch.defines["VEC"]) == (f"{operation}_nhwc", str(vec))


@pytest.mark.parametrize("operation", ["max_pool", "max_pool_grad"])
def test_words_of_taps_are_no_wider_than_a_load(operation):
    (launch,) = launches_of(operation, "float16", (2, 300, 260, 64), kernel_size=(257, 256))
    assert (launch.defines["TAP"], launch.defines["VEC"]) == ("int", "4")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_image_beyond_32_bits_is_refused(operation):
    with pytest.raises(ValueError, match="image is 2147483648; expected less than 2147479552 on CUDA"):
        launches_of(operation, "float16", (1, 1024, 1024, 2048))


@pytest.mark.parametrize(
    ("dtype", "shape", "kernel", "lanes"),
    [
        ("float32", (1, 7, 7, 2048), 7, 8),  # of 49 taps, 4 to a thread at least
        ("float16", (1, 56, 56, 64), 56, 128),  # a block
        ("float32", (1, 224, 224, 128), 14, 8),  # 32 words of 256 windows: 2**16 threads
        ("float32", (1, 224, 224, 256), 7, 1),
        ("float32", (64, 7, 7, 2048), 7, 2),
        ("float32", (1, 7, 7, 2048), 3, 1),
    ],
)
@pytest.mark.parametrize("operation", ["max_pool", "avg_pool"])
def test_few_large_windows_are_shared(operation, dtype, shape, kernel, lanes):
    (launch,) = launches_of(operation, dtype, shape, kernel_size=kernel)
    assert launch.defines["LANES"] == str(lanes)
    words = shape[0] * (shape[1] // kernel) ** 2 * shape[3] // int(launch.defines["VEC"])
    assert launch.blocks == -(-words * lanes // 128)


def test_the_threads_of_a_window_are_one_images_where_that_decides_the_bits():
    with use_batch_invariant():
        found = [
            launches_of("avg_pool", "float32", (n, 7, 7, 2048), kernel_size=7)[0].defines["LANES"] for n in (1, 64)
        ]
    assert found == ["8", "8"]


@pytest.mark.parametrize("shape", [(3, 2, 4, 5, 6), (2, 5, 6), (2, 7, 9, 8)])
def test_one_window_of_adaptive_pooling_is_that_of_average_pooling(shape):
    g = AdaptivePoolGeometry.of("adaptive", shape, output_size=1, layout=NHWC, rank=len(shape) - 2)
    device = Device(90, 132)
    (launch,) = dry_run(cuda.adaptive_avg_pool, (DryArray(g.x_shape, "float32", device), g), device).launches
    assert launch.entry == "avg_pool_nhwc"
