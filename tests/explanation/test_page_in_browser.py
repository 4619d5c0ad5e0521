"""The page of an explanation in a Chromium: what a reader points at, and every number beside the kernels' own."""

from __future__ import annotations

import shutil

import explained_networks as networks
import numpy as np
import pytest

from backstride.kernels.sums import SYMBOLS, terms

FLAGS = """--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update
--disable-sync --no-first-run""".split()
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` drives the page")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def explanations():
    found = {
        network.__name__: network()
        for network in (networks.textbook, networks.every_kind, networks.one_axis, networks.channels_last)
    }
    found["textbook"].measure_all()
    return found


@pytest.fixture
def opened(browser, explanations, tmp_path):
    """Opens the page of a network; nothing on it may fail or ask for another file."""
    pages, complaints = [], []

    def opened(network, **options):
        explanation = explanations.get(network) or getattr(networks, network)()
        path = tmp_path / f"{network}.html"
        explanation.save_html(path)
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}} | options)
        pages.append(page)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url == path.as_uri() or complaints.append(request.url))
        page.goto(path.as_uri())
        return explanation, page

    yield opened
    for page in pages:
        page.close()
    assert complaints == []


SECTION = "section.layer:not([hidden])"


def stage_of(page, layer, of):
    """Go to where a gradient appears."""
    page.evaluate(
        """([layer, of]) => go(stages.findIndex(({section, part}) => section.layer?.name === layer
           && section.layer.gradients[part - 2]?.of === of))""",
        [layer, of],
    )


def point(page, name, plane, row, column, click=False):
    canvas = page.locator(f"{SECTION} .tensor[data-name='{name}'] canvas").nth(plane)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    columns, rows = int(canvas.get_attribute("width")), int(canvas.get_attribute("height"))
    at = box["x"] + (column + 0.5) * box["width"] / columns, box["y"] + (row + 0.5) * box["height"] / rows
    page.mouse.move(*at)
    if click:
        page.mouse.click(*at)


def told(page):
    """The products and totals that are listed now."""
    return page.evaluate(
        f"""() => {{
            const node = document.querySelector("{SECTION} .products");
            if (!node) return null;
            const number = (of) => Number(node.querySelector(of)?.dataset.value);
            return {{
                title: node.querySelector("h4").textContent,
                names: [...node.querySelectorAll("td.names")].map((cell) => cell.textContent),
                factors: [...node.querySelectorAll("td.factors")].map((cell) => cell.textContent),
                values: [...node.querySelectorAll("td.product")].map((cell) => Number(cell.dataset.value)),
                shown: [...node.querySelectorAll("td.product")].map((cell) => cell.textContent),
                sum: number(".sum dd"), computed: number(".computed dd"), rest: number(".rest dd"),
                notes: [...node.querySelectorAll(".note")].map((note) => note.textContent),
            }};
        }}"""
    )


@pytest.mark.parametrize("network", ["textbook", "every_kind", "one_axis", "channels_last"])
def test_every_sum_is_the_kernels(network, opened, rng):
    """Of every gradient, and forward, elements at corners and others: the same products as in Python, and their sum."""
    explanation, page = opened(network)
    for place, step in enumerate(explanation.steps):
        sums, arrays = step.sums(), step.arrays()
        for result in sums:
            indices = networks.some_elements(arrays[result].shape, rng, 2)
            found = page.evaluate(
                """([place, result, indices]) => indices.map((index) => {
                    const layer = DATA.layers[place];
                    return {computed: valueAt(arrayOf(layer.arrays[result]), index),
                            products: termsOf(layer, result, index).products.map(({factors, value}) =>
                                [factors.map(({name}) => name).join(" · "), value])};
                })""",
                [place, result, indices],
            )
            for index, beside in zip(indices, found, strict=True):
                expected = list(terms(sums[result], index, arrays))
                assert beside["computed"] == arrays[result][index]
                assert beside["products"] == [[" · ".join(name for name, _ in t.factors), t.value] for t in expected]


WALK = f"""stages.map((_, stage) => {{
    if (stage) document.getElementById("on").click();
    const sections = document.querySelectorAll("{SECTION}");
    return {{
        section: sections.length === 1 ? sections[0].innerText : "several",
        where: document.getElementById("where").innerText,
        current: sections[0].querySelector("li[aria-current]")?.innerText,
    }};
}})"""


@pytest.mark.parametrize("network", ["textbook", "every_kind"])
def test_the_walk(network, opened):
    """Every step: the layers, the numbering, shapes, formulas and measurements stand there, in the text's order."""
    explanation, page = opened(network)
    assert page.locator(".card").count() == len(explanation.steps) + 2
    there = iter(page.evaluate(WALK))
    assert next(there)["section"].startswith("Layer 1: input")
    for number, step in enumerate(explanation.steps, 2):
        text = next(there)["section"]
        assert f"Layer {number}: {step.name}" in text
        assert step.formulas.forward in text
        assert str(step.x.shape) in text
    assert next(there)["section"].startswith("Loss")
    for step in reversed(explanation.steps):
        assert f"{step.name}: dY arrives" in next(there)["where"]
        for gradient in step.gradients:
            current = next(there)["current"]
            assert gradient.formula in current
            assert str(gradient.shape) in current
            assert gradient.measured in current
    assert next(there, None) is None
    assert page.locator("#on").is_disabled()
    page.keyboard.press("p")
    assert page.locator("#on").is_enabled()


def test_the_textbooks_order(opened):
    _, page = opened("textbook")
    stage_of(page, "conv", "db")
    titles = page.locator(f"{SECTION} .gradients h4").all_inner_texts()
    of = ["output", "weights: dW (2, 3, 3, 2)", "input: dX (10, 3, 29, 28)", "bias: db (2, 1, 1)"]
    assert titles == [f"Gradient of the {each}" for each in of]
    assert page.locator(f"{SECTION} .measured").count() == 3


@pytest.mark.parametrize(
    ("network", "gradient", "plane", "row", "column"),
    [
        ("textbook", "conv.dx", 1, 4, 6),
        ("textbook", "conv.dx", 0, 28, 27),
        ("textbook", "conv.dw", 4, 2, 1),
        ("textbook", "conv.db", 0, 0, 1),
        ("textbook", "pool.dx", 1, 0, 0),
        ("textbook", "linear.dw", 0, 31, 49),
        ("textbook", "linear.dx", 1, 2, 4),
        ("textbook", "linear.db", 0, 3, 0),
        ("every_kind", "conv1.dx", 3, 8, 7),
        ("every_kind", "batchnorm1.dx", 0, 0, 0),
        ("every_kind", "softmax.dx", 0, 1, 3),
        ("every_kind", "dropout.dx", 2, 1, 1),
        ("every_kind", "gelu.dx", 0, 1, 1),
        ("every_kind", "residual.dx", 0, 1, 1),
        ("one_axis", "conv.dx", 0, 1, 8),
    ],
)
def test_pointing_lists_the_products(network, gradient, plane, row, column, opened):
    explanation, page = opened(network)
    layer, of = gradient.split(".")
    stage_of(page, layer, of)
    point(page, of, plane, row, column, click=True)
    shape = explanation.gradients[gradient].shape
    values = explanation.gradients[gradient].value
    images = len(shape) > 2 and of == "dx"
    flat = values[0] if images else values
    flat = flat.reshape(1, 1, -1) if of == "db" and len(shape) == 3 else flat.reshape(-1, *flat.shape[-2:])
    found = told(page)
    assert found["computed"] == flat[plane, row, column]
    assert found["title"].startswith(f"{SYMBOLS.get(of, of)}[")
    index = tuple(map(int, found["title"].split("[")[1].split("]")[0].split(",")))
    expected = explanation.term(gradient, index)
    assert found["computed"] == expected.computed
    assert networks.near(expected.terms, found["sum"])
    listed = expected.terms[: len(found["values"])]
    assert found["values"] == [term.value for term in listed]
    for term, names, factors, shown in zip(listed, found["names"], found["factors"], found["shown"], strict=True):
        assert names.strip("−()") == " · ".join(name for name, _ in term.factors).strip("()")
        written = [float(part) for part in factors.replace("−(", "").replace("−", "-").strip("()").split(" × ") if part]
        assert written == pytest.approx([value for _, value in term.factors][: len(written)], rel=1e-5)
        assert float(shown.replace("−", "-")) == pytest.approx(term.value, rel=1e-5)
    if not expected.terms:
        assert found["notes"] == [f"No products: {expected.why_none}."]


def test_windows_and_their_padding_light_up(opened):
    """dX[0,1,0,0] of a 3x2 kernel, stride (2, 1), padding ((1, 0), (2, 1)), dilation (1, 2): three windows cover it."""
    explanation, page = opened("every_kind")
    stage_of(page, "conv1", "dx")
    point(page, "dx", 1, 0, 0)
    boxes = page.locator(f"{SECTION} .tensor[data-name='dx'] .window")
    lit = {name: page.locator(f"{SECTION} .tensor[data-name='{name}'] .involved").count() for name in ("dy", "w", "x")}
    covering = explanation.term("conv1.dx", (0, 1, 0, 0)).terms
    windows = {name.split("[")[1].split(",", 2)[2] for term in covering for name, _ in term.factors[:1]}
    assert boxes.count() == len(windows) == 2
    assert lit == {"dy": len(covering), "w": len(covering), "x": 0}
    corners = sorted((float(box.get_attribute("x")), float(box.get_attribute("y"))) for box in boxes.all())
    assert corners == [(-2, -1), (0, -1)]  # in the padding: left of the image and above it
    assert {box.get_attribute("width") for box in boxes.all()} == {"3"}  # two taps, dilated
    cells = page.locator(f"{SECTION} .tensor[data-name='dx'] .cells").nth(1)
    cells.hover(position={"x": 2, "y": 2})  # on the padding is no element
    assert page.locator(f"{SECTION} .tensor[data-name='dx'] .selected").count() == 1
    page.mouse.move(2, 2)
    assert told(page) is None


def test_the_scatter_of_a_max_pooling(opened):
    explanation, page = opened("textbook")
    stage_of(page, "pool", "dx")
    assert page.locator(f"{SECTION} .arrow").count() == 2 * 5 * 5  # of one image
    won = [tuple(i) for i in np.argwhere(explanation.gradients["pool.dx"].value[0]).tolist()]
    plane, row, column = won[0]
    point(page, "dx", plane, row, column)
    assert page.locator(f"{SECTION} .arrow.strong").count() == 1
    lost = next(i for i in np.ndindex(2, 14, 14) if i not in won and i[1] % 3 < 2 and i[2] % 3 < 2)
    point(page, "dx", *lost)
    assert page.locator(f"{SECTION} .arrow").count() == 0
    assert "its maximum stands elsewhere" in told(page)["notes"][0]
    assert page.locator(f"{SECTION} .tensor[data-name='x'] .involved").count() == 1  # where it stands
    point(page, "dx", 0, 2, 2)
    assert told(page)["notes"] == ["No products: no window covers it."]


def test_row_and_column_of_a_linear_layer(opened):
    _, page = opened("textbook")
    stage_of(page, "linear", "dx")
    point(page, "dx", 1, 2, 4)
    for name, axis, at in (("w", "x", "39"), ("dy", "x", "0")):
        lit = page.locator(f"{SECTION} .tensor[data-name='{name}'] .involved")
        assert lit.count() == 32
        assert {square.get_attribute(axis) for square in lit.all()} == {at}


def test_the_turned_kernel(opened):
    """Where a weight meets a dY in the picture is a product of the list."""
    explanation, page = opened("textbook")
    stage_of(page, "conv", "dx")
    point(page, "dx", 1, 4, 6)
    assert "full correlation" in page.locator(".why").inner_text()
    assert page.locator(".flipped .weight").count() == 6
    of_filter = [t for t in explanation.term("conv.dx", (0, 1, 4, 6)).terms if t.factors[1][0].startswith("W[0,")]
    assert page.locator(".flipped .meets").count() == len(of_filter) == 2


def test_keyboard(opened):
    explanation, page = opened("textbook")
    stage_of(page, "conv", "dx")
    grid = page.locator(f"{SECTION} .tensor[data-name='dx'] .planes")
    assert "conv" in grid.get_attribute("aria-label")
    grid.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "PageDown", "Enter"):
        page.keyboard.press(key)
    value = explanation.gradients["conv.dx"].value
    found = told(page)
    assert found["title"].startswith("dX[0,1,1,1] ")
    assert found["computed"] == value[0, 1, 1, 1]
    assert "dX[0,1,1,1]" in page.locator("#spoken").inner_text()
    assert page.locator(f"{SECTION} .tensor.kept").count() == 1
    point(page, "dx", 2, 9, 9)  # what is kept stays under a pointer
    assert told(page)["title"] == found["title"]
    grid.focus()
    for key in ("End", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert told(page)["computed"] == value[0, 1, 0, 27]
    page.keyboard.press("Escape")
    assert told(page) is None
    page.keyboard.press("+")
    for key in ("Home", "ArrowUp"):
        grid.press(key)
    assert told(page)["title"].startswith("dX[1,1,0,0] ")
    page.locator(".card").nth(2).focus()
    page.keyboard.press("Enter")
    assert page.locator(f"{SECTION} h2").inner_text().startswith("Layer 3: pool")


def test_small_arrays_are_numbers(opened):
    explanation, page = opened("textbook")
    stage_of(page, "conv", "dw")
    shown = page.locator(f"{SECTION} .tensor[data-name='w'] .plane").nth(0).locator(".number")
    cells = {(float(n.get_attribute("y")), float(n.get_attribute("x"))): n.text_content() for n in shown.all()}
    values = [float(text.replace("−", "-")) for _, text in sorted(cells.items())]
    assert values == pytest.approx(explanation.steps[0].layer.weight.data[0, 0].ravel(), rel=0.06)  # two digits


def test_dark_and_light(opened):
    _, light = opened("textbook", color_scheme="light")
    _, dark = opened("textbook", color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert light.evaluate(background) != dark.evaluate(background)
    zero = "palette.zero[0]"
    assert light.evaluate(zero) > 200 > 60 > dark.evaluate(zero)
    dark.emulate_media(color_scheme="light")
    dark.wait_for_function(f"{zero} > 200")  # drawn anew


@pytest.mark.parametrize("network", ["textbook", "every_kind"])
def test_a_phone(network, opened):
    _, page = opened(network, viewport={"width": 360, "height": 740}, has_touch=True)
    widths = "stages.map((_, stage) => { go(stage); return document.scrollingElement.scrollWidth; })"
    assert max(page.evaluate(widths)) <= 360
    point(page, "dx", 0, 1, 1, click=True)
    assert told(page)["title"].startswith("dX[0,0,1,1]")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_paper(opened):
    _, page = opened("textbook", color_scheme="dark")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("section.layer:not(.plain):visible").count() == 3
    assert page.locator(".gradients li:visible").count() == 4 + 2 + 4
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper')").strip() == "#fbfaf7"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.pdf().startswith(b"%PDF")


def test_images_that_are_left_out_are_said(opened):
    explanation, page = opened("many_images")
    shown = page.evaluate("DATA.images.shown")
    assert f"the first {shown} images of 40" in page.locator("#limits").inner_text()
    stage_of(page, "conv", "dw")
    point(page, "dw", 0, 1, 1)
    found = told(page)
    expected = explanation.term("conv.dw", (0, 0, 1, 1))
    here = [term.value for term in expected.terms if int(term.factors[0][0][3:].split(",")[0]) < shown]
    assert found["computed"] == expected.computed
    assert found["sum"] == pytest.approx(sum(here), rel=1e-12)
    assert found["rest"] == pytest.approx(expected.computed - sum(here), rel=1e-9)
