"""The benchmark harness: its shapes, costs, checks, statistics, files and command line."""

from __future__ import annotations

import html.parser
import io
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import cupys
import numpy as np
import pytest

from backstride import kernels
from backstride.benchmarks import measure
from backstride.benchmarks.accuracy import conform, exact, judge
from backstride.benchmarks.cases import FUNCTIONS, cases, takes
from backstride.benchmarks.compare import differences, pairs
from backstride.benchmarks.measure import Ceilings, Contestant, HostTimer, Timing, interleave
from backstride.benchmarks.peers import TEXTBOOK, Peers, find_peers
from backstride.benchmarks.results import Ratio, Results, Row
from backstride.benchmarks.run import Plan, execute, functions_named, new_results
from backstride.benchmarks.suites import FAMILIES, SHAPES, Notation, Shape, select, suite_names
from backstride.cli import main
from backstride.kernels.layout import NCHW, NHWC
from backstride.kernels.operation import numpy_path, room_path

rich_console = pytest.importorskip("rich.console", reason="tables need rich")

SMALL = (
    Shape("small", "conv", "3,8x7->4 3x3/1 p1", 2, True, "made up"),
    Shape("small", "conv", "4,9->4 3x3/2 p1 g4", 2, True, "made up"),
    Shape("small", "pool", "3,8x6 3x2/2x1 p1x0", 2, True, "made up"),
    Shape("small", "linear", "17->9", 5, True, "made up"),
    Shape("small", "activation", "3,8x6", 2, True, "made up"),
    Shape("small", "norm", "3,8x6", 2, True, "made up"),
    Shape("small", "loss", "7", 5, True, "made up"),
    Shape("small", "optimizer", "40", 1, True, "made up"),
    Shape("small", "training", "1,8->10", 4, True, "made up"),
)

IN_LAYOUTS = (
    *("conv2d", "conv2d_input_grad", "conv2d_weight_grad", "conv2d_bias_grad"),
    *("max_pool2d", "max_pool2d_grad", "avg_pool2d", "avg_pool2d_grad"),
    *("batch_norm", "batch_norm_grads", "batch_norm_inference", "batch_norm_inference_grads"),
)
"""What is measured with channels last."""


def small_case(operation: str, dtype: str = "float32", which: int = 0):
    return list(cases(SMALL, [FUNCTIONS[operation]], dtype, batch=1))[which]


@pytest.fixture(scope="module")
def quick_ceilings():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "CEILING_LOADS", {"numpy": (64, 1 << 12)})
        yield


@pytest.fixture(params=["with PyTorch", "without PyTorch"])
def wrong_conv2d(request, monkeypatch):
    """Our convolution on NumPy is 1% off, in every dtype."""
    if request.param == "with PyTorch":
        pytest.importorskip("torch", reason="the peer that is there")
    else:
        monkeypatch.setitem(sys.modules, "torch", None)
    path = room_path("conv", numpy_path())
    right = path.conv
    monkeypatch.setattr(path, "conv", lambda *arguments: right(*arguments) * 1.01)


@pytest.fixture(scope="module")
def results(quick_ceilings) -> Results:
    """A run of every operation on the small shapes, beside the textbook."""
    plan = Plan(SMALL, list(FUNCTIONS.values()), "float32", 1, 0.0, [TEXTBOOK])
    found = new_results(plan, Peers([TEXTBOOK], {"torch": "made to miss"}), {"command": "backstride bench"})
    execute(plan, found)
    return found


