"""kernels/cpu/threads.py through all that can happen to a process: forks, interrupts, signal handlers, shutdown.

What could hang, or could change the process for good, runs in a Python of its own that has a time limit.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import numpy as np
import pytest

from backstride import jit
from backstride.kernels.cpu import threads

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
needs_timers = pytest.mark.skipif(sys.platform == "win32", reason="needs setitimer")
needs_blas = pytest.mark.skipif(threads._blas is None, reason="NumPy's BLAS is not OpenBLAS")

both_paths = pytest.mark.parametrize("loops", ["0", "1"], indirect=True, ids=["plain", "compiled"])


@pytest.fixture(autouse=True)
def loops(request, monkeypatch):
    """Which loops the processes of a test that is of `both_paths` run."""
    if hasattr(request, "param"):
        if request.param == "1" and jit.missing():
            pytest.skip(f"no compiled loops here: {jit.missing()}")
        monkeypatch.setenv(jit.VARIABLE, request.param)


PRELUDE = """
import atexit, multiprocessing, os, random, signal, sys, threading, time
import numpy as np
import threadpoolctl
from backstride import kernels
from backstride.kernels.cpu import threads

blas = threadpoolctl.ThreadpoolController().select(internal_api="openblas").lib_controllers[0]
assert blas.get_num_threads() == 2
rng = np.random.default_rng(0)
x, w = rng.standard_normal((9, 32, 30, 31), np.float32), rng.standard_normal((40, 32, 3, 3), np.float32)
small_x = x[:1].copy()

def conv():
    return kernels.conv2d(x, w, padding=1).tobytes()

def small_conv():
    '''One block, whose product BLAS would share out.'''
    return kernels.conv2d(small_x, w, stride=3).tobytes()

start = time.monotonic()

def goes_on(events, most):
    '''Whether to wait for more events: until there are `most`, or after five seconds at least ten.'''
    return events < (most if time.monotonic() < start + 5 else 10)

def await_idle_workers():
    '''A call has ended a moment before its workers are there for the next; a lost one never is.'''
    deadline = time.monotonic() + 60
    while any(worker.busy for worker in threads._workers) and time.monotonic() < deadline:
        time.sleep(0.001)

def threads_that_work():
    '''How many threads take part in a call; each waits for the others for at most a minute.'''
    await_idle_workers()
    meeting = threading.Barrier(2)
    def work():
        try:
            meeting.wait(60)
        except threading.BrokenBarrierError:
            pass
    found = set()
    threads.run(lambda _: (work(), found.add(threading.get_ident())), [(0,), (1,)])
    return len(found)

def child(function):
    '''The exit status of a forked child that calls `function`, 0 if it returns something true.'''
    pid = os.fork()
    if pid == 0:
        signal.alarm(150)  # kills a child that hangs
        status = 1
        try:
            status = 0 if function() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

armed = False

def interrupt(*_):
    '''One interrupt where `armed` has been set: a signal that a busy machine delivers late does nothing.'''
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt
"""


def python(code: str, timeout: float = 600) -> str:
    """What the code prints in a fresh process with two BLAS threads; nothing may stand on its stderr."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.strip()


@both_paths
@needs_fork
@needs_blas
def test_h1_a_child_forked_while_a_thread_computes():
    code = """
expected, done = conv(), threading.Event()

def compute():
    while not done.is_set():
        assert conv() == expected

def computes_alone():
    return conv() == expected and conv() == expected and blas.get_num_threads() == 2 and threads.count() == 2

workers = [threading.Thread(target=compute) for _ in range(2)]
for worker in workers:
    worker.start()
print({child(computes_alone) for _ in range(15)})
done.set()
for worker in workers:
    worker.join()
print(blas.get_num_threads(), threads_that_work())
"""
    assert python(code) == "{0}\n2 2"


