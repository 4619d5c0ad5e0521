"""What a notebook shows of networks, plans and benchmark results, and its progress bar."""

from __future__ import annotations

import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

import backstride as bs
from backstride._html import table
from backstride.benchmarks.measure import Ceilings, Timing
from backstride.benchmarks.results import Results, Row
from backstride.cli.train.interrupt import Interrupt
from backstride.cli.train.report import progress
from backstride.cli.train.run import Run
from backstride.cli.train.settings import Settings
from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.cuda.offline.plan import plan
from backstride.kernels.cuda.runtime.gpus import GPUS
from backstride.kernels.operation import Case
from backstride.layers import BatchNorm2d, Conv2d, Linear, ReLU, Residual, Sequential


class Cells(HTMLParser):
    """The texts of a page's cells; every tag that it opens it closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.found.append(data)


def test_cells_are_text_and_not_markup():
    assert Cells(table([{"a<b": "<i>", "n": 1}, {"a<b": "&amp;"}], "1 < 2")).found == [
        "1 < 2",
        "a<b",
        "n",
        "<i>",
        "1",
        "&amp;",
    ]
    assert Cells(table([])).found == []


def test_a_network_is_a_table_of_its_layers():
    body = Sequential(Conv2d(4, 4, 3, padding=1), BatchNorm2d(4))
    net = Sequential(Conv2d(1, 4, 3, padding=1), Residual(body), ReLU(), Linear(64, 10))
    cells = Cells(net._repr_html_()).found
    assert cells[0] == f"Sequential: {sum(p.data.size for p in net.parameters()):,} parameters"
    assert "0" in cells
    assert "1.body.0" in cells
    assert repr(net[3]) in cells
    assert "650" in cells
    assert Cells(ReLU()._repr_html_()).found[0] == "ReLU: 0 parameters"


def test_in_ipython():
    formatters = pytest.importorskip("IPython.core.formatters", reason="what a notebook asks is IPython's affair")
    formats, _ = formatters.DisplayFormatter().format(bs.models.lenet5(10))
    assert "Conv2d" in formats["text/html"]
    assert "Conv2d" in formats["text/plain"]


def test_a_plan_is_a_table_of_its_kernels():
    operation, (gpu,) = OPERATIONS["conv"], (gpu for gpu in GPUS if gpu.name == "H200")
    case = Case("", (32, 64, 56, 56), (64, 64, 3, 3), {"padding": 1})
    arguments = calls.call(operation, case, calls.bare(np.dtype("f4")))
    found = plan(operation, arguments, gpu, "auto", compile_=False)
    cells = Cells(found._repr_html_()).found
    assert cells[0].startswith(f"conv2d float32 on H200 (sm_90, {gpu.multiprocessors} SMs): ")
    assert cells[0].endswith("neither is measured")
    assert {kernel.launch.entry for kernel in found.kernels} <= set(cells)


def test_results_of_a_benchmark_are_tables():
    facts = {"suite": "lenet", "source": "", "operation": "conv2d", "group": "conv2d forward", "dtype": "float32"}
    timed = {"ours": Timing([1e-3, 2e-3]), "peers": {"torch": Timing([2e-3, 2e-3])}, "flops": 10**6, "bytes": 10**5}
    rows = [Row(shape=shape, **facts, **timed) for shape in ("1,28->6", "6,14->16")]
    environment = {"backstride": "1", "device": None, "processor": "a machine", "backend": "numpy", "threads": 2}
    ceilings = {"float32": Ceilings(1e11, 1e10)}
    cells = Cells(Results(environment, {}, {"torch": "PyTorch"}, {}, ceilings, rows=rows)._repr_html_()).found
    assert {"geometric means", "conv2d forward", "1,28->6", "6,14->16"} <= set(cells)
    assert Results(environment, {}, {}, {})._repr_html_() == "backstride 1, numpy: a machine, 2 threads"


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """Whatever is displayed inside the with block that it opens."""
    pytest.importorskip("ipywidgets", reason="rich draws its bars in a notebook by ipywidgets")
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    yield capture_output
    InteractiveShell.clear_instance()


def test_training_in_a_notebook_has_a_bar(notebook, monkeypatch):
    training = Run(Settings(batch_size=720))
    console = Console(force_jupyter=True, highlight=False)
    with notebook() as displayed, progress(console, training, 1) as shown:
        training.epoch(lambda: shown.step(Interrupt()))
        shown.end_of_epoch(training.history)
        assert shown.bar.tasks[0].finished
    assert displayed.outputs
    monkeypatch.setattr(sys.modules[progress.__module__], "find_spec", lambda name: None)  # ipywidgets: a line an epoch
    with notebook() as displayed, progress(console, training, 1) as shown:
        shown.end_of_epoch(training.history)
    assert "epoch 1/1" in str([output.data for output in displayed.outputs])