class TestSuites:
    def test_every_shape_parses_and_has_a_source(self):
        for shape in SHAPES:
            Notation.parse(shape.text)
            assert shape.source

    def test_no_shape_is_listed_twice(self):
        keys = [(shape.suite, shape.family, shape.text, shape.batch) for shape in SHAPES]
        assert len(set(keys)) == len(keys)

    @pytest.mark.parametrize(
        ("suite", "distinct"), [("resnet50", 23), ("vgg16", 9), ("alexnet", 5), ("mobilenetv2", 30), ("deepbench", 90)]
    )
    def test_networks_have_their_number_of_distinct_convolutions(self, suite, distinct):
        assert len(select([suite])) == distinct

    def test_notation(self):
        layer = Notation.parse("32,79x341->64 5x10/2x1 p0x3 d2 g4")
        assert layer == Notation(32, (79, 341), 64, (5, 10), (2, 1), (0, 3), 2, 4)
        assert Notation.parse("80,300->64 3/2 p1") == Notation(80, (300,), 64, (3,), (2,), (1,), 1, 1)
        volume = Notation.parse("3,16x112x112->64 3x3x3/1x2x2 p1")
        assert volume == Notation(3, (16, 112, 112), 64, (3, 3, 3), (1, 2, 2), (1, 1, 1), 1, 1)
        texts = ("8,9 3/1", "8,9 3x3/1", "8,9 3x3x3/1", "50->32")
        assert [Notation.parse(text).rank for text in texts] == [1, 2, 3, 2]
        with pytest.raises(ValueError, match="16x8 for 1 axes; expected one number"):
            Notation.parse("3,16x8->64 3/1")
        assert Notation.parse("50->32") == Notation(50, (1, 1), 32, (1, 1), (1, 1), (0, 0), 1, 1)
        assert Notation.parse("50->32 relu") == Notation(50, (1, 1), 32, (1, 1), (1, 1), (0, 0), 1, 1, True)

    def test_a_relu_that_follows_is_measured_of_the_forward_operation_alone(self):
        """Its gradients take none: they would be measured twice."""
        found = {case.operation.name for case in cases(select(["fused"]), FUNCTIONS.values(), "float32", 1)}
        assert found == {"conv", "linear"}

    @pytest.mark.parametrize("text", ["", "3,8->4 3x3", "3,8->4 3x/1", "x,8->4 3x3/1", "3,8->4 3x3/1 q1"])
    def test_text_outside_the_notation_is_refused(self, text):
        with pytest.raises(ValueError, match="expected the notation"):
            Notation.parse(text)

    def test_selection(self):
        assert {shape.suite for shape in select(["lenet", "vgg16"])} == {"lenet", "vgg16"}
        assert all(shape.quick for shape in select(quick=True))
        assert {shape.family for shape in select(quick=True)} == FAMILIES.keys()
        with pytest.raises(ValueError, match="suite is 'resnet'; expected one of backprop"):
            select(["resnet"])
        with pytest.raises(ValueError, match="operation is 'conv'; expected one of conv1d, conv2d"):
            functions_named(["conv"])


class TestCosts:
    """x (2, 3, 8, 7), w (4, 3, 3, 3), y (2, 4, 8, 7) and so on: counted by hand, float32."""

    X, W, Y = 2 * 3 * 8 * 7, 4 * 3 * 3 * 3, 2 * 4 * 8 * 7
    POOL_X, POOL_Y = 2 * 3 * 8 * 6, 2 * 3 * 4 * 5

    @pytest.mark.parametrize(
        ("operation", "flops", "moved"),
        [
            ("conv2d", 2 * Y * 27, 4 * (X + W + 4 + Y)),
            ("conv2d_input_grad", 2 * Y * 27, 4 * (Y + W + X)),
            ("conv2d_weight_grad", 2 * Y * 27, 4 * (Y + X + W)),
            ("conv2d_bias_grad", Y, 4 * (Y + 4)),
            ("max_pool2d", POOL_Y * 6, 4 * (POOL_X + POOL_Y) + POOL_Y),
            ("max_pool2d_grad", POOL_Y, 4 * (POOL_X + POOL_Y) + POOL_Y),
            ("avg_pool2d", POOL_Y * 6, 4 * (POOL_X + POOL_Y)),
            ("avg_pool2d_grad", POOL_Y * 6, 4 * (POOL_X + POOL_Y)),
            ("linear", 2 * 5 * 17 * 9, 4 * (5 * 17 + 9 * 17 + 9 + 5 * 9)),
            ("linear_input_grad", 2 * 5 * 17 * 9, 4 * (5 * 9 + 9 * 17 + 5 * 17)),
            ("linear_weight_grad", 2 * 5 * 17 * 9, 4 * (5 * 9 + 5 * 17 + 9 * 17)),
            ("linear_bias_grad", 5 * 9, 4 * (5 * 9 + 9)),
        ],
    )
    def test_operations_and_bytes(self, operation, flops, moved):
        case = small_case(operation)
        assert (case.flops, case.bytes) == (flops, moved)

    def test_depthwise_is_a_group_of_its_own(self):
        assert small_case("conv2d").group == "conv forward"
        assert small_case("conv2d", which=1).group == "depthwise conv forward"
        assert small_case("conv2d", which=1).flops == 2 * 2 * 4 * 5 * 5 * 9

    def test_training_step(self):
        # conv 1->32 at 8x8 (dw only beside forward), conv 32->64 at 4x4, linear 64*2*2->10; 4 images
        conv1, conv2, linear = 2 * 4 * 32 * 64 * 9, 2 * 4 * 64 * 16 * 32 * 9, 2 * 4 * 10 * 256
        assert small_case("training_step").flops == 2 * conv1 + 3 * conv2 + 3 * linear

    def test_arguments_are_random_and_the_same_again(self):
        first, second = small_case("conv2d"), small_case("conv2d")
        assert all(len(np.unique(a)) == a.size for a in first.arrays)
        assert all(np.array_equal(a, b) for a, b in zip(first.arrays, second.arrays, strict=True))

    def test_roofline(self):
        ceilings = Ceilings(flops=100.0, bytes=10.0)
        assert ceilings.floor(1000, 10) == 10
        assert ceilings.floor(10, 1000) == 100
        assert ceilings.memory_bound(10, 1000)
        assert not ceilings.memory_bound(1000, 10)