@both_paths
@needs_fork
@needs_blas
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_h1_multiprocessing(method, tmp_path):
    """A module of its own: a spawned child imports it to find the function."""
    (tmp_path / "computes.py").write_text(
        PRELUDE + "import hashlib\ndef digest(_): return hashlib.sha256(conv()).hexdigest()\n"
    )
    code = f"""
sys.path.insert(0, {str(tmp_path)!r})
os.environ["PYTHONPATH"] = {str(tmp_path)!r} + os.pathsep + os.environ.get("PYTHONPATH", "")
import computes

expected, done = computes.digest(0), threading.Event()

def compute():
    while not done.is_set():
        conv()

worker = threading.Thread(target=compute)
worker.start()
with multiprocessing.get_context("{method}").Pool(2) as pool:
    print(set(pool.map_async(computes.digest, range(6)).get(300)) == {{expected}})
done.set()
worker.join()
"""
    assert python(code) == "True"


@both_paths
@needs_fork
@needs_blas
def test_h1_forks_inside_a_call():
    """A child that computes something of its own can; one that goes on with its parent's call, whose worker it has not,
    is told that it cannot."""
    code = """
expected = conv()
print(threads_that_work())
main, outcomes, in_child, told = threading.get_ident(), set(), [], False
begun, forked = threading.Barrier(2), threading.Barrier(2)

def asks_a_child(_):
    begun.wait(60)  # for the worker to begin the other block
    if threading.get_ident() == main:
        outcomes.add(child(lambda: conv() == expected and threads_that_work() == 2))
    forked.wait(200)

def forks(_):
    begun.wait(60)
    if threading.get_ident() == main and os.fork() == 0:
        signal.alarm(150)
        in_child.append(True)
    else:
        forked.wait(200)

for _ in range(3):
    await_idle_workers()
    threads.run(asks_a_child, [(0,), (1,)])
print(outcomes)
await_idle_workers()
try:
    threads.run(forks, [(0,), (1,)])
except RuntimeError as error:
    told = "forked inside this call" in str(error)
if in_child:
    os._exit(0 if told and conv() == expected and blas.get_num_threads() == 2 else 1)
print(os.waitstatus_to_exitcode(os.wait()[1]), told, blas.get_num_threads())
"""
    assert python(code) == "2\n{0}\n0 False 2"


@both_paths
@needs_blas
@pytest.mark.parametrize("first", ["conv()", "None"], ids=["workers are there", "workers would have to start"])
def test_h2_at_exit(first):
    code = f"""
expected = small_conv()
{first}

@atexit.register
def late():
    print(small_conv() == expected, len(conv()) == 4 * 9 * 40 * 30 * 31, blas.get_num_threads())
"""
    assert python(code) == "True True 2"


