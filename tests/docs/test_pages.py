"""What the pages of docs/ say to type works, and Sphinx builds them without a warning; no public name is missing."""

from __future__ import annotations

import importlib
import re
import runpy
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import emulator
import numpy as np
import pytest
import shown

from backstride import backend, jit, kernels
from backstride.conformance.grading.grader import Grader

DOCS = shown.TREE / "docs"
PAGES = {file.name: file.read_text(encoding="utf-8") for file in sorted(DOCS.glob("*.md"))}
WITH_TORCH = [name for name, text in PAGES.items() if "import torch" in text]
ELSEWHERE = ["recipes.md", "own-kernel.md", "grading.md"]  # what they show is tried with what it is for
PLAIN = [name for name in PAGES if shown.python(PAGES[name]) and name not in [*ELSEWHERE, *WITH_TORCH]]
COMMANDS = sorted({line for text in PAGES.values() for line in shown.commands(text)})
MODULES = ["", ".kernels", ".layers", ".models", ".optim", ".distributed", ".explanation", ".interop.cudnn"]


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's Python, block by block as a reader types it."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    with jit.use_jit(False):  # compiling takes longer than what is shown
        for block in shown.python(PAGES[name]):
            exec(compile(block, name, "exec"), names)


@pytest.mark.parametrize("name", PLAIN)
def test_a_page(name, tmp_path, monkeypatch):
    run(name, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", WITH_TORCH)
def test_a_page_with_torch(name, torch, tmp_path, monkeypatch):
    run(name, tmp_path, monkeypatch)


def test_a_kernel_of_ones_own(rng):
    names: dict[str, Any] = {}
    exec(shown.python(PAGES["own-kernel.md"])[0], names)
    x, w, b = rng.integers(-4, 5, (2, 3, 5, 4)) * 1.0, rng.integers(-4, 5, (6, 3, 1, 1)) * 1.0, np.arange(6.0)
    np.testing.assert_array_equal(names["conv2d"](x, w, b), kernels.conv2d(x, w, b))
    with pytest.raises(NotImplementedError):
        names["conv2d"](x, np.ones((6, 3, 2, 2)))


def test_a_cuda_kernel_of_ones_own(rng):
    if shutil.which("g++") is None:
        pytest.skip("the emulator compiles kernels with g++, which is not installed")
    names: dict[str, Any] = {}
    x = rng.standard_normal((2, 3, 6, 4)).astype(np.float32)
    with emulator.installed() as cupy, backend.use_backend("numpy"):
        exec(shown.python(PAGES["own-kernel.md"])[1], names)
        y = cupy.asnumpy(names["avg_pool2d"](cupy.asarray(x), 2))
    np.testing.assert_allclose(y, kernels.avg_pool2d(x, 2), rtol=1e-6)


def test_what_the_grader_says(tmp_path):
    (text,) = shown.python(PAGES["grading.md"])
    (tmp_path / "my_conv.py").write_text(text, encoding="utf-8")
    grader = Grader(tmp_path / "my_conv.py")
    verdicts = [grader.verdict(graded, idea) for graded in grader.graded for idea in graded.ideas]
    assert f"    {next(each.text for each in verdicts if each.state == 'missing')}\n" in PAGES["grading.md"]
    held = sum(each.state == "held" for each in verdicts)
    assert f"{held} of {len(verdicts)} marks" in PAGES["grading.md"]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown.assert_is_a_command(line, tmp_path)


def test_pictures_are_those_that_the_script_draws():
    drawn = runpy.run_path(str(DOCS / "pictures.py"))["DRAWN"]
    assert drawn == {file.stem: file.read_text(encoding="utf-8") for file in DOCS.glob("*.svg")}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason="the extra `docs` builds the pages")
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(out / "read")]
    done = subprocess.run([*command, str(DOCS), str(out / "html")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_every_page_is_built(built):
    assert {f"{name.removesuffix('.md')}.html" for name in PAGES} <= {file.name for file in built.glob("*.html")}
    assert (built / "_images" / "window.svg").exists()


def test_no_public_name_is_missing(built):
    listed = objects(built / "objects.inv")
    for name in MODULES:
        module = importlib.import_module(f"backstride{name}")
        public = {each for each in module.__all__ if each not in ("__version__", "explain")}
        constants = {each for each in public if each.startswith("CUDNN_")}
        assert {f"{module.__name__}.{each}" for each in public - constants} - listed == set()
        assert constants <= set(re.findall(r"CUDNN_\w+", (built / "api" / "cudnn.html").read_text(encoding="utf-8")))
    assert {"backstride.explain", "backstride.optim.schedules.one_cycle"} <= listed
    text = (Path(backend.__file__).parent / "interop" / "torch" / "__init__.py").read_text(encoding="utf-8")
    names = {f"backstride.interop.torch.{name}" for name in re.findall(r'^    "(\w+)",$', text, re.MULTILINE)}
    assert "backstride.interop.torch.convert" in names
    assert names - listed == set()


def objects(inventory: Path) -> set[str]:
    """The names in Sphinx's list of what can be referred to: four lines of head, then compressed."""
    _, _, _, _, packed = inventory.read_bytes().split(b"\n", 4)
    return {line.split()[0] for line in zlib.decompress(packed).decode().splitlines() if " py:" in line}


def test_there_is_something_to_try():
    assert len(PLAIN) >= 4
    assert len(COMMANDS) > 6
    assert WITH_TORCH == ["migrate.md"]