class TestAccuracy:
    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
    @pytest.mark.parametrize("operation", FUNCTIONS)
    def test_our_path_is_judged_right(self, operation, dtype):
        for case in cases(SMALL, [FUNCTIONS[operation]], dtype, batch=1):
            assert judge(case, case.prepare()(), exact(case)).fault is None

    @pytest.mark.parametrize("operation", FUNCTIONS)
    def test_the_textbook_in_float32_is_judged_right(self, operation):
        for case in cases(SMALL, [FUNCTIONS[operation]], "float32", batch=1):
            assert judge(case, TEXTBOOK.prepare(case)(), exact(case)).fault is None

    @pytest.mark.parametrize("name", ["torch", "torch-nhwc"])
    @pytest.mark.parametrize("operation", FUNCTIONS)
    def test_peers_in_torch_are_judged_right(self, operation, name):
        """PyTorch and the textbook form share nothing: where they agree, both are right."""
        pytest.importorskip("torch", reason="the peer under test")
        peer = {peer.name: peer for peer in find_peers().present}[name]
        for case in cases(SMALL, [FUNCTIONS[operation]], "float32", batch=1):
            if name == "torch-nhwc" and case.operation.family.room in ("linear", "loss", "optim", "training"):
                with pytest.raises(NotImplementedError, match="layout of images"):
                    peer.prepare(case)
            else:
                assert judge(case, peer.prepare(case)(), exact(case), peer.to_numpy).fault is None

    @pytest.mark.parametrize("operation", IN_LAYOUTS)
    def test_channels_last_is_judged_right(self, operation):
        """Our path, the textbook and PyTorch, which gets channels where each of its peers has them in memory."""
        peers = {peer.name: peer for peer in find_peers(NHWC).present}
        assert next(iter(peers)) in ("torch-nhwc", "textbook")
        for case in cases(SMALL, [FUNCTIONS[operation]], "float32", batch=1, layout=NHWC):
            assert case.label.endswith(" NHWC")
            assert case.geometry.channels_last
            assert judge(case, case.prepare()(), exact(case)).fault is None
            for peer in peers.values():
                assert judge(case, peer.prepare(case)(), exact(case), peer.to_numpy).fault is None

    @pytest.mark.parametrize(("name", "last"), [("torch", False), ("torch-nhwc", True)])
    @pytest.mark.parametrize("layout", [NCHW, NHWC])
    def test_pytorch_has_the_channels_where_its_peer_says(self, monkeypatch, torch, layout, name, last):
        seen, theirs = [], torch.nn.functional.conv2d

        def conv2d(*arguments):
            seen.append(arguments)
            return theirs(*arguments)

        monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)
        (peer,) = find_peers(layout).choose([name])
        case = next(cases(SMALL, [FUNCTIONS["conv2d"]], "float32", batch=1, layout=layout))
        peer.prepare(case)()
        ((x, w, *_),) = seen
        for tensor in (x, w):
            assert tensor.is_contiguous(memory_format=torch.channels_last) == last
            assert tensor.is_contiguous() != last

    def test_what_has_no_layout_is_not_measured_with_channels_last(self):
        taken = {f.name for f in FUNCTIONS.values() for s in SMALL if takes(f, s, "float32", NHWC)}
        assert taken == set(IN_LAYOUTS)

    def test_wrong_results_are_found(self):
        case = small_case("conv2d")
        expected = exact(case)
        right = case.prepare()()
        wrong, unknown = right.copy(), right.copy()
        wrong[1, 2, 3, 4] += 1e-3
        unknown[0, 0, 0, 0] = np.nan
        assert judge(case, right, expected).fault is None
        assert "error" in judge(case, wrong, expected).fault
        assert "error inf" in judge(case, unknown, expected).fault
        assert "shape" in judge(case, right[:, :2], expected).fault
        assert "returned 2 arrays" in judge(case, (right, right), expected).fault

    def test_wrong_taps_are_found(self):
        case = small_case("max_pool2d")
        y, taps = case.prepare()()
        assert judge(case, (y, taps), exact(case)).fault is None
        assert "taps differ" in judge(case, (y, (taps + 1) % 6), exact(case)).fault
        assert "taps differ" in judge(case, (y, taps + 100), exact(case)).fault


