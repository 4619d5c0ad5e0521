"""What is read from the disk unasked is ours or root's; nothing that is read is ever unpickled."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import backstride
from backstride import _files, _notices
from backstride.cli import main
from backstride.kernels.cuda.runtime import cubins

PACKAGE = Path(backstride.__file__).parent
needs_owners = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes say nothing here")


@pytest.fixture
def folder(tmp_path):
    _notices.warn_once.cache_clear()
    cubins.save("text", 90, b"cubin", tmp_path)
    return tmp_path


def chmod(path: Path, mode: int) -> Path:
    path.chmod(mode)
    return path


def of_another(monkeypatch, *paths: Path) -> None:
    """These paths belong to another user."""
    real = os.stat

    def stat(path, *arguments, **options):
        found = real(path, *arguments, **options)
        if Path(path) not in paths:
            return found
        return os.stat_result([*found[:4], os.geteuid() + 1, *found[5:]])

    monkeypatch.setattr(_files.os, "stat", stat)


@needs_owners
def test_kernels_of_our_own_are_read(folder):
    (file,) = folder.iterdir()
    assert cubins.find("text", 90, folder) == file
    assert cubins.find("text", 90, chmod(folder, 0o1777)) == file  # as /tmp is: nobody moves a file of others


@needs_owners
@pytest.mark.parametrize("mode", [0o777, 0o702])
@pytest.mark.parametrize("which", ["the folder", "a file"])
def test_what_every_user_may_write_to_is_passed_over_with_one_line(folder, which, mode, caplog):
    (file,) = folder.iterdir()
    chmod(folder if which == "the folder" else file, mode)
    for _ in range(3):
        assert cubins.find("text", 90, folder) is None
    assert caplog.messages == [f"kernels in {folder} are passed over: every user may write to {which}"]


@needs_owners
@pytest.mark.parametrize("which", ["the folder", "a file"])
def test_what_belongs_to_another_user_is_passed_over_with_one_line(folder, which, caplog, monkeypatch):
    cubins.save("another", 90, b"cubin", folder)
    of_another(monkeypatch, *([folder] if which == "the folder" else list(folder.iterdir())))
    for text in ("text", "another", "text"):
        assert cubins.find(text, 90, folder) is None
    (message,) = caplog.messages
    assert message == f"kernels in {folder} are passed over: {which} belongs to another user ({os.geteuid() + 1})"


@needs_owners
def test_root_is_believed(folder, monkeypatch):
    (file,) = folder.iterdir()
    owner = os.stat(file).st_uid
    monkeypatch.setattr(_files.os, "geteuid", lambda: owner + 1)
    assert (cubins.find("text", 90, folder) is None) == (owner != 0)


@needs_owners
def test_info_says_that_kernels_are_passed_over(folder, monkeypatch, capsys):
    monkeypatch.setenv(cubins.VARIABLE, str(chmod(folder, 0o777)))
    assert main(["info", "--backend", "numpy"]) == 0
    assert f"1 kernels in {folder}, passed over: every user may write to the folder" in capsys.readouterr().out


def doubled(x):
    return 2 * x


@needs_owners
def test_loops_that_others_could_have_compiled_are_passed_over(tmp_path, monkeypatch, caplog):
    """Numba keeps pickles."""
    numba = pytest.importorskip("numba")
    from backstride.kernels.jit.compiled import compiled

    _notices.warn_once.cache_clear()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    ours = compiled(doubled)
    assert ours(1) == 2
    folder = Path(ours.stats.cache_path)
    assert list(folder.iterdir())
    assert compiled(doubled).stats.cache_path is not None
    assert caplog.messages == []
    chmod(folder, 0o777)
    for _ in range(2):
        again = compiled(doubled)
        assert again(1) == 2
        assert again.stats.cache_path is None
    assert caplog.messages == [f"compiled loops in {folder} are passed over: every user may write to the folder"]


class Bomb:
    """Whose unpickling writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("command", ["train --resume {}", "bench --compare {} {}", "warm --sm 90 --shapes {}"])
def test_no_command_unpickles_what_it_reads(tmp_path, command, capsys):
    mark, file = tmp_path / "mark", tmp_path / "file"
    file.write_bytes(pickle.dumps(Bomb(mark)))
    assert main(command.format(file, file).split()) != 0
    assert "backstride: error: " in capsys.readouterr().err
    assert not mark.exists()
    pickle.loads(file.read_bytes())
    assert mark.exists()


def unpickles(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        library, name = node.value.id, node.attr
        reads = (
            library in ("pickle", "marshal") and name != "dumps",
            library in ("np", "cupy", "torch") and name == "load",
        )
        return any(reads)
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    from_ = [node.module] if isinstance(node, ast.ImportFrom) else []
    return not {"shelve", "dill", "joblib"}.isdisjoint([*names, *from_]) or from_ in (["pickle"], ["marshal"])


def refuses_pickles(call: ast.Call) -> bool:
    """np.load(..., allow_pickle=False)."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}.get("allow_pickle")
    return isinstance(given, ast.Constant) and given.value is False


def test_no_source_can_unpickle():
    sources = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] not in ("tests", "build")]
    assert len(sources) > 100
    sources.remove(PACKAGE / "distributed" / "mpi.py")  # processes of one job tell each other so, as mpi4py lets them
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in sources}
    for file, tree in trees.items():
        refused = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and refuses_pickles(node)}
        assert [(file, node.lineno) for node in ast.walk(tree) if unpickles(node) and node not in refused] == []


def test_nothing_posix_is_needed_for_import_and_the_numpy_path(tmp_path):
    """As far as it can be tried elsewhere than on Windows: without its missing modules and functions."""
    pytest.importorskip("safetensors")
    program = f"""
        import os, signal, sys
        for name in ("fcntl", "pwd", "grp", "resource", "termios"):
            sys.modules[name] = None
        for name in ("geteuid", "getuid", "chown", "fchmod", "register_at_fork", "fork", "sched_getaffinity",
                     "O_DIRECTORY", "O_NONBLOCK", "set_blocking", "getloadavg", "confstr"):
            if hasattr(os, name):
                delattr(os, name)
        for name in ("SIGALRM", "SIGUSR1", "SIGHUP", "setitimer", "pthread_sigmask"):
            delattr(signal, name)
        import numpy as np
        import backstride
        from backstride import kernels
        from backstride.cli import main
        x, w = np.ones((2, 3, 40, 40)), np.ones((8, 3, 3, 3))
        assert kernels.conv2d(x, w, padding=1).shape == (2, 8, 40, 40)
        net = backstride.layers.Conv2d(3, 4, 3)
        for _ in range(2):
            backstride.save_weights(net, {str(tmp_path / "w")!r})
        backstride.load_weights(net, {str(tmp_path / "w")!r})
        assert main(["info"]) == 0
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
