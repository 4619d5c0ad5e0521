"""`backstride plan` shows what the launchers do: checked against geometry, hand-worked occupancy, and the launchers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from backstride import use_float32_precision
from backstride.cli import main
from backstride.cli.plan import gpu_named
from backstride.cli.suite_calls import suite
from backstride.conformance import calls
from backstride.kernels import FUNCTIONS, OPERATIONS
from backstride.kernels.conv import cuda
from backstride.kernels.cuda.gemm import cost
from backstride.kernels.cuda.gemm.cost import LAUNCH_SECONDS
from backstride.kernels.cuda.offline.dryrun import Device, dry_run
from backstride.kernels.cuda.offline.occupancy import blocks_per_sm
from backstride.kernels.cuda.offline.plan import plan, scored
from backstride.kernels.cuda.runtime.gpus import GPUS
from backstride.kernels.operation import Case, Operation, function_on

H200, A100 = (next(gpu for gpu in GPUS if gpu.name == name) for name in ("H200", "A100 80GB SXM"))
DEVICE = Device(H200.sm, H200.multiprocessors)
CASES = {
    "conv": Case("", (32, 64, 56, 56), (128, 64, 3, 3), {"stride": 2, "padding": 1}),
    "conv_transpose": Case("", (4, 8, 7, 7), (8, 6, 3, 3)),
    "max_pool": Case("", (32, 64, 112, 112), (), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "avg_pool": Case("", (8, 512, 7, 7), (), {"kernel_size": 7}),
    "linear": Case("", (256, 2048), (1000, 2048)),
}
STEM = Case("", (128, 3, 224, 224), (64, 3, 7, 7), {"stride": 2, "padding": 3})
LAYER = Case("", (32, 64, 56, 56), (64, 64, 3, 3), {"padding": 1})
BYTES = {
    "conv2d": 4 * (32 * 64 * 56 * 56 + 128 * 64 * 9 + 128 + 32 * 128 * 28 * 28),
    "conv2d_weight_grad": 4 * (32 * 64 * 56 * 56 + 128 * 64 * 9 + 32 * 128 * 28 * 28),
    "max_pool2d": 4 * 32 * 64 * 112 * 112 + 5 * 32 * 64 * 56 * 56,
    "max_pool2d_indices": 9 * 32 * 64 * 56 * 56,
    "linear_bias_grad": 4 * (256 * 1000 + 1000),
    "linear_parameter_grads": 4 * (256 * 1000 + 256 * 2048 + 1000 * 2048 + 1000),
}
FLOPS = {
    "conv2d": 2 * 32 * 128 * 28 * 28 * 64 * 9,
    "conv2d_input_grad": 2 * 32 * 128 * 28 * 28 * 64 * 9,
    "conv2d_bias_grad": 32 * 128 * 28 * 28,
    "conv2d_parameter_grads": 32 * 128 * 28 * 28 * (2 * 64 * 9 + 1),
    "conv2d_grads": 32 * 128 * 28 * 28 * (4 * 64 * 9 + 1),
    "linear_grads": 4 * 256 * 2048 * 1000 + 256 * 1000,
    "max_pool2d": 9 * 32 * 64 * 56 * 56,
    "avg_pool2d": 49 * 8 * 512,
    "linear": 2 * 256 * 2048 * 1000,
}


def arguments_of(operation: Operation, case: Case, dtype: str = "float32"):
    return calls.call(operation, case, calls.bare(np.dtype(dtype)))


def planned(name: str, gpu=H200, precision: str = "ieee", *, case: Case | None = None, **options):
    operation = FUNCTIONS[name].operation
    case = case or CASES.get(operation.family.name, operation.family.cases[0])
    return plan(operation, arguments_of(operation, case), gpu, precision, **options)


@pytest.mark.parametrize("operation", FUNCTIONS)
def test_work_and_outputs(operation):
    found = planned(operation, compile_=False)
    assert found.kernels
    assert found.least_bytes == BYTES.get(operation, found.least_bytes)
    assert found.flops == FLOPS.get(operation, found.flops)
    assert 0 <= found.workspace_bytes <= 64 * 2**20
    assert found.floor_seconds >= found.least_bytes / 4.8e12


def test_floor_is_arithmetic_or_memory():
    conv = planned("conv2d", compile_=False)
    assert conv.floor_seconds == pytest.approx(FLOPS["conv2d"] / 67e12)
    pool = planned("max_pool2d", compile_=False)
    assert pool.floor_seconds == pytest.approx(BYTES["max_pool2d"] / 4.8e12)
    threefold = planned("conv2d", precision="tf32x3", compile_=False)
    assert threefold.floor_seconds == pytest.approx(FLOPS["conv2d"] / (495e12 / 3))


@pytest.mark.parametrize(
    ("name", "dtype", "precision", "peak"),
    [
        ("T4", "float32", "auto", 8.1),
        ("T4", "float32", "tf32", 8.1),
        ("T4", "float16", "auto", 65),
        ("T4", "bfloat16", "auto", 8.1),  # no bfloat16 before sm_80
        ("RTX 4090", "float32", "auto", 82.6),  # a third of its TF32 rate is less
        ("A100 80GB SXM", "float32", "auto", 52),
        ("A100 80GB SXM", "float32", "ieee", 19.5),
        ("A100 80GB SXM", "bfloat16", "ieee", 312),
        ("A100 80GB SXM", "float64", "tf32", 19.5),
    ],
)
def test_peaks(name, dtype, precision, peak):
    (gpu,) = (gpu for gpu in GPUS if gpu.name == name)
    assert gpu.peak(dtype, precision) == pytest.approx(peak * 1e12)


@pytest.mark.parametrize(
    ("sm", "threads", "registers", "shared", "blocks"),
    [
        (90, 256, 128, 0, 2),  # 256 * 128 registers are half of 65,536
        (90, 256, 129, 0, 1),  # 136 are allocated
        (90, 128, 32, 0, 16),  # 16 * 128 threads are all 2,048
        (86, 128, 32, 0, 12),  # 1,536 threads
        (86, 64, 32, 0, 16),  # 16 blocks
        (75, 64, 32, 0, 16),  # 1,024 threads, 16 blocks
        (90, 128, 32, 48 * 1024, 4),  # 228 KiB / (48 + 1)
        (75, 128, 32, 32 * 1024, 2),  # 64 KiB, nothing reserved
        (89, 128, 32, 99 * 1024, 1),  # 100 KiB / (99 + 1)
        (89, 128, 32, 100 * 1024, 0),
        (90, 96, 168, 0, 4),  # 3 warps of 168 * 32: a partition's 16,384 registers hold 3, the SM 12
        (90, 33, 255, 0, 4),  # 2 warps of 8,192 (256 * 32) registers
    ],
)
def test_occupancy(sm, threads, registers, shared, blocks):
    assert blocks_per_sm(sm, threads, registers, shared) == blocks


@pytest.mark.parametrize("size", [7, 8])
def test_the_model_counts_the_blocks_that_the_compiler_is_held_to(size):
    """A 1x1 window's weight gradient by FFMA, of planes that words divide and of some that they do not: those take
    half as many blocks, as registers of addresses suffice for."""
    case = Case("", (32, 512, size, size), (2048, 512, 1, 1))
    with use_float32_precision("ieee"):
        found = dry_run(cuda.conv_weight_grad, arguments_of(OPERATIONS["conv_weight_grad"], case), DEVICE)
    (configuration,) = found.decisions.configurations
    whole = replace(configuration, product=replace(configuration.product, scattered=False))
    assert configuration.product.scattered == (size == 7)
    assert configuration.blocks_per_sm == (whole.blocks_per_sm // 2 if size == 7 else whole.blocks_per_sm)
    assert found.launches[0].defines["BLOCKS_PER_SM"] == str(configuration.blocks_per_sm)


@pytest.mark.compiler
@pytest.mark.parametrize("operation", ["conv2d", "conv2d_weight_grad", "max_pool2d", "linear"])
def test_resources_come_from_the_compiler(operation):
    for kernel in planned(operation).kernels:
        assert 0 < kernel.usage.registers <= 255
        assert kernel.waves == kernel.launch.blocks / (kernel.blocks_per_sm * 132)


def test_a_dry_run_leaves_no_trace():
    """The stand-in is gone afterwards, and a second device gets kernels of its own."""
    arguments = arguments_of(OPERATIONS["conv"], CASES["conv"])
    first = dry_run(cuda.conv, arguments, DEVICE)
    other = dry_run(cuda.conv, arguments, Device(75, 40))
    again = dry_run(cuda.conv, arguments, DEVICE)
    assert first.launches == again.launches
    assert first.launches != other.launches
    assert first.outputs[0].shape == (32, 128, 28, 28)


SUITE_CALLS = [
    (operation, case) for name in ("resnet50", "mobilenetv2", "pooling") for _, operation, case in suite(name, 128)
]


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("precision", ["auto", "tf32"])
def test_no_prediction_is_below_the_floor(gpu, dtype, precision):
    """Nor is one absurd: at most a hundred times its floor, and a few launches."""
    with use_float32_precision(precision):
        for operation, case in SUITE_CALLS[::7]:
            found = plan(operation, arguments_of(operation, case, dtype), gpu, precision, compile_=False)
            assert found.floor_seconds <= found.predicted_seconds, (operation, case)
            assert found.predicted_seconds < 100 * found.floor_seconds + 50e-6, (operation, case)


@pytest.mark.parametrize(("precision", "kernel"), [("ieee", "few_channels"), ("tf32", "conv_forward")])
def test_few_channels_show_what_was_compared(precision, kernel):
    with use_float32_precision(precision):
        found = planned("conv2d", precision=precision, case=STEM, compile_=False)
    (estimates,) = found.estimates
    assert (estimates.direct <= estimates.product) == (kernel == "few_channels")
    assert found.main.launch.entry == kernel


def test_only_few_channels_are_compared():
    assert planned("conv2d", compile_=False).estimates == ()


def test_a_prediction_without_tiles_is_bytes_or_multiply_adds():
    pool = planned("max_pool2d", compile_=False)
    assert pool.products == ()
    assert pool.predicted_seconds == pytest.approx(BYTES["max_pool2d"] / (0.9 * 4.8e12))
    with use_float32_precision("ieee"):
        few = planned("conv2d", case=STEM, compile_=False)
    assert few.main.launch.entry == "few_channels"
    clocks = few.flops / 2 * 1.25 / (128 * 132) + 2000
    assert clocks / 1.7e9 <= few.predicted_seconds == few.estimates[0].direct < 1.2 * clocks / 1.7e9  # tiles overhang


def test_a_prediction_with_tiles_is_the_models():
    with use_float32_precision("auto"):
        conv = planned("conv2d_weight_grad", precision="auto", compile_=False)
        both = planned("conv2d_parameter_grads", precision="auto", compile_=False)
    (product,) = conv.products
    assert product.splits > 1
    assert [kernel.launch.entry for kernel in both.kernels] == ["conv_weight_grad", "split_sum", "split_sum"]
    assert conv.predicted_seconds == cost.seconds(product)
    assert both.predicted_seconds == pytest.approx(cost.seconds(product) + LAUNCH_SECONDS)


@pytest.mark.parametrize("precision", ["auto", "ieee"])
@pytest.mark.parametrize("operation", ["conv2d", "conv2d_input_grad", "conv2d_weight_grad", "linear"])
def test_the_chosen_candidate_is_the_best_of_all_and_is_what_runs(operation, precision):
    with use_float32_precision(precision):
        found = planned(operation, A100, precision, compile_=False)
    (product,) = found.products
    compared = scored(found, product)
    seconds = [cost.seconds(c) for c, _ in compared]
    assert seconds == sorted(seconds)
    assert [chosen for _, chosen in compared] == [True] + [False] * (len(compared) - 1)
    best, tile = compared[0][0], found.main.launch.defines
    assert (tile["TILE_M"], tile["TILE_N"]) == (str(best.tile.m), str(best.tile.n))
    assert found.main.launch.blocks == best.blocks
    scored_on = (best.architecture.sm, best.architecture.multiprocessors)
    assert scored_on == ((90, 132) if precision == "ieee" else (80, 108))  # "ieee" chooses the same on every GPU


def test_the_main_kernel_is_the_one_that_works():
    assert planned("conv2d_bias_grad", compile_=False).main.launch.entry == "bias_grad"
    depthwise = Case("", (8, 16, 28, 28), (16, 1, 3, 3), {"groups": 16})
    both = planned("conv2d_parameter_grads", case=depthwise, compile_=False)
    assert both.main.launch.entry == "depthwise_weight_grad"
    for operation, case in SUITE_CALLS:
        found = plan(operation, arguments_of(operation, case), H200, "auto", compile_=False)
        direct = found.main.launch.entry.startswith("few_channels")
        assert found.main.configuration is (None if direct or not found.products else found.products[0])


def test_command_shows_the_score_of_every_candidate(capsys):
    assert main("plan conv2d --x 32,64,56,56 --w 64,64,3,3 --padding 1".split()) == 0
    out = capsys.readouterr().out
    found = planned("conv2d", precision="auto", case=LAYER, compile_=False)
    compared = scored(found, found.products[0])
    scores = re.findall(r"^ (chosen)? +\w+ +(\d+x\d+)x16 .* (\d[\d.]*) *$", out, re.MULTILINE)
    assert [tile for _, tile, _ in scores] == [f"{c.tile.m}x{c.tile.n}" for c, _ in compared]
    assert [float(score) for *_, score in scores] == pytest.approx(
        [cost.seconds(c) * 1e6 for c, _ in compared], rel=5e-3
    )
    assert [mark for mark, *_ in scores] == ["chosen"] + [""] * (len(compared) - 1)
    assert "scored for sm_90 with 132 SMs" in out
    assert re.search(r"predicted +│ [\d.]+ µs by the selection model; the floor is \d+% of that", out)


def test_a_call_outside_the_tiles_says_so(capsys):
    assert main("plan max_pool2d --x 32,64,112,112 --kernel-size 3 --stride 2 --padding 1".split()) == 0
    out = capsys.readouterr().out
    assert re.search(r"predicted +│ [\d.]+ µs by bytes and multiply-adds alone", out)
    assert "candidates" not in out


def test_a_call_with_an_empty_result_has_no_kernel(capsys):
    assert main("plan conv2d --x 0,64,56,56 --w 64,64,3,3 --precision ieee".split()) == 0
    assert "floor" in capsys.readouterr().out


def test_command_shows_kernel_resources_and_floor(capsys):
    assert main("plan conv2d --x 32,64,56,56 --w 64,64,3,3 --padding 1 --precision ieee".split()) == 0
    out = capsys.readouterr().out
    assert "conv2d float32 on H200 (sm_90, 132 SMs)" in out
    assert re.search(r"FLOPs +│ 7\.399 G", out)
    assert re.search(r"floor +│ 110 µs at 67 TFLOP/s", out)
    assert "Neither is measured." in out


def test_command_takes_every_option(capsys):
    pool = "plan avg_pool2d --x 2,3,9,8 --kernel-size 3,2 --stride 2 --padding 0,1,1,0 --ceil-mode --exclude-padding"
    assert main([*pool.split(), "--gpu", "T4", "--sms", "7", "--dtype", "float16"]) == 0
    assert "avg_pool2d float16 on T4 (sm_75, 7 SMs)" in capsys.readouterr().out
    assert main("plan linear_input_grad --x 256,2048 --w 1000,2048 --batch-axis 1 --sm 80".split()) == 0
    assert main("plan conv2d --x 1,4,9,9 --w 4,1,3,3 --groups 4 --padding same --dilation 2,1".split()) == 0


def test_command_takes_channels_last(capsys):
    assert main("plan conv2d --x 2,9,8,64 --w 96,3,3,64 --layout NHWC --gpu a100".split()) == 0
    out = capsys.readouterr().out
    least = 4 * (2 * 9 * 8 * 64 + 96 * 3 * 3 * 64 + 96 + 2 * 7 * 6 * 96) / 1e6
    assert f"{least:.4g} MB" in out
    assert main("plan conv2d --x 2,9,8 --w 96,3,3,64 --layout NHWC --gpu a100".split()) == 2
    assert "conv2d: x.shape is (2, 9, 8); expected four axes (N, H, W, C)" in capsys.readouterr().err


def test_command_prints_the_exact_source(capsys):
    assert main("plan conv2d_input_grad --x 32,64,56,56 --w 64,64,3,3 --padding 1 --source".split()) == 0
    out = capsys.readouterr().out
    case = Case("", (32, 64, 56, 56), (64, 64, 3, 3), {"padding": 1})
    arguments = arguments_of(OPERATIONS["conv_input_grad"], case)
    launches = dry_run(cuda.conv_input_grad, arguments, DEVICE).launches
    assert out == "\n".join(launch.text for launch in launches) + "\n"
    assert "#include" not in out


def rows_of(out: str) -> list[list[str]]:
    """The words of a suite's lines, each of an operation."""
    layers, _, _ = out.partition("all layers")
    return [line.split() for line in layers.splitlines() if line.startswith("   ") and "%" in line]