class TestCandidates:
    CONV = FUNCTIONS["conv2d"]

    def verdicts(self, function, operation=CONV):
        return [verdict for _, verdict in conform(function, operation, "float32")]

    @pytest.mark.parametrize("operation", [name for name in FUNCTIONS if name in kernels.FUNCTIONS])
    def test_our_own_functions_conform(self, operation):
        verdicts = self.verdicts(getattr(kernels, operation), FUNCTIONS[operation])
        assert len(verdicts) >= 3
        assert not [verdict for verdict in verdicts if verdict.fault or verdict.declined]

    def test_the_example_conforms(self):
        from backstride.benchmarks.example_candidate import conv2d

        verdicts = self.verdicts(conv2d)
        assert not [verdict.fault for verdict in verdicts if verdict.fault]
        asked = [verdict for verdict in verdicts if verdict.declined != "it has no option layout"]
        assert sum(verdict.declined is None for verdict in asked) > len(asked) / 2

    def test_a_wrong_stride_is_found(self):
        def conv2d(x, w, b=None, *, stride=1, **options):
            return kernels.conv2d(x, w, b, **options)

        faults = [verdict.fault for verdict in self.verdicts(conv2d) if verdict.fault]
        assert faults
        assert all("shape" in fault for fault in faults)

    def test_the_last_of_tied_maxima_is_found(self):
        def max_pool2d(x, kernel_size, **options):
            y, taps = kernels.max_pool2d(x[..., ::-1, ::-1].copy(), kernel_size, **options)
            return y, taps

        assert any("taps" in (v.fault or "") for v in self.verdicts(max_pool2d, FUNCTIONS["max_pool2d"]))

    def test_an_input_that_is_written_to_is_found(self):
        def conv2d(x, w, b=None, **options):
            x *= 1
            return kernels.conv2d(x, w, b, **options)

        assert all("read-only" in verdict.fault for verdict in self.verdicts(conv2d) if verdict.fault)
        assert any(verdict.fault for verdict in self.verdicts(conv2d))

    def test_shapes_may_be_declined(self):
        def conv2d(x, w, b=None, *, groups=1, **options):
            if groups > 1:
                raise NotImplementedError("one group only")
            return kernels.conv2d(x, w, b, **options)

        verdicts = self.verdicts(conv2d)
        assert {verdict.declined for verdict in verdicts} == {None, "one group only"}
        assert not any(verdict.fault for verdict in verdicts)

    def test_a_training_step_has_no_candidate(self):
        with pytest.raises(ValueError, match="operation is 'training_step'"):
            self.verdicts(kernels.conv2d, FUNCTIONS["training_step"])