def test_h2_without_new_threads(monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start_new_thread", refuse)
    monkeypatch.setattr(threads, "_workers", [])
    seen = []
    threads.run(seen.append, [(i,) for i in range(9)])
    assert seen == list(range(9))
    assert threads._workers == []


@both_paths
@needs_blas
def test_the_interpreter_exits_while_a_daemon_thread_computes():
    code = """
def compute():
    while True:
        conv()

for _ in range(3):
    threading.Thread(target=compute, daemon=True).start()
time.sleep(0.2)
print("ends")
"""
    assert python(code) == "ends"


INTERRUPTED = """
expected, small_expected = conv(), small_conv()
signal.signal(signal.SIGALRM, interrupt)
errors, limits, interrupts, random = np.geterr(), set(), 0, random.Random(1)
while goes_on(interrupts, 800):
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, LONGEST))
        for _ in range(400):
            CALL()
        armed = False
    except KeyboardInterrupt:
        interrupts += 1
    limits.add(blas.get_num_threads())
    assert np.geterr() == errors
signal.setitimer(signal.ITIMER_REAL, 0)
print(limits, len(threads._workers), threads_that_work(), conv() == expected, small_conv() == small_expected)
"""


@both_paths
@needs_timers
@needs_blas
@pytest.mark.parametrize(("call", "longest"), [("small_conv", 4e-4), ("conv", 5e-3)])
def test_h3_interrupts_at_any_moment(call, longest):
    """Of hundreds of interrupts none leaves BLAS at one thread, loses a worker, or changes what a later call gives."""
    code = INTERRUPTED.replace("CALL", call).replace("LONGEST", str(longest))
    assert python(code) == "{2} 1 2 True True"


@both_paths
@needs_blas
def test_h3_interrupt_main_from_a_thread():
    code = """
import _thread
expected, done = conv(), threading.Event()
signal.signal(signal.SIGINT, interrupt)

def interrupts():
    while not done.wait(0.003):
        _thread.interrupt_main()

thread = threading.Thread(target=interrupts, daemon=True)
thread.start()
count = 0
while goes_on(count, 100):
    try:
        armed = True
        while True:
            conv()
    except KeyboardInterrupt:
        count += 1
        assert blas.get_num_threads() == 2
done.set()
thread.join()
print(blas.get_num_threads(), threads_that_work(), conv() == expected)
"""
    assert python(code) == "2 2 True"


@both_paths
@needs_timers
@needs_blas
@pytest.mark.parametrize("nested", ["here", "in a thread that is waited for"])
def test_signal_handlers_that_compute(nested):
    """The handler comes between any two bytecodes of a call, and its own call leaves the other's result alone."""
    code = f"""
expected, small_expected, answers = conv(), small_conv(), set()

def compute():
    answers.add(conv() == expected and small_conv() == small_expected)

def handler(*_):
    if {nested == "here"}:
        compute()
    else:
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
    times.append(1)

times = []
signal.signal(signal.SIGALRM, handler)
random = random.Random(2)
while goes_on(len(times), 150):
    before = len(times)
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 5e-3))
    while len(times) == before:
        answers.add(conv() == expected)
        answers.add(small_conv() == small_expected)
print(answers, blas.get_num_threads(), threads_that_work())
"""
    assert python(code) == "{True} 2 2"


@needs_blas
def test_a_limit_that_the_user_changes():
    code = """
seen = []
with threadpoolctl.threadpool_limits(3, user_api="blas"):
    threads.run(lambda: seen.append((blas.get_num_threads(), threads.count())), [()])
    seen.append(blas.get_num_threads())
threads.run(lambda: blas.set_num_threads(4), [()])  # inside a call
seen.append(blas.get_num_threads())
blas.set_num_threads(1)
threads.run(lambda: None, [()])
seen.append(blas.get_num_threads())
print(seen)
"""
    assert python(code) == "[(1, 3), 3, 4, 1]"


@needs_blas
def test_limits_nest_and_overlap():
    code = """
begin, end, inside = threading.Event(), threading.Event(), []

def outer():
    begin.set()
    end.wait(60)

thread = threading.Thread(target=lambda: threads.run(outer, [()]))
thread.start()
begin.wait(60)
threads.run(lambda: threads.run(lambda: inside.append(blas.get_num_threads()), [()]), [()])
inside += [blas.get_num_threads(), threads.count()]  # the other call is still running
end.set()
thread.join()
print(inside, blas.get_num_threads())
"""
    assert python(code) == "[1, 1, 2] 2"


def test_nested_calls_and_many_callers():
    """Every block of every call is done once, however many ask for the workers at the same time."""

    def call(number: int) -> list[tuple[int, int, int]]:
        done: list[tuple[int, int, int]] = []

        def outer(i: int) -> None:
            threads.run(lambda j: done.append((number, i, j)), [(j,) for j in range(5)])

        threads.run(outer, [(i,) for i in range(6)])
        return sorted(done)

    with ThreadPoolExecutor(8) as pool:
        for number, done in enumerate(pool.map(call, range(200))):
            assert done == [(number, i, j) for i in range(6) for j in range(5)]


def test_the_first_error_in_order_when_all_have_ended():
    """Block 1 fails late and block 2 at once: 1 is raised, after every block that had begun has ended."""
    begun, ended = [], []

    def work(block: int) -> None:
        begun.append(block)
        try:
            if block == 1:
                time.sleep(0.1)
            if block in (1, 2):
                raise ValueError(f"block {block}")
        finally:
            ended.append(block)

    for _ in range(5):
        with pytest.raises(ValueError, match="block 1"):
            threads.run(work, [(i,) for i in range(40)])
        assert sorted(begun) == sorted(ended)


def test_an_exit_in_a_worker_reaches_the_caller():
    def work(block: int) -> None:
        time.sleep(0.01)
        raise SystemExit(block)

    with pytest.raises(SystemExit):
        threads.run(work, [(0,), (1,)])


def test_workers_see_the_callers_context():
    choice: ContextVar[str] = ContextVar("choice", default="none")
    seen = set()

    def work(_: int) -> None:
        time.sleep(0.001)
        seen.add((choice.get(), np.geterr()["over"]))
        choice.set("the block's own")

    choice.set("the caller's")
    with np.errstate(all="raise"):
        threads.run(work, [(i,) for i in range(8)])
        assert np.geterr()["over"] == "raise"
    assert ("the caller's", "ignore") in seen
    assert choice.get() == "the caller's"


@pytest.mark.parametrize("alone", [False, True])
def test_a_call_inside_another_has_working_memory_of_its_own(alone):
    def outer() -> None:
        (mine,) = threads.scratch(np.dtype(np.float32), (1000,))
        mine[:] = 1
        threads.run(inner, [()], alone=alone)
        assert (mine == 1).all()

    def inner() -> None:
        threads.scratch(np.dtype(np.float32), (1000,))[0][:] = 2

    threads.run(outer, [()], alone=alone)


@pytest.mark.parametrize("alone", [False, True])
def test_working_memory_is_handed_out_again(alone):
    kept = []

    def work() -> None:
        first, second = threads.scratch(np.dtype(np.float32), (3, 5), (7,))
        assert first.shape == (3, 5)
        assert second.shape == (7,)
        assert not np.shares_memory(first, second)
        kept.append(first)

    threads.run(work, [()], alone=alone)
    threads.run(work, [()], alone=alone)
    assert np.shares_memory(*kept)


def test_h15_much_working_memory_is_not_kept():
    threads.run(lambda: threads.scratch(np.dtype(np.uint8), (threads.SCRATCH_LIMIT + 1,)), [()])
    assert threads._kept.bytes.nbytes <= threads.SCRATCH_LIMIT


def test_arrays_are_freed_when_a_call_has_ended():
    """Also where it raised, and where a worker had not come to it."""

    class Large:
        pass

    def fails(large: Large, _: int) -> None:
        raise ValueError

    for work in (lambda *_: None, fails):
        large = Large()
        held = weakref.ref(large)
        with contextlib.suppress(ValueError):
            threads.run(lambda i, large=large, work=work: work(large, i), [(i,) for i in range(4)])
        del large
        deadline = time.monotonic() + 60  # a worker that comes too late lets go a moment later
        while held() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert held() is None


def test_nothing_posix_at_import():
    """As on Windows: no fork and no symbols of BLAS; then one thread does all."""
    code = """
import importlib.util
for name in ("fork", "register_at_fork", "waitpid"):
    delattr(os, name)
spec = importlib.util.spec_from_file_location("windows", threads.__file__)
windows = importlib.util.module_from_spec(spec)
spec.loader.exec_module(windows)
windows._blas = None
seen = []
windows.run(seen.append, [(i,) for i in range(5)])
print(seen, windows.count())
"""
    assert python(code) == "[0, 1, 2, 3, 4] 1"


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("blocks", [0, 1, 2, 50])
def test_every_block_once(blocks, alone):
    seen = []
    threads.run(seen.append, [(i,) for i in range(blocks)], alone=alone)
    assert sorted(seen) == list(range(blocks))


def test_a_single_block_that_needs_no_limit_sets_none_and_ignores_errors():
    seen = []

    def work() -> None:
        seen.append((threads._blas and threads._blas[0](), np.geterr()["over"]))
        raise KeyError("an error passes")

    before = threads._blas and threads._blas[0]()
    with np.errstate(all="raise"), pytest.raises(KeyError):
        threads.run(work, [()], alone=True)
    assert seen == [(before, "ignore")]


@needs_blas
@pytest.mark.parametrize(("m", "k", "n"), [(64, 64, 64), (2, 1 << 16, 2), (1, 96, 96), (96, 96, 1), (1, 9216, 1)])
def test_products_that_are_small_have_the_same_bits_on_any_number_of_threads(m, k, n):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    assert threads.is_small(m, k, n)
    assert not threads.is_small(m, k + 1, n)
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    found = []
    for count in (1, 2, 3):
        with limits(count, user_api="blas"):
            found.append((a @ b).tobytes())
    assert len(set(found)) == 1
