"""Tuning: every candidate is timed, the fastest is kept and taken, with the same bits; a file that does not hold here
is passed over. In the emulator, with a clock that is told what each launch takes."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import cupys
import emulator
import numpy as np
import pytest
import reference

import backstride as bs
from backstride import kernels
from backstride._notices import warn_once
from backstride.cli import main
from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.conv import cuda as conv_cuda
from backstride.kernels.conv import tiny
from backstride.kernels.cuda.gemm import choice, decisions
from backstride.kernels.cuda.gemm.configuration import Configuration, Direct
from backstride.kernels.cuda.gemm.tuned import Answer, Question, Timed, described
from backstride.kernels.cuda.offline.dryrun import Device, dry_run
from backstride.kernels.cuda.runtime import answers
from backstride.kernels.cuda.tuning import file as tune_file
from backstride.kernels.cuda.tuning import search, timer
from backstride.kernels.cuda.tuning.file import TuneFile
from backstride.kernels.cuda.tuning.machine import Machine, source_digest
from backstride.kernels.linear import cuda as linear_cuda
from backstride.kernels.operation import Case

TILES = choice.TILES[2:4]  # few kernels to compile
LAYER = Case("", (33, 256), (9, 256))  # of the least k that may be split


@pytest.fixture
def cupy(monkeypatch):
    monkeypatch.setenv("EMULATOR_SM", "80")  # where few policies compete
    choice._architecture.cache_clear()
    with cupys.emulated(monkeypatch) as module:
        monkeypatch.delenv(tune_file.VARIABLE, raising=False)
        monkeypatch.setattr(search, "EventTimer", lambda: most_blocks)
        monkeypatch.setattr(choice, "TILES", TILES)
        monkeypatch.setattr(timer, "ROUNDS", (2, 2))
        choice.choose.cache_clear()
        answers.of_process.cache_clear()
        yield module
    choice.choose.cache_clear()
    choice._architecture.cache_clear()
    answers.of_process.cache_clear()


def most_blocks(call: Callable[[], Any]) -> float:
    """A clock: the more blocks a call launches, the less it takes."""
    with emulator.record_launches() as launches:
        call()
    return 1 / sum(launch.grid[0] for launch in launches if launch.name != "split_sum")


def arrays(cupy, rng, dtype: str = "float32") -> tuple[Any, Any]:
    return tuple(cupy.asarray(rng.standard_normal(shape).astype(dtype)) for shape in (LAYER.x, LAYER.w))


def asked(x: Any, w: Any) -> tuple[Question, Configuration]:
    """What a layer asks, and what it then launches."""
    with decisions.recorded() as found:
        linear_cuda.linear(x, w, None, calls.call(OPERATIONS["linear"], LAYER, calls.bare(x.dtype))[-1])
    return found.questions[0], found.configurations[0]


def others_first(question: Question) -> list[Configuration]:
    modelled = question.modelled()
    return sorted(question.alternatives(any_bits=False), key=lambda c: c == modelled)


def write(file: Any, question: Question, machine: Machine | None = None) -> None:
    """A file as tuning leaves it, the model's choice the slowest."""
    timings = [Timed(described(c), 1e-6 * (i + 1)) for i, c in enumerate(others_first(question))]
    TuneFile(machine or Machine.here(), {str(question): Answer(tuple(timings))}).write(file)


def blocks(c: Configuration) -> int:
    return c.blocks


def test_the_fastest_candidate_is_kept_and_taken_with_the_same_bits(cupy, rng, tmp_path, monkeypatch):
    x, w = arrays(cupy, rng)
    question, modelled = asked(x, w)
    candidates = question.alternatives(any_bits=False)
    most = max(map(blocks, candidates))
    assert blocks(modelled) < most, "else there is nothing to find"
    before = kernels.linear(x, w)
    file = tmp_path / "net.tune"
    with bs.tuning(file):
        during = kernels.linear(x, w)
    assert during.get().tobytes() == before.get().tobytes()
    (entry,) = json.loads(file.read_text())["products"].values()
    assert len(entry["timings"]) == len(candidates) > 1
    seconds = [timing["seconds"] for timing in entry["timings"]]
    assert seconds == sorted(seconds)

    monkeypatch.setenv(tune_file.VARIABLE, str(file))
    answers.of_process.cache_clear()
    _, taken = asked(x, w)
    assert blocks(taken) == most
    assert taken.summation == modelled.summation
    assert kernels.linear(x, w).get().tobytes() == before.get().tobytes()