class TestTiming:
    def test_contestants_take_turns(self):
        calls = []

        class Counted:
            def sample(self, call, repeats):
                call()
                return 1.0, None

        contestants = [Contestant(name, lambda name=name: calls.append(name)) for name in "ab"]
        timings = interleave(contestants, Counted(), seconds=0.0, rounds=(3, 3))
        assert calls == list("ab" * 4)  # one round to learn what a call takes, then three
        assert timings["a"].seconds == [1.0] * 3

    def test_rounds_follow_the_time_allowed(self):
        class Second:
            def sample(self, call, repeats):
                return 1.0, 0.5  # a round takes a call to settle and one to time: 2 s

        def rounds(seconds):
            return len(interleave([Contestant("a", print)], Second(), seconds, rounds=(2, 8))["a"].seconds)

        assert [rounds(seconds) for seconds in (0, 10, 1000)] == [2, 5, 8]
        assert interleave([Contestant("a", print)], Second(), 0, (2, 8))["a"].decisive == [0.5, 0.5]

    def test_host_timer_measures_one_call(self):
        def sleep() -> None:
            measure.time.sleep(0.01)

        seconds, device = HostTimer().sample(sleep, 3)
        assert 0.01 <= seconds < 0.1  # a call, not the three, on however busy a machine
        assert device is None

    def test_ratio_is_made_pair_by_pair(self):
        ratio = Ratio.of([1.0, 2.0, 30.0, 4.0, 5.0], [2.0, 4.0, 60.0, 4.0, 20.0])
        assert (ratio.low, ratio.median, ratio.high) == (0.5, 0.5, 0.5)
        assert Ratio.of([3.0], [2.0]) == Ratio(1.5, 1.5, 1.5)


class TestResults:
    def test_every_operation_was_measured(self, results):
        assert results.complete
        families = {family for found in FAMILIES.values() for family in found}
        assert {row.operation for row in results.rows} == {
            name
            for name, (operation, rank) in FUNCTIONS.items()
            if operation.family.name in families and rank in (0, 2)
        }
        for row in results.rows:
            assert row.fault is None
            assert row.seconds > 0
            assert "textbook" in row.peers
        assert results.noise.keys() == {row.group for row in results.rows if row.peers}

    def test_file_gives_back_the_run(self, results, tmp_path):
        results.save(tmp_path / "run.json")
        assert Results.load(tmp_path / "run.json") == results
        kept = json.loads((tmp_path / "run.json").read_text())["environment"]
        assert {"date", "commit", "processor", "threads", "blas", "packages", "backstride"} <= kept.keys()

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}', '{"format": 1, "rows": 3}'])
    def test_another_file_is_refused(self, text, tmp_path):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(ValueError, match=r"other\.json is no results file"):
            Results.load(tmp_path / "other.json")

    def test_geometric_means(self):
        def row(shape, ours, theirs):
            blank = Row("s", shape, "", "conv2d", "conv forward", "float32", 1, 1)
            return replace(blank, ours=Timing([ours]), peers={"torch": Timing([theirs])})

        run = Results({}, {}, {"torch": ""}, {}, rows=[row("a", 1, 2), row("b", 4, 2), row("c", 2, 1)])
        (mean,) = run.means("torch")
        assert (mean.group, mean.shapes, mean.worst) == ("conv forward", 3, 2)
        assert math.isclose(mean.mean, (0.5 * 2 * 2) ** (1 / 3))
        assert run.means("textbook") == []

    def test_interruption_keeps_the_finished_rows(self, quick_ceilings):
        plan = Plan(SMALL, functions_named(["conv2d", "linear"]), "float32", 1, 0.0, [])
        begun = []

        def begin(case):
            begun.append(case)
            if len(begun) == 3:
                raise KeyboardInterrupt

        run = new_results(plan, Peers([], {}), {})
        with pytest.raises(KeyboardInterrupt):
            execute(plan, run, begin)
        assert [row.shape for row in run.rows] == [case.label for case in begun[:2]]
        assert not run.complete

    def test_a_wrong_result_of_ours_is_not_timed(self, quick_ceilings, wrong_conv2d):
        plan = Plan(SMALL, functions_named(["conv2d", "training_step", "linear"]), "float32", 1, 0.0, [TEXTBOOK])
        run = new_results(plan, Peers([], {}), {})
        execute(plan, run)
        for row in run.rows:
            assert ("error" in (row.fault or "")) == (row.operation != "linear")
            assert bool(row.ours.seconds) == (row.fault is None)
            assert not row.notes, "the peer is blamed for our fault"

    def test_a_wrong_peer_is_not_timed(self, quick_ceilings):
        wrong = replace(TEXTBOOK, name="wrong", prepare=lambda case: lambda: TEXTBOOK.prepare(case)() + 1)
        plan = Plan(SMALL, functions_named(["linear"]), "float32", 1, 0.0, [wrong])
        run = new_results(plan, Peers([], {}), {})
        execute(plan, run)
        assert run.rows[0].ours.seconds
        assert not run.rows[0].peers
        assert "error" in run.rows[0].notes["wrong"]

    def test_comparison_pairs_the_common_cases(self, results):
        before = replace(results, rows=results.rows[2:], environment={**results.environment, "threads": 99})
        assert [(a.shape, b.shape) for a, b in pairs(before, results)] == [(r.shape, r.shape) for r in results.rows[2:]]
        lines = differences(before, results)
        assert any(line.startswith("environment threads differs: 99 before") for line in lines)
        assert lines[-1] == "2 cases were timed in one run only"


