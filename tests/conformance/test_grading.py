"""The grader gives full marks to what is right, and names the one idea that a mistake shows to be missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backstride.conformance.grading.functions import GRADED
from backstride.conformance.grading.grader import Grader
from backstride.conformance.grading.ideas import IDEAS

RIGHT = (Path(__file__).parent / "student.py").read_text(encoding="utf-8")

# (the idea, the functions that lack it, what is written, what stands there instead)
MISTAKES = {
    "max pooling pads with zeros": ("padding", "max_pool2d", "padding, -np.inf)", "padding, 0.0)"),
    "average gradient of rectangles": (
        "rectangular kernels",
        "avg_pool2d_grad",
        "None, None] / (kernel[0] * kernel[1])",
        "None, None] / kernel[0] ** 2",
    ),
    "average gradient raises for rectangles": (
        "rectangular kernels",
        "avg_pool2d_grad",
        "dx[_window(p, q, kernel, stride, (1, 1))] += share",
        "dx[_window(p, q, kernel, stride, (1, 1))] += share * np.ones((kernel[0], kernel[0]))",
    ),
    "dx where windows overlap": (
        "overlapping windows",
        "conv2d_input_grad",
        '] += np.einsum("nk,kcrs->ncrs"',
        '] = np.einsum("nk,kcrs->ncrs"',
    ),
    "no dilated backward": (
        "dilation",
        "conv2d_weight_grad",
        "def conv2d_weight_grad(dy, x, w_shape, *, stride=1, padding=0, dilation=1):\n",
        "def conv2d_weight_grad(dy, x, w_shape, *, stride=1, padding=0):\n    dilation = 1\n",
    ),
    "dilation is not looked at": (
        "dilation",
        "conv2d_input_grad",
        "dx[_window(p, q, kernel, stride, dilation)] += np.einsum",
        "dx[_window(p, q, kernel, stride, (1, 1))] += np.einsum",
    ),
    "pooling ignores its stride": (
        "stride",
        "avg_pool2d",
        "x[_window(p, q, kernel, stride, (1, 1))].sum",
        "x[_window(p, q, kernel, kernel, (1, 1))].sum",
    ),
    "every tie gets the gradient": (
        "ties",
        "max_pool2d_grad",
        "taps[:, :, p, q], y[:, :, p, q] = window.argmax(2), window.max(2)\n    return y, taps",
        "y[:, :, p, q] = window.max(2)\n    return y, (x, y)",
        "won = taps[:, :, p, q, None] == np.arange(kernel[0] * kernel[1])",
        "won = (taps[0][_window(p, q, kernel, stride, dilation)] == taps[1][:, :, p, q, None, None])"
        ".reshape(*x_shape[:2], kernel[0] * kernel[1])",
    ),
    "height from the width": (
        "images",
        "conv2d max_pool2d avg_pool2d",
        "rows = (height - ",
        "rows = (width - ",
    ),
    "db divided by the batch": ("bias", "conv2d_bias_grad", "dy.sum((0, 2, 3))", "dy.mean(0).sum((1, 2))"),
    "db of linear divided by the batch": ("bias", "linear_bias_grad", "return dy.sum(0)", "return dy.mean(0)"),
    "stale buffers": (
        "calls",
        "conv2d_weight_grad",
        "dw, x = np.zeros(w_shape), _padded(x, padding)",
        "dw, x = BUFFERS.setdefault(w_shape, np.zeros(w_shape)), _padded(x, padding)",
        "def conv2d(",
        "BUFFERS = {}\n\n\ndef conv2d(",
    ),
    "taps of the last forward": (
        "calls",
        "max_pool2d_grad",
        "    return y, taps",
        "    LAST[:] = [taps]\n    return y, None",
        "won = taps[",
        "won = LAST[0][",
        "def conv2d(",
        "LAST = []\n\n\ndef conv2d(",
    ),
    "an input is changed": ("calls", "linear", "    y = x @ w.T\n", "    x *= 2\n    y = x @ w.T / 2\n"),
    "swapped axes in dw": ("channels", "conv2d_weight_grad", "    return dw", "    return dw.swapaxes(0, 1)"),
    "swapped taps in dw": ("taps", "conv2d_weight_grad", "    return dw", "    return dw.swapaxes(2, 3)"),
    "dx as large as what windows reach": (
        "unreached rows",
        "avg_pool2d_grad",
        "dx = _padded(np.zeros(x_shape), padding)\n    for p in range(dy.shape[2]):\n"
        "        for q in range(dy.shape[3]):\n            share = dy",
        "size = [(n - 1) * s + k - 2 * before\n"
        "        for n, s, k, before in zip(dy.shape[2:], stride, kernel, padding, strict=True)]\n"
        "    dx = _padded(np.zeros((*dy.shape[:2], *size)), padding)\n    for p in range(dy.shape[2]):\n"
        "        for q in range(dy.shape[3]):\n            share = dy",
    ),
    "the kernel is turned round": ("taps", "conv2d", "dilation)], w)", "dilation)], w[:, :, ::-1, ::-1])"),
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(*changes: str) -> Path:
        text = RIGHT
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "my_conv.py").write_text(text, encoding="utf-8")
        return tmp_path / "my_conv.py"

    yield write
    sys.modules.pop("backstride_candidate", None)


def test_right_functions_get_full_marks(written):
    grader = Grader(written())
    assert grader.absent == []
    assert {grader.verdict(each, idea).state for each in grader.graded for idea in each.ideas} == {"held"}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_and_no_other(name, written):
    idea, functions, *changes = MISTAKES[name]
    grader = Grader(written(*changes))
    verdicts = {(each.name, of): grader.verdict(each, of) for each in grader.graded for of in each.ideas}
    missing = {key for key, verdict in verdicts.items() if verdict.state == "missing"}
    assert missing == {(function, idea) for function in functions.split()}, verdicts


def test_what_is_seen_is_said(written):
    grader = Grader(written("    return dw", "    return dw.swapaxes(0, 1)"))
    (graded,) = (each for each in grader.graded if each.name == "conv2d_weight_grad")
    text = grader.verdict(graded, "channels").text
    assert "returns shape (3, 2, 1, 1); expected (2, 3, 1, 1)" in text
    assert "axes swapped: transpose(1, 0, 2, 3)" in text
    assert grader.verdict(graded, "together").text == "rests on: channels"


def test_every_idea_is_asked_and_rests_on_others_that_are_learned_before():
    assert {each.idea for graded in GRADED for each in graded.questions} == set(IDEAS)
    for graded in GRADED:
        for each in graded.questions:
            assert each.rests_on <= set(IDEAS) - {each.idea}


def pytest_on(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest as a course runs it, with the plugin found as an installed one is."""
    (file.parent / "plugins").mkdir(exist_ok=True)
    import backstride

    tree = Path(os.environ.get("BACKSTRIDE_TREE") or Path(backstride.__file__).parent)
    (file.parent / "plugins" / "pytest_backstride").symlink_to(tree / "pytest_backstride")
    places = [str(file.parent / "plugins"), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "pytest", "-p", "pytest_backstride", "-p", "no:cacheprovider", *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    return subprocess.run(command, cwd=file.parent, env=environment, capture_output=True, text=True, timeout=120)


def test_pytest_says_which_idea_is_missing_what_is_not_there_and_the_marks(written):
    *_, text = RIGHT.partition("def linear(")
    file = written("dy.sum((0, 2, 3))", "dy.mean(0).sum((1, 2))", "".join(("def linear(", text)), "")
    done = pytest_on(file, "--backstride-candidate", "my_conv.py", "-p", "no:xdist", "-W", "error")
    assert done.returncode == 1, done.stdout + done.stderr
    seen = r"^missing: bias - .*\n    conv2d_bias_grad\(dy \(3, 1, 1, 1\)\): .* 0.333 of"
    assert re.search(seen, done.stdout, re.MULTILINE)
    assert done.stdout.count("missing:") == 1
    assert "not there: linear, linear_input_grad, linear_weight_grad, linear_bias_grad" in done.stdout
    assert re.search(r"^\d+ of \d+ marks$", done.stdout, re.MULTILINE)


def test_pytest_of_a_file_without_such_functions_fails(written):
    file = written(RIGHT, "def my_own(): ...\n")
    done = pytest_on(file, "--backstride-candidate", "my_conv.py")
    assert done.returncode not in (0, 5)
    assert "has none of the functions that are graded: conv2d, " in done.stdout


def test_pytest_without_the_option_imports_pytest_alone(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import sys\n\n\ndef test_it():\n    assert 'pytest_backstride' in sys.modules\n"
        "    assert not {'backstride', 'numpy'} & set(sys.modules)\n"
    )
    done = pytest_on(tmp_path / "test_it.py", "-p", "no:hypothesispytest", "-q", "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_that_is_not_there(tmp_path):
    done = pytest_on(tmp_path / "none.py", "--backstride-candidate", "none.py")
    assert done.returncode == 4
    assert "--backstride-candidate: there is no file none.py" in done.stderr