def test_any_bits_finds_more_and_stays_right(cupy, rng, tmp_path, monkeypatch):
    x, w = arrays(cupy, rng)
    question, modelled = asked(x, w)
    file = tmp_path / "net.tune"
    with bs.tuning(file, any_bits=True):
        y = kernels.linear(x, w)
    exact = reference.linear(x.get().astype(np.float64), w.get().astype(np.float64))
    np.testing.assert_allclose(
        y.get(), exact, rtol=0, atol=512 * 2**-24 * 512
    )  # n u sum|a||b| (Higham, 3.5), terms of about 1
    (entry,) = json.loads(file.read_text())["products"].values()
    assert len(entry["timings"]) == len(question.alternatives(any_bits=True))
    assert len(entry["timings"]) > len(question.alternatives(any_bits=False))
    monkeypatch.setenv(tune_file.VARIABLE, str(file))
    answers.of_process.cache_clear()
    assert blocks(asked(x, w)[1]) > blocks(modelled)


def test_what_the_file_holds_is_not_timed_again(cupy, rng, tmp_path):
    x, w = arrays(cupy, rng)
    file = tmp_path / "net.tune"
    with bs.tuning(file):
        kernels.linear(x, w)
    first = file.read_text()
    with bs.tuning(file):
        with emulator.record_launches() as launches:
            kernels.linear(x, w)
        assert len(launches) <= 2, "product and sum: nothing is timed"
        kernels.linear_input_grad(kernels.linear(x, w), w)
    added = json.loads(file.read_text())["products"]
    assert json.loads(first)["products"].items() < added.items()
    assert len(added) == 2


def test_every_product_of_a_training_step_is_tuned_within_composites_too(cupy, rng, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "TILES", TILES[:1])
    monkeypatch.setattr(tiny, "LIMIT", 0)  # else one kernel gives all gradients
    x, w = arrays(cupy, rng)
    shapes = ((2, 24, 6, 6), (20, 24, 3, 3))
    images, filters = (cupy.asarray(rng.standard_normal(shape).astype(np.float32)) for shape in shapes)
    file = tmp_path / "net.tune"
    with bs.tuning(file):
        y = kernels.conv2d(images, filters)
        kernels.conv2d_grads(y, images, filters)
        kernels.max_pool2d(y, 2)
        kernels.linear(x, w)
    text = file.read_text()
    for operation in ("conv", "conv_input_grad", "conv_weight_grad", "linear"):
        assert f"operation='{operation}'" in text
    assert len(json.loads(text)["products"]) == 4


IMAGES, FILTERS = (2, 3, 12, 12), (8, 3, 3, 3)


def images_of_few_channels(cupy, rng) -> tuple[Any, Any]:
    return tuple(cupy.asarray(rng.standard_normal(shape).astype(np.float32)) for shape in (IMAGES, FILTERS))


def few_channels_first(call: Callable[[], Any]) -> float:
    """A clock: products take a second, direct kernels half of it."""
    return 0.5 if any(name.startswith("few_channels") for name in launched(call)) else 1.0


def few_channels_last(call: Callable[[], Any]) -> float:
    return 1 / few_channels_first(call)


def launched(call: Callable[[], Any]) -> list[str]:
    with emulator.record_launches() as launches:
        call()
    return [launch.name for launch in launches]