class TestOnCupy:
    """The GPU's way of a run, on the emulator's arrays too: results and files, not speed."""

    @pytest.fixture(params=[cupys.emulated, cupys.real], ids=["emulated", "real"])
    def cupy(self, request, monkeypatch):
        monkeypatch.setattr(measure, "CEILING_LOADS", {"cupy": (64, 1 << 12)})
        monkeypatch.setattr(measure, "SHORTEST_SAMPLE", 0.0)
        with request.param(monkeypatch) as module:
            yield module

    @pytest.mark.parametrize("layout", [NCHW, NHWC])
    def test_run(self, cupy, layout, tmp_path):
        shapes = (Shape("small", "conv", "3,8x7->4 1x1/1", 2, True, "made up"), *SMALL[2:4])
        found, functions = find_peers(layout), functions_named(["conv2d", "max_pool2d", "linear"])
        plan = Plan(shapes, functions, "float32", 1, 0.0, found.present[-1:], layout)
        run = new_results(plan, found, {})
        execute(plan, run)
        run.save(tmp_path / "run.json")
        assert Results.load(tmp_path / "run.json") == run
        assert run.environment["device"]["name"]
        assert list(run.peers) == ["cublas"]
        assert len(run.rows) == plan.count == (3 if layout == NCHW else 2)
        for row in run.rows:
            assert row.fault is None
            assert len(row.ours.device_seconds) == len(row.ours.seconds) >= 5
            assert row.ours.decisive == row.ours.device_seconds
            assert (row.ratio("cublas") is None) == (row.operation == "max_pool2d")

    def test_run_without_cublas(self, cupy, monkeypatch):
        def without_library(*matrices):
            raise ImportError("libcublas.so.12: cannot open shared object file")

        monkeypatch.setattr(cupy.ndarray, "__matmul__", without_library)
        found = find_peers()
        assert "cublas" not in [peer.name for peer in found.present]
        assert "pip install nvidia-cublas" in found.missing["cublas"]
        plan = Plan(SMALL[:1], functions_named(["conv2d"]), "float32", 1, 0.0, found.present)
        run = new_results(plan, found, {})
        execute(plan, run)
        assert run.ceilings["float32"].flops > 0
        assert [row.fault for row in run.rows] == [None]