def test_a_suite_has_the_totals_of_every_operation(capsys):
    assert main("plan --suite alexnet --batch 128 --gpu H200".split()) == 0
    _, _, totals = capsys.readouterr().out.partition("all layers")
    found = {row[0]: row[1:] for row in map(str.split, totals.splitlines()) if row and row[-1].endswith("%")}
    for operation in {operation for _, operation, _ in suite("alexnet", 128)}:
        plans = [
            plan(each, arguments_of(each, case), H200, "auto", compile_=False)
            for _, each, case in suite("alexnet", 128)
            if each is operation
        ]
        predicted, floor, _ = found[plans[0].operation]
        assert float(predicted) == pytest.approx(1e6 * sum(each.predicted_seconds for each in plans), rel=6e-3)
        assert float(floor) == pytest.approx(1e6 * sum(each.floor_seconds for each in plans), rel=6e-3)


def test_a_narrow_terminal_keeps_the_figures(monkeypatch, capsys):
    narrow = Console(width=60, highlight=False)
    monkeypatch.setattr("backstride.cli.plan_view._console", lambda least: narrow)
    assert main("plan --suite backprop --gpu H200".split()) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert all(len(line) <= 60 for line in out.splitlines())


@pytest.mark.parametrize(
    ("name", "full"), [("A100", "A100 80GB SXM"), ("h100", "H100 SXM"), ("A10", "A10"), ("H200", "H200")]
)
def test_a_gpu_by_the_beginning_of_its_name(name, full):
    assert gpu_named(name).name == full