@pytest.mark.parametrize("operation", ["conv2d", "conv2d_input_grad"])
@pytest.mark.parametrize(
    ("clock", "direct"), [(few_channels_first, True), (few_channels_last, False)], ids=["direct", "product"]
)
def test_a_direct_kernel_races_the_products(cupy, rng, tmp_path, monkeypatch, operation, clock, direct):
    monkeypatch.setattr(search, "EventTimer", lambda: clock)
    monkeypatch.setattr(choice, "TILES", TILES[:1])
    x, w = images_of_few_channels(cupy, rng)
    dy = kernels.conv2d(x, w)
    call = {
        "conv2d": lambda: kernels.conv2d(x, w),
        "conv2d_input_grad": lambda: kernels.conv2d_input_grad(dy, w, IMAGES),
    }
    before, file = call[operation](), tmp_path / "net.tune"
    with bs.tuning(file, any_bits=True):
        during = call[operation]()
    (entry,) = json.loads(file.read_text())["products"].values()
    described = [timing.get("direct") for timing in entry["timings"]]
    assert (described[0] is not None) == direct
    assert len(described) > 1
    assert sum(name is not None for name in described) == 1
    np.testing.assert_allclose(during.get(), before.get(), rtol=0, atol=72 * 2**-24 * 72 * 4)  # n u sum|a||b|, as above

    monkeypatch.setenv(tune_file.VARIABLE, str(file))
    answers.of_process.cache_clear()
    assert any(name.startswith("few_channels") for name in launched(call[operation])) == direct


def test_what_has_other_bits_than_the_models_choice_does_not_race(cupy, rng, tmp_path):
    x, w = images_of_few_channels(cupy, rng)
    before = kernels.conv2d(x, w)
    with bs.tuning(tmp_path / "net.tune"):
        during = kernels.conv2d(x, w)
    assert during.get().tobytes() == before.get().tobytes()
    (entry,) = json.loads((tmp_path / "net.tune").read_text())["products"].values()
    assert len({timing.get("direct") for timing in entry["timings"]}) == 1, "the direct kernel alone, or products alone"


def test_images_keep_their_bits_in_any_batch_whatever_is_timed(cupy, rng, tmp_path):
    """Batch invariance goes before any_bits: a direct kernel must not win in one batch and a product in another."""
    x, w = images_of_few_channels(cupy, rng)
    with bs.use_batch_invariant(), bs.tuning(tmp_path / "net.tune", any_bits=True):
        whole = kernels.conv2d(x, w)
        first = kernels.conv2d(x[:1], w)
    assert first.get().tobytes() == whole.get()[:1].tobytes()
    for entry in json.loads((tmp_path / "net.tune").read_text())["products"].values():
        assert len({timing.get("direct") for timing in entry["timings"]}) == 1


def test_a_file_is_taken_where_it_holds(cupy, rng, tmp_path, monkeypatch):
    x, w = arrays(cupy, rng)
    question, modelled = asked(x, w)
    write(tmp_path / "net.tune", question)
    monkeypatch.setenv(tune_file.VARIABLE, str(tmp_path / "net.tune"))
    answers.of_process.cache_clear()
    assert asked(x, w)[1] == others_first(question)[0] != modelled
    with bs.use_float32_precision("ieee"):
        question, taken = asked(x, w)
        assert taken == question.modelled(), "another precision is another question"


@pytest.mark.parametrize("part", ["gpu", "driver", "source", "multiprocessors"])
def test_a_file_from_elsewhere_is_passed_over_in_one_line(cupy, rng, tmp_path, monkeypatch, caplog, part):
    x, w = arrays(cupy, rng)
    question, modelled = asked(x, w)
    file = tmp_path / "net.tune"
    write(file, question)
    content = json.loads(file.read_text())
    content["machine"][part] = "another" if isinstance(content["machine"][part], str) else 1
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"was measured with {part} (another|1), not"):
        bs.tuning(file).__enter__()
    monkeypatch.setenv(tune_file.VARIABLE, str(file))
    answers.of_process.cache_clear()
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "backstride"):
        assert asked(x, w)[1] == modelled
        kernels.linear(x, w)
    (line,) = [record.message for record in caplog.records if "net.tune" in record.message]
    assert f"net.tune is passed over: it was measured with {part} " in line
    assert json.loads(file.read_text()) == content, "it was not overwritten"