class TestTables:
    @pytest.mark.parametrize("width", [80, 100, 140])
    def test_tables_fit_and_are_not_cut(self, results, width):
        from backstride.benchmarks.report import tables

        console = rich_console.Console(width=width, record=True, file=io.StringIO())
        console.print(tables(results, console))
        text = console.export_text()
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        for row in results.rows:
            assert row.shape in text
        assert "missing: torch: made to miss" in text

    def test_an_operation_that_only_a_later_peer_has_is_listed(self, results):
        from backstride.benchmarks.report import mean_lines

        def timed(row):
            return replace(row, peers={"other" if row.operation == "linear" else "textbook": row.ours})

        run = replace(results, rows=list(map(timed, results.rows)), peers={"textbook": "", "other": ""})
        means = {line["geometric means"]: (str(line["textbook"]), str(line["other"])) for line in mean_lines(run)}
        assert means["linear forward"] == ("-", "1.00")
        assert means["linear dx"] == ("1.00", "-")

    @pytest.mark.parametrize(
        ("value", "text"),
        [(2.0, "2.00 s"), (0.0123, "12.3 ms"), (999.6e-6, "1000 µs"), (5e-6, "5.00 µs"), (123e-6, "123 µs")],
    )
    def test_durations(self, value, text):
        from backstride.benchmarks.report import seconds

        assert seconds(value) == text


