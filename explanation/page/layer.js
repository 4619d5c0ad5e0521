// One layer: its arrays above their gradients, the formulas in the text's order, and the products of a chosen element.

const MOST_WINDOWS = 24; // outlines beyond so many hide more than they show
const MOST_ARROWS = 24;
const FORWARD = new Set(["x", "w", "b", "y", "M"]);
const OF = { dw: "weights", dx: "input", db: "bias" };
const HIDDEN = new Set(["winner", "1/m"]); // arrows show the one; the other is a number in the formula

class LayerSection {
  constructor(layer, next) {
    this.layer = layer;
    this.next = next;
    this.part = 0; // 0: forward, 1: dY arrived, 2 and on: so many gradients but one are there
    this.picked = null;
    const { number } = layer;
    this.node = element("section", { class: "layer", id: `layer-${number}`, "aria-labelledby": `title-${number}`, hidden: true });
  }

  get parts() {
    return this.layer.gradients.length + 2;
  }

  build() {
    if (this.tensors) return;
    const { layer } = this;
    this.tensors = new Map();
    this.arrows = drawn("svg", { class: "arrows", "aria-hidden": "true" });
    this.board = element("div", { class: "board" }, ...this.columns(), this.arrows);
    this.products = element("div", { class: "chosen" });
    this.steps = [this.arrivingItem(), ...layer.gradients.map((gradient) => this.gradientItem(gradient))];
    this.node.append(
      ...this.heading(),
      element("div", { class: "forward" },
        element("h3", {}, "Forward"),
        layer.recap ? element("p", {}, layer.recap) : "",
        element("p", { class: "formula" }, layer.forward)),
      this.board,
      element("div", { class: "below" },
        element("div", { class: "backward" }, element("h3", {}, "Backward"), element("ol", { class: "gradients" }, ...this.steps)),
        this.products),
    );
    for (const tensor of this.tensors.values()) tensor.resize();
  }

  heading() {
    const { number, name, layer, facts } = this.layer;
    const fact = ([label, text]) => element("div", {}, element("dt", {}, label), element("dd", {}, text));
    return [
      element("h2", { id: `title-${number}`, tabindex: -1 }, `Layer ${number}: ${name} `, element("code", {}, layer)),
      element("dl", { class: "facts" }, ...facts.map(fact)),
    ];
  }

  // The arrays in pairs: what it is, and below it its gradient.
  columns() {
    const { layer } = this;
    const known = Object.keys(layer.arrays).filter((name) => !HIDDEN.has(name));
    const pairs = ["x", "w", "b"].filter((name) => known.includes(name)).map((name) => [name, `d${name}`]);
    const others = known.filter((name) => !"x w b y".split(" ").includes(name) && !name.startsWith("d"));
    const of = (name) => known.includes(name) ? [this.tensor(name)] : [];
    const own = others.map((name) => [name, `d${name}`]);
    const branches = known.filter((name) => name.startsWith("dX of ")).map((name) => [name, ""]);
    const column = (pair) => element("div", { class: `column of-${pair[0].replace(/\W/g, "-")}` }, ...pair.flatMap(of));
    const rows = [[...pairs, ["y", "dy"]], [...own, ...branches]];
    return rows.filter((row) => row.length).map((row, place) => element("div", { class: place ? "others" : "pairs" }, ...row.map(column)));
  }

  tensor(name) {
    const { layer } = this;
    const made = new Tensor({
      number: layer.arrays[name],
      symbol: layer.symbols[name],
      name,
      windows: layer.windows,
      label: `layer ${layer.number}, ${layer.name}`,
      pick: layer.sums[name] ? (index, keep, byKey) => this.pick(name, index, keep, byKey) : null,
    });
    this.tensors.set(name, made);
    if (layer.sums[name]) made.node.classList.add("adds-up");
    return made.node;
  }

  arrivingItem() {
    const { layer } = this;
    return element("li", {}, element("h4", {}, "Gradient of the output"),
      element("p", {}, element("b", {}, "dY"), ` ${shapeText(arrayOf(layer.arrays.dy).shape)} arrives from ${this.next}.`));
  }

