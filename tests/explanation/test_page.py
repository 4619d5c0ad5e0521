"""The page of an explanation, without a browser: what is in the file, and that the sums in it add up."""

from __future__ import annotations

import base64
import json
import re
from importlib import resources

import explained_networks as networks
import numpy as np
import pytest

from backstride import cli, explain
from backstride.explanation.page import SCRIPTS
from backstride.kernels.sums import terms
from backstride.layers import Conv2d, Layer, Linear, Sequential


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def array_of(data, number):
    array = data["arrays"][number]
    held = np.frombuffer(base64.b64decode(array["data"]), "<f8")
    return held.reshape((array["held"], *array["shape"][1:]) if array["shape"] else ())


@pytest.fixture(scope="module")
def textbook():
    return networks.textbook()


def test_it_is_one_small_file_that_needs_no_network(textbook):
    page = textbook.to_html()
    assert len(page.encode()) < 1_000_000
    without_arrays = re.sub(r'"data":"[^"]*"', "", page)
    assert not re.search(r"http|//\w+\.|\bsrc=|\bhref=|url\(|@import|\bimport\b|fetch\(", without_arrays)
    for place in ("/* style */", "/* script */", "/* data */"):
        assert place not in page


def test_the_template_is_what_is_read():
    files = resources.files("backstride.explanation") / "page"
    assert {file.name for file in files.iterdir()} == {"page.html", "page.css", *SCRIPTS}
    for file in files.iterdir():
        assert max(map(len, file.read_text(encoding="utf-8").splitlines())) <= 140  # to be read, not minified


@pytest.mark.parametrize("network", [networks.textbook, networks.every_kind, networks.one_axis, networks.channels_last])
def test_its_arrays_are_the_kernels(network):
    explanation = network()
    data = data_of(explanation.to_html())
    assert data["images"]["shown"] == data["images"]["of"] == explanation.input_shape[0]
    for layer, step in zip(data["layers"], explanation.steps, strict=True):
        given = {"x": step.x, "y": step.y, "dy": step.dy}
        for gradient, told in zip(step.gradients, layer["gradients"], strict=True):
            assert (told["name"], told["formula"], told["shape"]) == (
                gradient.name,
                gradient.formula,
                str(gradient.shape),
            )
            given[told["of"]] = gradient.value
        for name, array in given.items():
            np.testing.assert_array_equal(array_of(data, layer["arrays"][name]), array)


@pytest.mark.parametrize("network", [networks.every_kind, networks.one_axis, networks.channels_last])
def test_what_is_declared_adds_up(network, rng):
    """Forward too, where that is a sum of products: every sum that a page follows."""
    for step in network().steps:
        sums, arrays = step.sums(), step.arrays()
        assert {f"d{name}" for name in ("x", "w", "b") if f"d{name}" in arrays} <= set(sums)
        for result, of in sums.items():
            for index in networks.some_elements(arrays[result].shape, rng):
                assert networks.near(list(terms(of, index, arrays)), arrays[result][index]), (step.name, result, index)


def test_arrays_of_images_say_that_their_channels_are_last():
    """Those of layers that have no layout too, which are the neighbours'; what windows see is said as well."""
    data = data_of(networks.channels_last().to_html())
    flatten = next(layer for layer in data["layers"] if layer["name"] == "flatten")
    for layer in data["layers"][: data["layers"].index(flatten)]:
        for array in map(data["arrays"].__getitem__, layer["arrays"].values()):
            assert array["last"] == (len(array["shape"]) == 4)
    seen = [layer["name"] for layer in data["layers"] if layer["windows"]]
    assert seen == ["conv", "pool1", "conv transpose", "pool2"]
    assert not any(array["last"] for array in data_of(networks.every_kind().to_html())["arrays"])


def test_of_many_images_the_first_are_shown():
    explanation = networks.many_images()
    page = explanation.to_html()
    assert len(page.encode()) < 1_100_000
    data = data_of(page)
    assert 1 <= data["images"]["shown"] < data["images"]["of"] == 40
    x = array_of(data, data["layers"][0]["arrays"]["x"])
    np.testing.assert_array_equal(x, explanation.steps[0].x[: data["images"]["shown"]])
    dw = array_of(data, data["layers"][0]["arrays"]["dw"])
    np.testing.assert_array_equal(dw, explanation.gradients["conv.dw"].value)


def test_an_array_too_large_for_a_page_is_left_out():
    data = data_of(explain(Sequential(Linear(1000, 200, rng=0)), (1, 1000)).to_html())
    layer = data["layers"][0]
    assert "data" not in data["arrays"][layer["arrays"]["w"]]
    assert "data" in data["arrays"][layer["arrays"]["x"]]


def test_text_cannot_end_the_script():
    class Odd(Layer):
        def forward(self, x):
            return x

        def backward(self, dy):
            return dy

        def __repr__(self):
            return "</script><b>"

    page = explain(Sequential(Odd()), (1, 2)).to_html()
    assert "</script><b>" not in page
    assert data_of(page)["layers"][0]["layer"] == "</script><b>"


def test_an_empty_batch_has_a_page():
    assert data_of(explain(Sequential(Conv2d(1, 1, 2, rng=0)), (0, 1, 3, 3)).to_html())["images"] == {
        "shown": 0,
        "of": 0,
    }


def test_it_is_saved(textbook, tmp_path):
    path = tmp_path / "page.html"
    textbook.save_html(path)
    assert path.read_text(encoding="utf-8") == textbook.to_html()
    with pytest.raises(FileNotFoundError):
        textbook.save_html(tmp_path / "no" / "page.html")


def test_the_command_writes_it(tmp_path, capsys):
    path = tmp_path / "page.html"
    assert cli.main(["explain", "--html", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    data = data_of(path.read_text(encoding="utf-8"))
    assert [layer["number"] for layer in data["layers"]] == [2, 3, 4]  # the text's own numbering
    assert all(gradient["verdict"] == "agrees" for layer in data["layers"] for gradient in layer["gradients"])


def test_notebooks_get_a_table(textbook):
    table = textbook._repr_html_()
    for gradient in textbook.gradients.values():
        assert f"<td>{gradient.name}</td>" in table
        assert str(gradient.shape) in table
    assert "<script" not in table