class TestCommand:
    """On the backprop suite, whose shapes take milliseconds."""

    BENCH = ("bench", "--backend", "numpy", "--suite", "backprop")

    def test_writes_everything(self, quick_ceilings, tmp_path, capsys):
        pytest.importorskip("matplotlib", reason="pictures")
        outputs = {kind: tmp_path / f"out.{kind}" for kind in ("json", "png", "html")}
        status = main(
            [
                *self.BENCH,
                "--op",
                "conv2d",
                "--op",
                "linear",
                "--peer",
                "textbook",
                "--json",
                str(outputs["json"]),
                "--plot",
                str(outputs["png"]),
                "--html",
                str(outputs["html"]),
            ]
        )
        shown = capsys.readouterr().out
        assert status == 0
        assert "3,29x28->2 3x2/2 @10" in shown
        assert "geometric means" in shown
        assert len(Results.load(outputs["json"]).rows) == 2
        assert outputs["png"].read_bytes().startswith(b"\x89PNG")
        page = outputs["html"].read_text(encoding="utf-8")
        assert "--op conv2d --op linear --peer textbook" in page
        assert not Links(page).found

        assert main(["bench", "--compare", str(outputs["json"]), str(outputs["json"])]) == 0
        assert "before/textbook" in capsys.readouterr().out

    @pytest.mark.parametrize(("ending", "start"), [("pdf", b"%PDF"), ("SVG", b"<?xml")])
    def test_the_ending_decides_what_is_drawn(self, results, ending, start, tmp_path):
        plots = pytest.importorskip("backstride.benchmarks.plots", reason="pictures need matplotlib")
        (tmp_path / f"out.{ending}").write_bytes(plots.drawn(results, f".{ending}"))
        assert (tmp_path / f"out.{ending}").read_bytes().startswith(start)

    def test_what_is_not_to_be_trusted_is_said_before_the_figures(self, results):
        plots = pytest.importorskip("backstride.benchmarks.plots", reason="pictures need matplotlib")
        from backstride.benchmarks.page import page

        loud = replace(results, noise=dict.fromkeys(results.noise, Ratio(1.0, 0.5, 2.0)))
        text, picture = page(loud), plots.picture(loud)
        assert 0 < text.index("not to be trusted") < text.index("<table>")
        assert "not to be trusted" in picture.get_suptitle()
        quiet = replace(results, noise=dict.fromkeys(results.noise, Ratio(1.0, 1.0, 1.0)))
        assert "not to be trusted" not in page(quiet) + plots.picture(quiet).get_suptitle()
        ticks = [label.get_text() for label in picture.axes[1].get_xticklabels()]
        assert "1" in ticks
        assert all(re.fullmatch(r"(1/)?\d+", tick) for tick in ticks)

    def test_files_are_utf8_in_an_ascii_locale(self, results, tmp_path):
        pytest.importorskip("matplotlib", reason="a page has a picture")
        results.save(tmp_path / "run.json")
        ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
        script = """
            from backstride import _files
            from backstride.benchmarks.page import page
            from backstride.benchmarks.results import Results
            run = Results.load("run.json")
            _files.save("run.html", page(run))
            run.save("again.json")
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        subprocess.run(command, cwd=tmp_path, env=os.environ | ascii_only, check=True)
        assert "µs" in (tmp_path / "run.html").read_text(encoding="utf-8")
        assert Results.load(tmp_path / "again.json") == results

    def test_a_wrong_result_of_ours_is_said(self, quick_ceilings, wrong_conv2d, capsys):
        assert main([*self.BENCH, "--op", "conv2d"]) == 1
        assert "wrong: conv2d 3,29x28->2 3x2/2 @10: error 1.0e-02" in capsys.readouterr().out.replace("\n", " ")

    def test_candidate_is_measured(self, quick_ceilings, capsys):
        name = "backstride.benchmarks.example_candidate:conv2d"
        assert main([*self.BENCH, "--op", "conv2d", "--peer", "textbook", "--candidate", name]) == 0
        shown = capsys.readouterr().out
        assert "wrong on 0" in shown.replace("\n", " ")
        assert "candidate" in shown.split("conv forward")[0]

    def test_wrong_candidate_is_not_measured(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "my_kernels.py").write_text("def conv2d(x, w, b=None, **options):\n    return x\n")
        monkeypatch.chdir(tmp_path)
        assert main([*self.BENCH, "--op", "conv2d", "--candidate", "my_kernels:conv2d"]) == 1
        shown = capsys.readouterr().out
        assert "plain-3x3: returned shape (2, 4, 7, 7); expected (2, 5, 7, 7)" in shown.replace("\n", "")
        assert "geometric" not in shown

    @pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_interrupted_run_is_shown_and_written(
        self, number, expected, quick_ceilings, tmp_path, monkeypatch, capsys
    ):
        from backstride.benchmarks import run as runner

        judged = itertools.count()

        def interrupted(*arguments):
            if next(judged) == 3:
                signal.raise_signal(number)
            return judge(*arguments)

        monkeypatch.setattr(runner, "judge", interrupted)
        status = main(
            [
                *self.BENCH,
                "--op",
                "conv2d",
                "--op",
                "conv2d_bias_grad",
                "--peer",
                "textbook",
                "--json",
                str(tmp_path / "part.json"),
            ]
        )
        assert status == expected
        assert "interrupted: these are the rows that were done" in capsys.readouterr().out
        part = Results.load(tmp_path / "part.json")
        assert [row.operation for row in part.rows] == ["conv2d"]
        assert not part.complete

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--suite", "backprop", "--op", "training_step"], "--op is for no shape of --suite"),
            (["--op", "training_step", "--dtype", "float16"], "--op is for no shape of --suite in this --dtype"),
            (["--op", "linear", "--layout", "NHWC"], "in this --dtype and --layout"),
            (["--peer", "cudnn"], "peer 'cudnn' is not available: expected 'all' or one of"),
            (["--candidate", "math:cos"], "--candidate is given without one --op"),
            (["--op", "conv2d", "--candidate", "math:kernel"], "expected MODULE:FUNCTION that can be imported"),
            (["--op", "conv2d", "--candidate", "nothing"], "expected MODULE:FUNCTION that can be imported"),
            (["--batch", "0"], "is not an int of at least 1"),
            (["--plot", "out.gif"], "argument --plot: out.gif should end in .png or .pdf or .svg"),
            (["--json", "nowhere/out.json"], "there is no folder nowhere"),
            (["--compare", "a.json", "b.json"], "a.json cannot be read"),
        ],
    )
    def test_bad_arguments_are_refused_before_measuring(self, arguments, message, capsys):
        try:
            status = main(["bench", "--backend", "numpy", *arguments])
        except SystemExit as refused:
            status = refused.code
        assert status == 2
        assert message in capsys.readouterr().err


class Links(html.parser.HTMLParser):
    """What a page would load from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = [value for name, value in attributes if name in ("src", "href")]
        self.found += [value for value in values if not value.startswith("data:")]


def test_suite_names_are_those_of_the_shapes():
    assert set(suite_names()) == {shape.suite for shape in SHAPES}