@pytest.mark.parametrize(
    "content",
    ["", "no json", "[]", '{"format": 1}', '{"format": 2, "machine": {}, "products": {}}', '{"format": 2}'],
)
def test_what_is_no_such_file(cupy, rng, tmp_path, monkeypatch, caplog, content):
    file = tmp_path / "net.tune"
    file.write_text(content)
    monkeypatch.setenv(tune_file.VARIABLE, str(file))
    warn_once.cache_clear()
    x, w = arrays(cupy, rng)
    with caplog.at_level(logging.WARNING, "backstride"):
        assert kernels.linear(x, w).shape == (33, 9)
    assert f"{tune_file.VARIABLE} is passed over: {file} is no file of tuned choices" in caplog.text
    if content:
        with pytest.raises(ValueError, match="is no file of tuned choices"):
            bs.tuning(file).__enter__()
        assert file.read_text() == content


def test_a_choice_that_is_no_candidate_is_never_launched(cupy, rng, tmp_path, monkeypatch, caplog):
    x, w = arrays(cupy, rng)
    question, modelled = asked(x, w)
    file = tmp_path / "net.tune"
    write(file, question)
    file.write_text(file.read_text().replace('"splits": ', '"splits": 99'))
    monkeypatch.setenv(tune_file.VARIABLE, str(file))
    answers.of_process.cache_clear()
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "backstride"):
        assert asked(x, w)[1] == modelled
    assert "none of this version's candidates" in caplog.text


def test_nothing_is_tuned_where_a_stream_captures(cupy, rng, tmp_path):
    x, w = arrays(cupy, rng)
    y = kernels.linear(x, w)
    stream = cupy.cuda.Stream()
    file = tmp_path / "net.tune"
    with bs.tuning(file), stream:
        stream.begin_capture()
        captured = kernels.linear(x, w)
        stream.end_capture().launch()
    assert not file.exists()
    np.testing.assert_array_equal(captured.get(), y.get())


def test_what_was_measured_is_written_whatever_ends_the_block(cupy, rng, tmp_path):
    x, w = arrays(cupy, rng)

    def interrupted():
        with bs.tuning(tmp_path / "net.tune"):
            kernels.linear(x, w)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(json.loads((tmp_path / "net.tune").read_text())["products"]) == 1