def test_suite_shows_kernel_prediction_and_share_of_the_floor(capsys):
    assert main("plan --suite resnet50 --batch 128 --gpu H200".split()) == 0
    out = capsys.readouterr().out
    assert "Neither is measured." in out
    assert all(len(line) <= 100 for line in out.splitlines())
    assert "…" not in out
    layers = list(suite("resnet50", 128))
    rows = rows_of(out)
    assert [row[0] for row in rows] == [function_on(operation, case).name for _, operation, case in layers]
    assert all(f" {layer} " in out for layer, _, _ in layers)
    for row, (_, operation, case) in zip(rows, layers, strict=True):
        found = plan(operation, arguments_of(operation, case), H200, "auto", compile_=False)
        predicted, floor, share, bound = row[-4:]
        assert row[1] == found.main.launch.entry
        assert float(predicted) == pytest.approx(1e6 * found.predicted_seconds, rel=6e-3)
        assert float(floor) == pytest.approx(1e6 * found.floor_seconds, rel=6e-3)
        assert share == f"{found.floor_seconds / found.predicted_seconds:.0%}"
        assert bound == ("FLOPs" if found.arithmetic_seconds > found.memory_seconds else "memory")


@pytest.mark.parametrize("name", ["mobilenetv2", "training", "deepbench", "pooling"])
def test_a_suite_fits_100_columns(name, capsys):
    assert main(["plan", "--suite", name, "--gpu", "T4"]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 100 for line in out.splitlines())
    assert "…" not in out
    assert len(rows_of(out)) == len(list(suite(name, 128)))


