"""`backstride check`: right paths pass, wrong ones are named, and without a GPU it says what it needs."""

from __future__ import annotations

import argparse
import json
import re
import signal

import emulator
import numpy as np
import pytest

from backstride import backend
from backstride.cli import check, main
from backstride.conformance import suite
from backstride.conformance.suite import Outcome
from backstride.kernels import FUNCTIONS, OPERATIONS
from backstride.kernels.conv import cases_nhwc
from backstride.kernels.conv.cases import CONV, CONV_LARGE
from backstride.kernels.linear.cases import LINEAR, LINEAR_COLUMNS, LINEAR_RELU
from backstride.kernels.operation import PLAIN, implementation


def numpy_path(operation: str):
    return implementation(OPERATIONS[operation], PLAIN)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def fake_cuda(monkeypatch):
    """Lets the suite take the NumPy path, with some operations replaced, for the CUDA path."""

    def use(**replaced):
        paths = {name: numpy_path(name) for name in OPERATIONS} | replaced
        monkeypatch.setattr(suite, "implementation", lambda operation, path: paths[operation.name])
        monkeypatch.setattr(suite, "import_cupy", lambda: np)
        monkeypatch.setattr(suite, "compile_ahead", lambda calls: None)
        monkeypatch.setattr(check, "probe_cupy", lambda: backend.Probe(None, "", ""))
        monkeypatch.setattr(check, "device_name", lambda name: "a stand-in")

    return use


def test_every_operation_case_and_dtype_is_checked():
    pytest.importorskip("ml_dtypes")
    seen = {(o.operation, o.dtype, o.case) for o in suite.run("numpy", operations=["conv2d_bias_grad", "linear"])}
    images = [*CONV, *CONV_LARGE, *(case for case in cases_nhwc.CONV if len(case.x) == 4)]
    cases = [("conv2d_bias_grad", case.name) for case in images]
    cases += [("linear", case.name) for case in LINEAR + LINEAR_COLUMNS + LINEAR_RELU]
    dtypes = ("float16", "bfloat16", "float32", "float64")
    assert seen == {(name, dtype, case) for name, case in cases for dtype in dtypes}


def test_the_numpy_path_passes(capsys, monkeypatch):
    seen = []
    run = suite.run
    monkeypatch.setattr(suite, "run", lambda *given, **options: (seen.append(o) or o for o in run(*given, **options)))
    assert check.run(parsed("--backend", "numpy", "--dtype", "float32", "--precision", "ieee")) == 0
    assert "0 failed" in capsys.readouterr().out
    assert {outcome.operation for outcome in seen} == set(FUNCTIONS)


def test_a_wrong_tap_is_a_failure(fake_cuda, capsys):
    def last_tie_wins(x, geometry):
        y, taps = numpy_path("max_pool")(x[..., ::-1, ::-1], geometry)
        return y[..., ::-1, ::-1].copy(), taps[..., ::-1, ::-1].copy()

    fake_cuda(max_pool=last_tie_wins)
    assert check.run(parsed("--case", "2x2", "--dtype", "float32")) == 1
    out = capsys.readouterr().out
    assert "FAILED max_pool2d float32 2x2 (normal): output 1 at (" in out
    assert "FAILED max_pool2d_grad" not in out


def test_a_result_that_changes_is_a_failure(fake_cuda, capsys):
    """The two runs differ in the last bit, well within the rounding bound."""
    calls = 0

    def restless(dy, w, geometry):
        nonlocal calls
        calls += 1
        dx = numpy_path("linear_input_grad")(dy, w, geometry)
        return np.nextafter(dx, np.inf) if calls % 2 else dx

    fake_cuda(linear_input_grad=restless)
    assert check.run(parsed("--operation", "linear_input_grad", "--case", "deep", "--dtype", "float32")) == 1
    assert "FAILED linear_input_grad float32 deep (normal): a second run gave other bits" in capsys.readouterr().out


