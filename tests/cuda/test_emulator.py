"""The emulator itself: each kind of fault is caught, and the host twins of the primitives mean what PTX means."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import emulator
import ml_dtypes
import numpy as np
import pytest

from backstride.kernels.cuda.runtime import launch
from backstride.kernels.cuda.runtime.loader import sources

PRIMITIVES = sources()["primitives.cuh"].read_text(encoding="utf-8")
WARP = 32


@pytest.fixture
def cupy() -> Iterator[ModuleType]:
    with emulator.installed() as module:
        yield module


def kernel(cupy: ModuleType, text: str) -> Any:
    """The entry point `k` of a kernel text that may use the primitives."""
    return cupy.RawModule(code=PRIMITIVES + text, options=("-std=c++17",)).get_function("k")


def run_lanes(cupy: ModuleType, text: str, *inputs: np.ndarray, output: np.ndarray) -> np.ndarray:
    """`output` after one warp ran k(inputs..., output)."""
    arrays = [cupy.asarray(a) for a in (*inputs, output)]
    kernel(cupy, text)((1,), (WARP,), tuple(arrays))
    return arrays[-1].get()


# --- faults ------------------------------------------------------------------------------------------------
# Each kernel gets x and y, float arrays of 100 elements, and runs in 2 blocks of 64 threads with 256 bytes of
# dynamic shared memory.
FAULTS = {
    "read one past the end": (
        "y[i < 100 ? i : 0] = x[i < 101 ? i : 0];",
        r"block \(1, 0, 0\), thread \(36, 0, 0\): out-of-bounds read of 4 bytes, 0 bytes after .* array of 400 bytes",
    ),
    "read one before the start": ("y[i % 100] = x[i % 100 - 1];", "out-of-bounds read of 4 bytes, 4 bytes before"),
    "write one past the end": ("if (i < 101) y[i] = 0;", "out-of-bounds write of 4 bytes, 0 bytes after the end"),
    "write before the start": ("if (i == 0) y[-1] = 0;", "out-of-bounds write of 4 bytes, 4 bytes before"),
    "vector over the end": ("if (i < 26) ((float4*)y)[i] = float4{};", "out-of-bounds write of 16 bytes"),
    "address without memory": ("if (i == 0) y[1 << 30] = 1;", "SEGV on unknown address"),
    "null pointer": ("if (i == 0) *(float*)0 = 1;", "null pointer"),
    "shared memory over the end": ("shared[threadIdx.x + 1] = 0;", "bytes after the end of dynamic shared memory"),
    "static array over the end": (
        "float __shared__ row[64]; row[(threadIdx.x + 1) % 65] = 0;",
        "index 64 out of bounds",
    ),
    "misaligned vector load": ("if (i < 10) y[i] = ((const float4*)(x + 1))[i].x;", "misaligned address"),
    "misaligned vector store": ("Vec<float, 4> v{}; if (i == 3) *(Vec<float, 4>*)(y + i) = v;", "misaligned address"),
    "missing barrier": ("shared[t] = 1; if (i < 100) y[i] = shared[63 - t];", "race on shared memory"),
    "missing barrier before overwriting": (
        "shared[t] = 1; __syncthreads(); float v = shared[63 - t]; shared[t] = v;",
        "race on shared memory",
    ),
    "missing __syncwarp": ("shared[t] = 1; if (i < 100) y[i] = shared[t ^ 1];", "race on shared memory"),
    "barrier that some threads skip": (
        "if (t < 40) __syncthreads();",
        r"divergent barrier: thread \(\d+, 0, 0\) has ended while thread \(\d+, 0, 0\) waits at the barrier in line",
    ),
    "two different barriers": (
        "if (t < 40)\n __syncthreads();\n else\n __syncthreads();",
        "divergent barrier: .* waits at the barrier in line .* while .* waits at the barrier in line",
    ),
    "shuffle that some lanes skip": ("if (t % 32 < 31) shuffle_xor(1.0f, 1);", "__shfl_xor_sync"),
    "two different shuffles": (
        "float v = t % 32 < 16 ? shuffle_xor(1.0f, 1) : shuffle_down(1.0f, 1); if (i < 100) y[i] = v;",
        "divergent warp",
    ),
    "barrier beside a shuffle": (
        "if (t < 32) __syncthreads(); else if (t < 48) shuffle_xor(1.0f, 1); else __syncthreads();",
        "divergent barrier: .* waits in __shfl_xor_sync while",
    ),
    "cp.async from outside": ("cp_async<4>(shared + t, x + i, true);", "out-of-bounds read of 4 bytes"),
    "zero-filling cp.async from outside": ("cp_async<4>(shared + t, x + 100, false);", "out-of-bounds read of 1 bytes"),
    "cp.async to misaligned shared memory": ("cp_async<16>(shared + 1, x, true);", "not a multiple of 16"),
    "cp.async from misaligned global memory": ("cp_async<8>(shared, x + 1, false);", "not a multiple of 8"),
    "cp.async to global memory": ("cp_async<4>(y, x, true);", "not all in shared memory"),
    "cp.async that lands under a reader": (
        "cp_async<4>(shared + t, x, true); cp_async_commit(); __syncthreads(); float v = shared[t ^ 1];"
        "cp_async_wait<0>(); if (i < 100) y[i] = v;",
        "race on shared memory",
    ),
    "integer overflow": ("if (i < 100) y[i] = (i + 1) * 2147483647;", "signed integer overflow"),
    "__trap": ("if (i == 70) __trap();", r"block \(1, 0, 0\), thread \(6, 0, 0\): __trap"),
}

FAULT_KERNEL = """
extern "C" __global__ void k(const float* x, float* y) {
    extern __shared__ float shared[];
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    BODY
}
"""


@pytest.mark.parametrize(("body", "message"), FAULTS.values(), ids=FAULTS)
def test_fault_is_caught(cupy: ModuleType, body: str, message: str) -> None:
    x, y = cupy.zeros(100, "f4"), cupy.zeros(100, "f4")
    faulty = kernel(cupy, FAULT_KERNEL.replace("BODY", body))
    with pytest.raises(emulator.EmulatorFault, match=message):
        faulty((2,), (64,), (x, y), shared_mem=256)


@pytest.mark.parametrize(
    "body",
    [
        "if (i < 100) y[i] = x[i];",
        "shared[t] = 1; __syncthreads(); if (i < 100) y[i] = shared[63 - t];",
        "shared[t] = 1; __syncwarp(); if (i < 100) y[i] = shared[t ^ 1];",
        "shared[t] = x[0]; __syncthreads(); float v = shared[63 - t]; __syncthreads(); shared[t] = v;",
        "if (i < 25) ((float4*)y)[i] = ((const float4*)x)[i];",
        "float __shared__ row[64]; row[t] = 0; __syncthreads(); if (i < 100) y[i] = row[63 - t];",
        "atomicAdd((int*)y, 1);",
    ],
)
def test_right_kernel_has_no_fault(cupy: ModuleType, body: str) -> None:
    x, y = cupy.zeros(100, "f4"), cupy.zeros(100, "f4")
    kernel(cupy, FAULT_KERNEL.replace("BODY", body))((2,), (64,), (x, y), shared_mem=256)


def test_fault_names_kernel_and_line_and_leaves_the_device_usable(cupy: ModuleType) -> None:
    x, y = cupy.arange(100, dtype="f4"), cupy.zeros(100, "f4")
    wrong = kernel(cupy, FAULT_KERNEL.replace("BODY", "y[i] = x[i];"))
    right = kernel(cupy, FAULT_KERNEL.replace("BODY", "if (i < 100) y[i] = x[i];"))
    with pytest.raises(emulator.EmulatorFault, match=r"k, block .*\n  k, line \d+: y\[i\] = x\[i\];"):
        wrong((2,), (64,), (x, y))
    right((2,), (64,), (x, y))
    np.testing.assert_array_equal(y.get(), np.arange(100))


def test_freed_memory_and_memory_of_another_device_are_out_of_bounds(cupy: ModuleType) -> None:
    copy = kernel(cupy, 'extern "C" __global__ void k(const float* x, float* y) { *y = *x; }')
    with cupy.cuda.Device(1):
        elsewhere = cupy.zeros(1, "f4")
    y = cupy.zeros(1, "f4")
    freed = cupy.zeros(1, "f4").data.ptr
    for address in (elsewhere.data.ptr, freed):
        with pytest.raises(emulator.EmulatorFault, match="read of 4 bytes"):
            copy((1,), (1,), (np.uint64(address), y))


def test_kernel_that_never_ends_is_stopped(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATOR_TIMEOUT", "0.5")
    spin = kernel(cupy, 'extern "C" __global__ void k(volatile int* y) { while (*y); }')
    with pytest.raises(emulator.EmulatorFault, match="did not end within"):
        spin((1,), (1,), (cupy.ones(1, "i4"),))


# --- poison: what was never written shows as NaN -----------------------------------------------------------
def test_unwritten_output_is_nan(cupy: ModuleType) -> None:
    y = cupy.empty((3, 5), "f2")
    assert np.isnan(y.get()).all()


def test_grid_one_block_short_leaves_nan(cupy: ModuleType) -> None:
    y = cupy.empty(100, "f4")
    fill = kernel(cupy, 'extern "C" __global__ void k(float* y) { y[blockIdx.x * 50 + threadIdx.x] = 1; }')
    fill((1,), (50,), (y,))
    assert np.isnan(y.get()[50:]).all()
    fill((2,), (50,), (y,))
    assert (y.get() == 1).all()


DECLARATIONS = (
    "__shared__ float shared[1]",
    "__shared__ alignas(16) float shared[1]",
    "extern __shared__ float shared[]",
    "extern __shared__ __align__(16) float shared[]",
)


@pytest.mark.parametrize("declaration", DECLARATIONS)
def test_every_block_starts_with_nan_in_shared_memory(cupy: ModuleType, declaration: str) -> None:
    y = cupy.zeros(8, "f4")
    text = 'extern "C" __global__ void k(float* y) { DECLARATION; y[blockIdx.x] = shared[0]; shared[0] = 1; }'
    kernel(cupy, text.replace("DECLARATION", declaration))((8,), (1,), (y,), shared_mem=4)
    assert np.isnan(y.get()).all()


STAGED = """
extern "C" __global__ void k(const float* x, float* y) {
    __shared__ __align__(16) float stage[2][32];
    int t = threadIdx.x;
    cp_async<4>(&stage[0][t], x + t, true);
    cp_async_commit();
    cp_async<4>(&stage[1][t], x, t % 2);
    cp_async_commit();
    cp_async_wait<WAIT>();
    __syncthreads();
    y[t] = stage[0][31 - t];
    y[32 + t] = stage[1][31 - t];
}
"""


@pytest.mark.parametrize(("wait", "landed"), [(2, 0), (1, 1), (0, 2)])
def test_cp_async_lands_at_its_wait_and_not_before(cupy: ModuleType, wait: int, landed: int) -> None:
    x = np.arange(1, 33, dtype="f4")
    y = run_lanes(cupy, f"#define WAIT {wait}" + STAGED, x, output=np.zeros(64, "f4")).reshape(2, 32)
    expected = np.array([x[::-1], [1, 0] * 16], "f4")
    expected[landed:] = np.nan
    np.testing.assert_array_equal(y, expected)


def test_before_sm_80_copies_are_immediate(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATOR_SM", "75")
    y = run_lanes(cupy, "#define WAIT 2" + STAGED, np.ones(32, "f4"), output=np.zeros(64, "f4"))
    np.testing.assert_array_equal(y, [1] * 32 + [1, 0] * 16)


# --- order -------------------------------------------------------------------------------------------------
def test_threads_and_blocks_run_in_an_order_of_the_seed(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """extern "C" __global__ void k(int* next, int* order) {
        order[atomicAdd(next, 1)] = blockIdx.x * 64 + threadIdx.x;
    }"""

    def order(seed: str) -> list[int]:
        monkeypatch.setenv("EMULATOR_SEED", seed)
        found = cupy.zeros(512, "i4")
        kernel(cupy, text)((8,), (64,), (cupy.zeros(1, "i4"), found))
        return found.tolist()

    assert sorted(order("1")) == list(range(512))
    assert order("1") == order("1") != order("2")
    blocks = [thread // 64 for thread in order("1")][::64]
    assert blocks != sorted(blocks)
    assert order("1")[:64] != sorted(order("1")[:64])


SOME_SHARED = """extern "C" __global__ void k(int* y) {
    __shared__ int turned[4];
    turned[3 - threadIdx.x] = threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = turned[threadIdx.x];
}"""


# --- what the driver and CuPy refuse -----------------------------------------------------------------------
def test_launches_that_the_driver_refuses(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = kernel(cupy, 'extern "C" __global__ void k() {}')
    one = (1,)
    refused = [((0,), one, 0), (one, (1025,), 0), ((1, 65536), one, 0), (one, (32, 33), 0), (one, one, 48 * 1024 + 1)]
    for grid, block, shared in refused:
        with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
            nothing(grid, block, (), shared_mem=shared)
    nothing.max_dynamic_shared_size_bytes = 100 << 10
    nothing((1,), (1,), (), shared_mem=100 << 10)
    monkeypatch.setenv("EMULATOR_SM", "86")
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        nothing.max_dynamic_shared_size_bytes = 100 << 10


def test_static_shared_memory_counts_against_the_limit(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    some = kernel(cupy, SOME_SHARED)
    assert some.shared_size_bytes == 16
    some((1,), (4,), (cupy.zeros(4, "i4"),), shared_mem=(48 << 10) - 16)
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        some((1,), (4,), (cupy.zeros(4, "i4"),), shared_mem=48 << 10)
    monkeypatch.setenv("EMULATOR_SM", "90")
    some.max_dynamic_shared_size_bytes = (227 << 10) - 16
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        some.max_dynamic_shared_size_bytes = 227 << 10


def test_a_launch_asks_for_shared_memory_as_soon_as_it_needs_it_and_never_for_less(cupy: ModuleType) -> None:
    """Static and dynamic memory together are what blocks have 48 KiB of; a kept launch relies on what was asked for."""
    some = kernel(cupy, SOME_SHARED)
    for shared, asked in ((32, 48 * 1024 - 16), (48, 48 * 1024), (80, 80 * 1024), (60, 80 * 1024)):
        launch.ask_for_shared_memory(some, shared * 1024)
        assert some.max_dynamic_shared_size_bytes == asked
        some((1,), (4,), (cupy.zeros(4, "i4"),), shared_mem=shared * 1024)


def test_two_threads_that_ask_for_shared_memory_leave_the_larger() -> None:
    """While one is between reading and setting the limit, the other must wait."""

    class Function:
        shared_size_bytes, limit = 0, 48 << 10

        @property
        def max_dynamic_shared_size_bytes(self) -> int:
            found = self.limit
            if not other.is_alive() and found == 48 << 10:
                other.start()
                other.join(0.2)  # long enough for one that does not wait
            return found

        @max_dynamic_shared_size_bytes.setter
        def max_dynamic_shared_size_bytes(self, size: int) -> None:
            self.limit = size

    function = Function()
    other = threading.Thread(target=launch.ask_for_shared_memory, args=(function, 80 << 10))
    launch.ask_for_shared_memory(function, 60 << 10)
    other.join()
    assert function.limit == 80 << 10


def test_arguments_must_have_the_sizes_of_the_parameters(cupy: ModuleType) -> None:
    text = 'struct P { float* y; int n; }; extern "C" __global__ void k(P p) { p.y[p.n] = 1; }'
    y = cupy.zeros(4, "f4")
    struct = np.dtype([("y", "u8"), ("n", "i4")], align=True)
    kernel(cupy, text)((1,), (1,), (np.array([(y.data.ptr, 2)], struct),))
    np.testing.assert_array_equal(y.get(), [0, 0, 1, 0])
    with pytest.raises(emulator.EmulatorFault, match="parameter 0 of k has 16 bytes; 8 were passed"):
        kernel(cupy, text)((1,), (1,), (y,))


def test_kernel_that_does_not_compile(cupy: ModuleType) -> None:
    with pytest.raises(cupy.cuda.compiler.CompileException, match="nowhere"):
        kernel(cupy, 'extern "C" __global__ void k() { nowhere(); }')


def test_too_little_device_memory(cupy: ModuleType) -> None:
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="Out of memory allocating"):
        cupy.empty(1 << 40, "u1")


def test_launches_are_recorded_with_device_and_stream(cupy: ModuleType) -> None:
    nothing = kernel(cupy, 'extern "C" __global__ void k() {}')
    with emulator.record_launches() as launches, cupy.cuda.Device(1), cupy.cuda.Stream() as stream:
        nothing((2, 3), (4,), ())
    assert launches == [emulator.Launch("k", (2, 3, 1), (4, 1, 1), 0, 1, stream.ptr)]
    assert stream.ptr != cupy.cuda.Stream.null.ptr == cupy.cuda.get_current_stream().ptr


# --- arrays ------------------------------------------------------------------------------------------------
def test_device_arrays_and_host_arrays_do_not_mix(cupy: ModuleType) -> None:
    device, host = cupy.ones(3), np.ones(3)
    assert not isinstance(device, np.ndarray)
    for mix in (np.asarray, lambda a: a + host, lambda a: host + a, lambda a: cupy.add(a, host)):
        with pytest.raises(TypeError):
            mix(device)


def test_arrays_of_two_devices_do_not_mix(cupy: ModuleType) -> None:
    here = cupy.ones(3)
    with cupy.cuda.Device(1):
        there = cupy.ones(3)
    assert (here.device.id, there.device.id) == (0, 1)
    with pytest.raises(ValueError, match="array device = 1 while current = 0"):
        here + there


def test_array_operations(cupy: ModuleType, rng: np.random.Generator) -> None:
    host = rng.standard_normal((4, 6)).astype("f4")
    a = cupy.asarray(host)
    view = a.T[1:, ::2]
    assert view.data.ptr == a.data.ptr + 4
    assert view.strides == host.T[1:, ::2].strides
    view[...] = 0
    a += cupy.float32(1)
    host.T[1:, ::2] = 0
    np.testing.assert_array_equal(a.get(), host + 1)
    sums = cupy.maximum(a, 0).sum(axis=0, keepdims=True)
    np.testing.assert_array_equal(sums.get(), np.maximum(host + 1, 0).sum(axis=0, keepdims=True))
    assert a.sum().shape == ()
    assert np.exp(a).get() == pytest.approx(np.exp(host + 1))
    assert cupy.ascontiguousarray(a) is a
    assert cupy.ascontiguousarray(view).flags.c_contiguous


def test_waiting_for_the_device_is_counted(cupy: ModuleType) -> None:
    before = emulator.synchronisations()
    a = cupy.ones(3) * 2
    assert emulator.synchronisations() == before
    float(a.sum())
    assert emulator.synchronisations() == before + 1


# --- primitives --------------------------------------------------------------------------------------------
# Fragment layouts as the PTX ISA gives them ("Matrix Fragments for mma.m16n8k..."): the row and column of element
# i of lane's fragment. An element of 16 bits is half a register, the first one the low half.
def group(lane: int) -> int:
    return lane >> 2


def in_group(lane: int) -> int:
    return lane % 4


Layout = Callable[[int, int], tuple[int, int]]


def a_m16n8k16(lane: int, i: int) -> tuple[int, int]:
    row = group(lane) if 0 <= i < 2 or 4 <= i < 6 else group(lane) + 8
    return row, in_group(lane) * 2 + (i & 1) + (0 if i < 4 else 8)


def b_m16n8k16(lane: int, i: int) -> tuple[int, int]:
    return in_group(lane) * 2 + (i & 1) + (0 if i < 2 else 8), group(lane)


def a_m16n8k8_16bit(lane: int, i: int) -> tuple[int, int]:
    return group(lane) if i < 2 else group(lane) + 8, in_group(lane) * 2 + (i & 1)


def b_m16n8k8_16bit(lane: int, i: int) -> tuple[int, int]:
    return in_group(lane) * 2 + i, group(lane)


def a_m16n8k8_tf32(lane: int, i: int) -> tuple[int, int]:
    return group(lane) if i in (0, 2) else group(lane) + 8, in_group(lane) if i in (0, 1) else in_group(lane) + 4


def b_m16n8k8_tf32(lane: int, i: int) -> tuple[int, int]:
    return in_group(lane) if i == 0 else in_group(lane) + 4, group(lane)


def c_m16n8(lane: int, i: int) -> tuple[int, int]:
    return group(lane) if i < 2 else group(lane) + 8, in_group(lane) * 2 + (i & 1)


def a_m8n8k4_f64(lane: int, i: int) -> tuple[int, int]:
    return group(lane), in_group(lane)


def b_m8n8k4_f64(lane: int, i: int) -> tuple[int, int]:
    return in_group(lane), group(lane)


def c_m8n8k4_f64(lane: int, i: int) -> tuple[int, int]:
    return group(lane), in_group(lane) * 2 + (i & 1)


def scatter(matrix: np.ndarray, layout: Layout) -> np.ndarray:
    """The fragments of a matrix: (lane, element)."""
    return np.array([[matrix[layout(lane, i)] for i in range(matrix.size // WARP)] for lane in range(WARP)])


def gather(fragments: np.ndarray, layout: Layout, shape: tuple[int, int]) -> np.ndarray:
    """The matrix of the fragments."""
    matrix = np.full(shape, np.nan, fragments.dtype)
    for lane, fragment in enumerate(fragments):
        for i, element in enumerate(fragment):
            matrix[layout(lane, i)] = element
    return matrix


MMA = {
    "mma_m16n8k8_tf32": ((16, 8, 8), np.float32, np.float32, a_m16n8k8_tf32, b_m16n8k8_tf32, c_m16n8),
    "mma_m16n8k16_f16": ((16, 8, 16), np.float16, np.float32, a_m16n8k16, b_m16n8k16, c_m16n8),
    "mma_m16n8k16_bf16": ((16, 8, 16), ml_dtypes.bfloat16, np.float32, a_m16n8k16, b_m16n8k16, c_m16n8),
    "mma_m16n8k8_f16": ((16, 8, 8), np.float16, np.float32, a_m16n8k8_16bit, b_m16n8k8_16bit, c_m16n8),
    "mma_m8n8k4_f64": ((8, 8, 4), np.float64, np.float64, a_m8n8k4_f64, b_m8n8k4_f64, c_m8n8k4_f64),
}

MMA_KERNEL = """
template <class T, int N> struct Fragment { T at[N]; };
extern "C" __global__ void k(const Fragment<OPERAND, NA>* a, const Fragment<OPERAND, NB>* b, Fragment<SUM, ND>* d) {
    int lane = threadIdx.x;
    auto fa = a[lane]; auto fb = b[lane]; auto fd = d[lane];
    INSTRUCTION(fd.at, fa.at A_INDEX, fb.at B_INDEX);
    d[lane] = fd;
}
"""


def run_mma(cupy: ModuleType, name: str, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """c + a b by the primitive `name`."""
    _, operand, sum_, layout_a, layout_b, layout_c = MMA[name]
    register = np.dtype(np.uint32 if sum_ is np.float32 else np.float64)
    fragments_a = scatter(a.astype(operand), layout_a).view(register)
    fragments_b = scatter(b.astype(operand), layout_b).view(register)
    fragments_c = scatter(c.astype(sum_), layout_c)
    defines = {
        "INSTRUCTION": name,
        "OPERAND": "unsigned" if register == np.uint32 else "double",
        "SUM": "float" if sum_ is np.float32 else "double",
        "NA": fragments_a.shape[1],
        "NB": fragments_b.shape[1],
        "ND": fragments_c.shape[1],
        "A_INDEX": "" if fragments_a.shape[1] > 1 else "[0]",
        "B_INDEX": "" if fragments_b.shape[1] > 1 else "[0]",
    }
    text = "\n".join(f"#define {key} {value}" for key, value in defines.items()) + MMA_KERNEL
    return gather(run_lanes(cupy, text, fragments_a, fragments_b, output=fragments_c), layout_c, c.shape)


@pytest.mark.parametrize("name", MMA)
def test_mma_of_integers_is_exact(cupy: ModuleType, rng: np.random.Generator, name: str) -> None:
    m, n, k = MMA[name][0]
    a, b, c = (rng.integers(-8, 9, shape).astype(float) for shape in ((m, k), (k, n), (m, n)))
    np.testing.assert_array_equal(run_mma(cupy, name, a, b, c), c + a @ b)


@pytest.mark.parametrize("name", [name for name in MMA if "f64" not in name])
def test_mma_cuts_its_sum_towards_zero(cupy: ModuleType, name: str) -> None:
    m, n, k = MMA[name][0]
    a, b, c = np.zeros((m, k)), np.zeros((k, n)), np.ones((m, n))
    a[:, 0], b[0, :] = 1.75 * 2**-11, 2**-12  # 1 + 1.75 ulp: rounded it would be 1 + 2 ulp
    np.testing.assert_array_equal(run_mma(cupy, name, a, b, c), np.full((m, n), 1 + 2**-23))
    np.testing.assert_array_equal(run_mma(cupy, name, -a, b, -c), np.full((m, n), -1 - 2**-23))


LDMATRIX = """
extern "C" __global__ void k(const unsigned short* x, unsigned* y) {
    __shared__ __align__(16) unsigned short rows[32][8 + 8];
    for (int i = threadIdx.x; i < 256; i += 32) rows[i / 8][i % 8] = x[i];
    __syncthreads();
    unsigned d[4];
    INSTRUCTION(d, rows[threadIdx.x]);
    for (int i = 0; i < 4; ++i) y[threadIdx.x * 4 + i] = d[i];
}
"""


@pytest.mark.parametrize("transposed", [False, True])
def test_ldmatrix(cupy: ModuleType, transposed: bool) -> None:
    matrices = np.arange(256, dtype=np.uint16).reshape(4, 8, 8)
    text = f"#define INSTRUCTION ldmatrix_x4{'_trans' if transposed else ''}" + LDMATRIX
    found = run_lanes(cupy, text, matrices.ravel(), output=np.zeros((WARP, 4), np.uint32))
    for i, matrix in enumerate(matrices):
        halves = found[:, i].copy().view(np.uint16).reshape(WARP, 2)
        expected = matrix.T if transposed else matrix
        np.testing.assert_array_equal(halves, scatter(expected, lambda lane, j: (group(lane), in_group(lane) * 2 + j)))


def run_elementwise(cupy: ModuleType, expression: str, output: type, *inputs: np.ndarray) -> np.ndarray:
    """`expression` of a, b, c (the elements of the inputs) for every element; its C type is that of `output`."""
    types = {np.dtype("f4"): "float", np.dtype("u4"): "unsigned", np.dtype("u2"): "unsigned short"}
    names = "abc"[: len(inputs)]
    pointers = "".join(f"const {types[a.dtype]}* {name}s, " for name, a in zip(names, inputs, strict=True))
    values = " ".join(f"auto {name} = {name}s[i];" for name in names)
    text = f"""extern "C" __global__ void k({pointers}{types[np.dtype(output)]}* y, int n) {{
        for (int i = threadIdx.x; i < n; i += blockDim.x) {{ {values} y[i] = {expression}; }}
    }}"""
    y = cupy.zeros(inputs[0].shape, output)
    kernel(cupy, text)((1,), (256,), (*map(cupy.asarray, inputs), y, np.int32(inputs[0].size)))
    return y.get()


def awkward_floats(rng: np.random.Generator) -> np.ndarray:
    """Ordinary, huge, tiny, subnormal and infinite numbers, and ties of every 16-bit and TF32 rounding."""
    bits = rng.integers(0, 0x7F800000, 4096, dtype=np.uint32)
    for kept in (10, 7):  # mantissa bits of float16 and TF32, of bfloat16: a half of the last one is a tie
        low = 23 - kept
        bits = np.concatenate([bits, bits[:2048] >> low << low | np.uint32(1 << (low - 1))])
    limits = np.finfo("f4")
    special = np.array([0, np.inf, limits.max, limits.tiny, 65504, 65519.99, 65520, 2**-24, 2**-25], "f4")
    x = np.concatenate([bits.view(np.float32), special, rng.standard_normal(1024).astype("f4")])
    return np.concatenate([x, -x])


@pytest.mark.parametrize(("conversion", "dtype"), [("float_to_f16", np.float16), ("float_to_bf16", ml_dtypes.bfloat16)])
def test_rounding_to_16_bits(cupy: ModuleType, rng: np.random.Generator, conversion: str, dtype: type) -> None:
    x = awkward_floats(rng)
    with np.errstate(over="ignore"):
        expected = x.astype(dtype)
    found = run_elementwise(cupy, f"{conversion}(a)", np.uint16, x)
    np.testing.assert_array_equal(found, expected.view(np.uint16))
    nan = run_elementwise(cupy, f"{conversion}(a)", np.uint16, np.array([np.nan, -np.nan], "f4")).view(dtype)
    assert np.isnan(nan.astype("f4")).all()


@pytest.mark.parametrize(("storage", "dtype"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)])
def test_every_16_bit_value_is_read_exactly(cupy: ModuleType, storage: str, dtype: type) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    found = run_elementwise(cupy, f"Storage<{storage}>::load({storage}{{a}})", np.float32, bits)
    np.testing.assert_array_equal(found, bits.view(dtype).astype("f4"))


def test_what_is_read_and_where_only_if_it_is_there(cupy: ModuleType, rng: np.random.Generator) -> None:
    x = rng.standard_normal(300).astype("f4")
    np.testing.assert_array_equal(run_elementwise(cupy, "only_if(a > 0, i)", np.uint32, x), (x > 0) * np.arange(300))
    found = run_elementwise(cupy, "load_if(a > 0, a > 0 ? as + i : (const float*)0)", np.float32, x)
    np.testing.assert_array_equal(found, np.where(x > 0, x, np.float32(0)))


def test_float_arithmetic_keeps_subnormals_and_rounds_once(cupy: ModuleType, rng: np.random.Generator) -> None:
    a, b = rng.permutation(awkward_floats(rng)), rng.permutation(awkward_floats(rng))
    with np.errstate(all="ignore"):
        expected = {"add_rn(a, b)": a + b, "mul_rn(a, b)": a * b, "div_rn(a, b)": a / b, "greater(a, b)": a > b}
    for expression, values in expected.items():
        found = run_elementwise(cupy, expression, np.float32, a, b)
        np.testing.assert_array_equal(found, values.astype("f4"), expression)
    ulp, tiny = 2**-23, 2**-149
    factors = np.array([[1 + ulp, 1], [1 + ulp, tiny], [-1, 0]], "f4")
    found = run_elementwise(cupy, "fma_rn(a, b, c)", np.float32, *factors)
    np.testing.assert_array_equal(found, np.array([2 * ulp + ulp**2, tiny], "f4"))


def test_shuffles(cupy: ModuleType) -> None:
    text = """extern "C" __global__ void k(const TYPE* x, TYPE* y) {
        TYPE v = x[threadIdx.x];
        y[threadIdx.x] = shuffle_xor(v, 5);
        y[32 + threadIdx.x] = shuffle_down(v, 3);
        y[64 + threadIdx.x] = __shfl_up_sync(0xffffffffu, v, 3);
        y[96 + threadIdx.x] = __shfl_sync(0xffffffffu, v, 7);
    }"""
    lanes = np.arange(WARP)
    down, up = np.where(lanes + 3 < WARP, lanes + 3, lanes), np.where(lanes < 3, lanes, lanes - 3)
    sources = [lanes ^ 5, down, up, np.full(WARP, 7)]
    for type_, dtype in {"int": "i4", "float": "f4", "double": "f8"}.items():
        found = run_lanes(cupy, f"#define TYPE {type_}\n{text}", lanes.astype(dtype), output=np.zeros(128, dtype))
        np.testing.assert_array_equal(found, np.concatenate(sources))


def test_votes(cupy: ModuleType) -> None:
    text = """extern "C" __global__ void k(const int* x, unsigned* y) {
        const unsigned full = 0xffffffffu;
        int v = x[threadIdx.x];
        unsigned ballot = __ballot_sync(full, v), all = __all_sync(full, v), any = __any_sync(full, v);
        unsigned count = __syncthreads_count(v), some = __syncthreads_or(v), each = __syncthreads_and(v);
        if (threadIdx.x == 9) { y[0] = ballot; y[1] = all; y[2] = any; y[3] = count; y[4] = some; y[5] = each; }
    }"""
    found = run_lanes(cupy, text, np.arange(WARP, dtype="i4") % 2, output=np.zeros(6, "u4"))
    assert found.tolist() == [0xAAAAAAAA, 0, 1, 16, 1, 0]


# --- captured streams -----------------------------------------------------------------------------------------


def test_a_capturing_stream_runs_nothing_until_its_graph_is_launched(cupy):
    x, stream = cupy.zeros(4, np.float32), cupy.cuda.Stream(non_blocking=True)
    add = kernel(cupy, 'extern "C" __global__ void k(float* x) { x[threadIdx.x] += 1.0f; }')
    pool = cupy.cuda.MemoryPool()
    with stream, cupy.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        assert stream.is_capturing()
        add((1,), (4,), (x,))
        x *= 2
        x[0] = 7
        y = cupy.concatenate([x, cupy.arange(2)])[1:]
        add((1,), (2,), (x,))
        graph = stream.end_capture()
    assert not stream.is_capturing()
    assert x.get().tolist() == [0, 0, 0, 0]
    assert np.isnan(y.get()).all()
    with emulator.record_launches() as launches:
        graph.launch()
    assert [launch.block for launch in launches] == [(4, 1, 1), (2, 1, 1)]
    assert x.get().tolist() == [8, 3, 2, 2]
    assert y.get().tolist() == [2, 2, 2, 0, 1]
    graph.launch()
    assert x.get().tolist() == [8, 9, 6, 6]
    assert y.get().tolist() == [8, 6, 6, 0, 1]


def test_what_a_capturing_stream_refuses(cupy):
    x, stream = cupy.ones(4), cupy.cuda.Stream()
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cupy.cuda.Stream.null.begin_capture()
    with stream:
        stream.begin_capture()
        for refused in (x.get, lambda: float(x[0]), lambda: cupy.asarray(np.ones(2)), lambda: x.set(np.ones(4))):
            with pytest.raises(RuntimeError, match=r"the current stream is capturing, so (D2H|H2D) transfers are"):
                refused()
        stream.end_capture()
        for waits in (stream.synchronize, cupy.cuda.Device().synchronize, x.nonzero, lambda: x[x > 0]):
            stream.begin_capture()
            with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
                waits()
            with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
                stream.end_capture()


def test_a_graph_on_memory_that_was_freed_is_a_fault(cupy):
    x, stream = cupy.zeros(4, np.float32), cupy.cuda.Stream()
    add = kernel(cupy, 'extern "C" __global__ void k(float* x) { x[threadIdx.x] += 1.0f; }')
    with stream:
        stream.begin_capture()
        add((1,), (4,), (x,))
        graph = stream.end_capture()
    graph.launch()
    del x
    with pytest.raises(emulator.EmulatorFault):
        graph.launch()


def test_a_pool_reuses_its_own_memory_only(cupy):
    pool = cupy.cuda.MemoryPool()

    def address_with(malloc):
        with cupy.cuda.using_allocator(malloc):
            return cupy.empty(100).data.ptr

    own, elsewhere = address_with(pool.malloc), address_with(cupy.cuda.MemoryPool().malloc)
    assert address_with(pool.malloc) == own != elsewhere
    assert cupy.empty(100).data.ptr not in (own, elsewhere)
    assert pool.used_bytes() == 0