  gradientItem({ of, formula, reason, shape, measured, verdict }) {
    const marks = { agrees: "✓ ", disagrees: "✗ ", "cannot tell": "? " };
    const beside = `${marks[verdict]}from finite differences: ${measured}`;
    const symbol = this.layer.symbols[of];
    return element("li", { class: `of-${of}` },
      element("h4", {}, `Gradient of the ${OF[of] ?? of.slice(1)}: ${symbol} `, element("span", { class: "shape" }, shape)),
      element("p", { class: "formula" }, formula),
      reason ? element("p", {}, reason) : "",
      verdict ? element("p", { class: `measured ${verdict.replace(" ", "-")}` }, beside) : "",
      this.layer.sums[of] ? "" : element("p", { class: "note" }, "A layer of your own: which products add up is not known."));
  }

  // Show it as far as `part`; all of it where that is Infinity, for print.
  show(part) {
    this.build();
    this.part = part;
    this.node.hidden = false;
    this.node.classList.toggle("is-forward", part === 0);
    const appearing = ["dy", ...this.layer.gradients.map(({ of }) => of)]; // one a part, from part 1 on
    for (const [name, tensor] of this.tensors) {
      const from = FORWARD.has(name) ? 0 : Math.max(1, appearing.indexOf(name) + 1);
      tensor.node.classList.toggle("later", part < from);
      tensor.node.classList.toggle("current", appearing[part - 1] === name);
      tensor.resize();
    }
    this.steps.forEach((step, place) => {
      step.classList.toggle("later", place >= part);
      if (place === part - 1) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
    this.release();
  }

  release() {
    this.picked = null;
    this.mark(null);
    this.products.replaceChildren(this.invitation());
  }

  invitation() {
    const order = [...this.layer.gradients.map(({ of }) => of), "y"].filter((name) => {
      const tensor = this.tensors.get(name);
      return tensor?.pick && !tensor.node.classList.contains("later");
    });
    const names = order.map((name) => this.layer.symbols[name]).join(", ").replace(/, (\w+)$/, " or $1");
    return element("p", { class: "invitation" }, names ? `Point at an element of ${names} to see what adds up to it.` : "");
  }

  // The reader points at an element (null: no longer), keeps it, or comes to it by key.
  pick(result, index, keep, byKey = false) {
    const { picked } = this;
    const same = picked && index && picked.result === result && picked.index.join() === index.join();
    if (picked?.kept && !byKey && !keep) return;
    if (keep && same && picked.kept) {
      this.release();
      return;
    }
    if (same) {
      picked.kept ||= keep;
      this.tensors.get(result).node.classList.toggle("kept", picked.kept);
      return;
    }
    if (!index) {
      this.release();
      return;
    }
    this.picked = { result, index, kept: keep, terms: termsOf(this.layer, result, index) };
    this.products.replaceChildren(productsNode(this.layer, result, index, this.picked.terms, (product) => this.mark(product)));
    const why = this.why();
    if (why) this.products.append(why);
    this.mark(null);
    const count = this.picked.terms.products.length;
    this.tensors.get(result).say(index, `, ${count} ${count === 1 ? "product" : "products"}`, byKey || keep);
  }

  // The picture of the turned kernel, for dX of a convolution along one or two axes.
  why() {
    const { windows, sums, arrays } = this.layer;
    const { result, index, terms } = this.picked;
    const isConvolution = windows && windows.over[1] === "dx" && "w" in arrays && windows.axes.length < 3;
    if (result !== "dx" || !isConvolution || !terms.products.length) return null;
    const { k, c } = terms.products[0].found;
    return flippedNode(this.layer, index, { k, c });
  }

  // Light up what goes into the picked element, and one product of it more.
  mark(product) {
    const { picked, tensors } = this;
    for (const [name, tensor] of tensors) {
      const marks = picked ? this.marksOf(name, product) : {};
      tensor.mark(marks);
      tensor.node.classList.toggle("kept", Boolean(picked?.kept && picked.result === name));
    }
    this.drawArrows(product);
  }

  marksOf(name, product) {
    const { result, index, terms } = this.picked;
    const won = ["x", "dx"].includes(name) ? terms.lost.flatMap(({ at }) => this.chosenOf(at)) : [];
    return {
      involved: [...indicesIn(name, terms.products), ...won],
      one: product ? indicesIn(name, [product]) : [],
      selected: name === result ? [index] : [],
      windows: this.windowsOver(name, product ? [product] : [...terms.products, ...terms.lost]),
    };
  }

  // Where the element of X stands that an element of Y was chosen to be.
  chosenOf(place) {
    return termsOf(this.layer, "y", place).products.map(({ factors }) => factors[0].index);
  }

  // The windows of products over an array that windows see: their numbers, and an index that says which plane.
  windowsOver(name, products) {
    const { windows } = this.layer;
    if (!windows?.over.includes(name)) return [];
    const { result, index } = this.picked;
    const found = new Map();
    for (const product of products) {
      const over = windows.over.includes(result) ? index : product.factors?.find(({ array }) => windows.over.includes(array))?.index;
      const plane = over && asDrawn(this.tensors.get(name).array, over).slice(0, 2);
      const at = [...windows.letters[0]].map((letter) => product.found[letter]);
      if (over && at.every((number) => number !== undefined)) found.set(`${plane}:${at}`, { index: over, at });
    }
    const visible = [...found.values()].filter((window) => this.tensors.get(name).placeOf(window.index));
    return visible.length <= MOST_WINDOWS ? visible : [];
  }

  // From each dY that is part of the picked dX to it; with nothing picked, those of a maximum's scatter.
  drawArrows(product) {
    const dx = this.tensors.get("dx"), dy = this.tensors.get("dy");
    this.arrows.replaceChildren();
    if (!dx || !dy || dx.empty || dx.node.classList.contains("later") || !dx.laid || !dy.laid) return;
    const ends = this.picked ? this.arrowsOfPicked(product) : this.scatter(dy);
    const origin = this.board.getBoundingClientRect();
    for (const [from, to] of ends) {
      const start = dy.middleOf(from), end = dx.middleOf(to);
      if (start && end) this.arrows.append(drawn("path", { d: curve(start, end, origin), class: this.picked ? "arrow strong" : "arrow" }));
    }
  }

  arrowsOfPicked(product) {
    const { result, index, terms } = this.picked;
    if (result !== "dx") return [];
    const from = indicesIn("dy", product ? [product] : terms.products);
    return from.length <= MOST_ARROWS ? from.map((place) => [place, index]) : [];
  }

  scatter(dy) {
    const { layer } = this;
    if (!layer.sums.dx?.[0].chosen || !layer.sums.y) return [];
    const { planes, rows, columns } = dy.laid;
    const ends = [];
    for (let plane = 0; plane < Math.min(dy.shown, 4); plane++) {
      for (let cell = 0; cell < Math.min(rows * columns, 64); cell++) {
        const from = dy.indexAt(plane, ...unflatIndex(cell, [rows, columns]));
        for (const to of this.chosenOf(from)) ends.push([from, to]);
      }
    }
    return ends;
  }

  imageChanged() {
    if (!this.tensors || this.node.hidden) return;
    for (const tensor of this.tensors.values()) tensor.paint();
    this.release();
  }

  resized() {
    if (!this.tensors || this.node.hidden) return;
    for (const tensor of this.tensors.values()) tensor.resize();
    this.drawArrows(null);
  }
}

// Where the factors of products stand that are elements of an array.
const indicesIn = (name, products) =>
  products.flatMap(({ factors }) => factors.filter(({ array }) => array === name).map(({ index }) => index));

// An arc with a head at its end.
function curve(start, end, origin) {
  const [x1, y1, x2, y2] = [start.x - origin.left, start.y - origin.top, end.x - origin.left, end.y - origin.top];
  const bend = 0.12 * Math.hypot(x2 - x1, y2 - y1);
  const mx = (x1 + x2) / 2, my = (y1 + y2) / 2 - bend;
  const angle = Math.atan2(y2 - my, x2 - mx);
  const head = [0.45, -0.45].map((turn) => `M${x2} ${y2}L${x2 - 7 * Math.cos(angle + turn)} ${y2 - 7 * Math.sin(angle + turn)}`);
  return `M${x1} ${y1}Q${mx} ${my} ${x2} ${y2}${head.join("")}`;
}