def test_resources_of_a_suite_have_a_line_for_every_operation_of_every_layer(capsys):
    assert main("plan --suite backprop --sm 80 --resources".split()) == 0
    out = capsys.readouterr().out
    for name, (operation, rank) in FUNCTIONS.items():
        if operation.family.name in ("conv", "max_pool", "linear") and rank in (0, 2):
            assert f"│ {name} " in out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("plan conv2d", "name an operation and its shapes"),
        ("plan --gpu RTX --suite lenet", "'RTX' is ambiguous; there are RTX 3090, RTX 4090, RTX 5090"),
        ("plan --gpu K80 --suite lenet", "'K80' is unknown; there are V100"),
        ("plan conv2d --x 1,3,8,8 --suite lenet", "--suite shows every operation of its layers; leave out conv2d, --x"),
        ("plan --stride 2 --source --suite lenet", "leave out --stride, --source"),
        ("plan conv2d --x 1,3,8,8 --w 4,2,3,3", "conv2d: w.shape is (4, 2, 3, 3) (axis 1 is 2)"),
        ("plan conv2d --x 1,3,8,8", "conv2d: w.shape is ()"),
        ("plan conv2d --x 1,3,8,8 --w 4,3,3,3 --stride 0", "conv2d: stride is 0; expected an int >= 1"),
        ("plan conv2d --x 1,3,8,8 --w 4,3,3,3 --kernel-size 3", "kernel_size"),
        ("plan max_pool2d --x 1,3,8,8", "kernel_size"),
        ("plan linear --x 1,3,8,8 --w 4,3", "linear"),
        ("plan conv2d --x 1,3,a --w 4,3,3,3", "--x"),
        ("plan linear --x 4,3 --w 5,2", "linear"),
    ],
)
def test_bad_input_is_one_line_and_status_2(command, message, capsys):
    try:
        status = main(command.split())
    except SystemExit as stop:  # argparse's own
        status = stop.code
    assert status == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("backstride: error: ")
    assert err.count("\n") == 1