def test_a_file_that_cannot_be_written_is_said_before_the_block(cupy, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        bs.tuning(tmp_path / "nowhere" / "net.tune").__enter__()


def test_on_numpy_there_is_nothing_to_tune(tmp_path, rng):
    with bs.tuning(tmp_path / "net.tune"):
        kernels.linear(rng.standard_normal(LAYER.x), rng.standard_normal(LAYER.w))
    assert not (tmp_path / "net.tune").exists()


def test_a_race_ends_when_the_spread_is_small_and_keeps_the_median():
    turns = {"steady": iter([5.0] * 100), "slow": iter([9.0] * 100), "first call": iter([50.0] + [4.0] * 99)}
    found = timer.fastest_first({name: (lambda name=name: name) for name in turns}, lambda call: next(turns[call()]))
    assert found == [("first call", 4.0), ("steady", 5.0), ("slow", 9.0)]
    assert len(list(turns["slow"])) == 100 - timer.ROUNDS[0], "the hopeless one was dropped after the least rounds"


def test_a_noisy_race_takes_more_rounds_and_ends(rng):
    taken = []
    timer.fastest_first({"noisy": lambda: None}, lambda call: taken.append(1) or rng.uniform(1, 2))
    assert timer.ROUNDS[0] < len(taken) <= timer.ROUNDS[1]
    assert timer.spread([1.0] * 5) == 0
    assert timer.spread([0.9, 1.0, 1.1, 1.0, 1.0]) > timer.SPREAD


def test_the_command(cupy, tmp_path, capsys, monkeypatch):
    shapes, file = tmp_path / "net.shapes", tmp_path / "net.tune"
    shapes.write_text("linear --x 33,256 --w 9,256\nmax_pool2d --x 2,3,8,8 --kernel-size 2\n")
    assert main(["tune", "--shapes", str(shapes), "--file", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"3 products timed, 3 in {file}" in out
    assert "by the model's choice" in out
    monkeypatch.setenv(tune_file.VARIABLE, str(file))
    answers.of_process.cache_clear()
    assert main(["tune", "--shapes", str(shapes)]) == 0
    assert f"0 products timed, 3 in {file}" in capsys.readouterr().out


def test_the_command_without_a_file_or_a_gpu(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv(tune_file.VARIABLE, raising=False)
    assert main(["tune"]) == 2
    assert "give --file, or set BACKSTRIDE_TUNE_FILE" in capsys.readouterr().err
    if bs.backend.probe_cupy().failed is not None:
        assert main(["tune", "--file", str(tmp_path / "t")]) == 2
        assert "there is no GPU here to time kernels on" in capsys.readouterr().err


def test_plan_shows_tuned_beside_modelled_without_a_gpu(tmp_path, monkeypatch, capsys):
    arguments = calls.call(OPERATIONS["linear"], LAYER, calls.bare(np.dtype(np.float32)))
    (question,) = dry_run(linear_cuda.linear, arguments, Device(90, 132)).decisions.questions
    file = tmp_path / "net.tune"
    write(file, question, Machine("H200", 90, 132, 1, source_digest()))
    monkeypatch.setenv(tune_file.VARIABLE, str(file))
    answers.of_process.cache_clear()
    call = ["plan", "linear", "--x", "33,256", "--w", "9,256"]
    assert main([*call, "--gpu", "H200"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"predicted +tuned *\n.* µs +µs *$", out, re.MULTILINE)
    assert re.search(r"chosen .* 1 *$", out, re.MULTILINE), "the one that took 1 µs"
    assert f"Tuned: measured on a GPU, from {file}; it goes before the model." in " ".join(out.split())
    assert main([*call, "--gpu", "H200", "--sms", "16"]) == 0
    assert "tuned" not in capsys.readouterr().out.lower()
    answers.of_process.cache_clear()


@pytest.mark.parametrize("fastest", ["direct", "product"])
def test_plan_shows_what_was_measured_of_a_direct_kernel_and_of_the_product(tmp_path, monkeypatch, capsys, fastest):
    case = Case("", IMAGES, FILTERS)
    arguments = calls.call(OPERATIONS["conv"], case, calls.bare(np.dtype(np.float32)))
    (question,) = dry_run(conv_cuda.conv, arguments, Device(90, 132)).decisions.questions
    order = sorted(question.alternatives(any_bits=True), key=lambda c: isinstance(c, Direct) != (fastest == "direct"))
    timings = [Timed(described(c), 1e-6 * (i + 1)) for i, c in enumerate(order)]
    file = tmp_path / "net.tune"
    known = {str(question): Answer(tuple(timings), any_bits=True)}
    TuneFile(Machine("H200", 90, 132, 1, source_digest()), known).write(file)
    monkeypatch.setenv(tune_file.VARIABLE, str(file))
    answers.of_process.cache_clear()
    assert main(["plan", "conv2d", "--x", "2,3,12,12", "--w", "8,3,3,3", "--gpu", "H200"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    direct, product = ("1", "2") if fastest == "direct" else (str(len(order)), "1")
    assert f"tuned │ {direct} µs by the direct kernel, {product} µs as a product" in out
    assert ("kernel │ few_channels " in out) == (fastest == "direct")
    assert f"Tuned: measured on a GPU, from {file}" in out
    answers.of_process.cache_clear()
