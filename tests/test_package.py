"""The sdist and the wheel hold every file of the package, though none is listed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import backstride

pytest.importorskip("setuptools", minversion="77", reason="builds with setuptools")

SUFFIXES = (".py", ".cu", ".cuh", ".h", ".html", ".css", ".js")
NAMES = ("py.typed", "compile_flags.txt", "loops.tsv")
NOT_THE_PACKAGE = {"tests", "ci", "build", "dist", "results", "docs"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the source tree: the checkout that the tests run from, or what ci/on-wheel names."""
    root = Path(os.environ.get("BACKSTRIDE_TREE") or Path(backstride.__file__).parent).resolve()
    if not (root / "pyproject.toml").exists():
        pytest.skip("the package is installed: there is no source tree to build")
    copy = tmp_path_factory.mktemp("source") / "tree"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "venv")
    shutil.copytree(root, copy, ignore=unwanted)
    return copy


@pytest.fixture(scope="module")
def source_files(tree) -> set[str]:
    """What the package must hold, by its path in the tree: modules, kernels with what is read beside them, and
    the type marker."""
    folders = [f for f in tree.rglob("*") if f.is_dir() and f.relative_to(tree).parts[0] not in NOT_THE_PACKAGE]
    files = [file for folder in (tree, *folders) for file in folder.iterdir()]
    kept = {file for file in files if file.suffix in SUFFIXES or file.name in NAMES}
    return {str(file.relative_to(tree)) for file in kept} - {"setup.py"}


@pytest.fixture(scope="module")
def built(tree) -> Path:
    code = "from setuptools import build_meta as b; b.build_sdist('built'); b.build_wheel('built')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return tree / "built"


def test_the_tree_has_what_the_test_looks_for(source_files):
    assert {"py.typed", "__init__.py", "kernels/conv/cuda.py", "kernels/conv/conv_forward.cu"} <= source_files
    assert len({file for file in source_files if file.endswith(".cuh")}) > 5


def test_the_wheel_holds_the_package_and_no_more(built, source_files):
    (wheel,) = built.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    plugin = {file for file in source_files if file.startswith("pytest_backstride/")}
    assert plugin
    assert held == plugin | {f"backstride/{file}" for file in source_files - plugin}


def test_the_sdist_holds_the_package(built, source_files):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert source_files - held == set()
    assert {"setup.py", "pyproject.toml", "tests/conftest.py", "ci/test", "LICENSE"} <= held