def test_a_call_that_raises_is_a_failure_and_the_suite_goes_on(fake_cuda, capsys):
    def broken(dy, geometry):
        raise RuntimeError("conv2d_bias_grad: the kernel does not compile")

    fake_cuda(conv_bias_grad=broken)
    assert check.run(parsed("--case", "1x1", "--dtype", "float64", "--json")) == 1
    document = json.loads(capsys.readouterr().out)
    faults = {o["operation"]: o["fault"] for o in document["outcomes"] if o["fault"]}
    assert faults == {"conv2d_bias_grad": "RuntimeError: conv2d_bias_grad: the kernel does not compile"}
    assert document["failed"] == 3 * 1  # once for each kind of data
    assert {o["operation"] for o in document["outcomes"]} > {"conv2d", "conv2d_weight_grad", "conv_transpose2d"}


def test_gaps_between_elements_are_met(fake_cuda):
    """A path that reads its input's memory as if it were contiguous fails only on arrays with gaps."""

    def ignores_strides(x, geometry):
        flat = x if x.base is None else x.base.reshape(-1)[: x.size].reshape(x.shape)
        return numpy_path("avg_pool")(flat, geometry)

    fake_cuda(avg_pool=ignores_strides)
    outcomes = suite.run("cupy", operations=["avg_pool2d"], dtypes=["float32"], cases=["2x2"])
    assert {o.data for o in outcomes if not o.passed} == {"normal, not contiguous"}


def test_without_a_gpu_it_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.setattr(check, "probe_cupy", lambda: backend.Probe("device", "no device answers", "plug one in"))
    assert main(["check"]) == 2
    err = capsys.readouterr().err
    assert "check needs an NVIDIA GPU" in err
    assert "the device probe failed (no device answers); plug one in" in err


def test_json_goes_into_a_file(fake_cuda, tmp_path, capsys):
    fake_cuda()
    file = tmp_path / "out.json"
    assert check.run(parsed("--case", "one-sample", "--dtype", "float64", "--json", str(file))) == 0
    assert json.loads(file.read_text())["failed"] == 0
    assert capsys.readouterr().out == ""


def test_json_is_strict(fake_cuda, capsys):
    """An infinite error, as of a NaN in the wrong place, is null: JSON has no infinity."""
    fake_cuda(linear_bias_grad=lambda dy, g: np.full_like(numpy_path("linear_bias_grad")(dy, g), np.nan))
    assert check.run(parsed("--operation", "linear_bias_grad", "--case", "deep", "--dtype", "float32", "--json")) == 1
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["calls"] == len(document["outcomes"]) == 3
    assert any(o["error"] is None for o in document["outcomes"])


def test_it_runs_on_cupy_arrays(monkeypatch):
    """On the emulator's CuPy, arrays with gaps included."""
    monkeypatch.setattr(backend, "probe_cupy", lambda: backend.Probe(None, "emulated", ""))
    operations = ["max_pool2d", "avg_pool2d_grad", "linear_bias_grad"]
    with emulator.installed() as cupy:
        compiled = []
        module = cupy.RawModule

        def recording(code, options):
            compiled.append(code)
            return module(code=code, options=options)

        monkeypatch.setattr(cupy, "RawModule", recording)
        outcomes = list(
            suite.run("cupy", operations=operations, dtypes=["float32"], cases=["overlapping-padded", "deep"])
        )
    assert {o.operation for o in outcomes} == set(operations)
    ahead, used = compiled[: len(set(compiled))], compiled[len(set(compiled)) :]
    assert sorted(ahead) == sorted(set(compiled)), "some kernel was compiled only when it was needed"
    assert set(used) == set(ahead), "some kernel was compiled ahead and never used"
    assert [o for o in outcomes if not o.passed] == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_interrupted_check_shows_what_it_checked(number, status, options, monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments, **chosen):
        yield Outcome("linear", "float32", "plain", "random", 0.5, True, None)
        signal.raise_signal(number)
        pytest.fail("the signal was not met")

    monkeypatch.setattr(suite, "run", run)
    assert main(["check", "--backend", "numpy", *options]) == status
    output = capsys.readouterr()
    assert "interrupted: what was checked until then" in output.err
    if options:
        document = json.loads(output.out)
        assert not document["complete"]
        assert [outcome["operation"] for outcome in document["outcomes"]] == ["linear"]
    else:
        assert re.search(r"linear +1 +0\.50", output.out)
    assert signal.getsignal(signal.SIGTERM) is before
