// The walk through the network: forward layer by layer, the loss, and backward gradient by gradient.

const state = { stage: 0, image: 0 };
const sections = [], stages = [], cards = [];
const LOSS = "L = Σ G · Y for random numbers G, so the gradient of the output is ∂L/∂Y = G. From here it goes back.";
const byId = (id) => document.getElementById(id);

function start() {
  readPalette();
  byId("network-text").textContent = DATA.network;
  byId("limits").textContent = limits();
  const { layers } = DATA;
  layers.forEach((layer, place) => sections.push(new LayerSection(layer, layers[place + 1]?.name ?? "the loss")));
  const first = plainSection("input", "Layer 1: input", "What the network is given.", DATA.input, "X");
  const loss = plainSection("loss", "Loss", LOSS, layers.at(-1)?.arrays.dy, "dY");
  byId("sections").append(first.node, ...sections.map(({ node }) => node), loss.node);
  stages.push({ section: first, part: 0, card: 0, text: "the input" });
  sections.forEach((section, place) => stages.push({ section, part: 0, card: place + 1, text: `forward through ${section.layer.name}` }));
  stages.push({ section: loss, part: 0, card: layers.length + 1, text: "the loss" });
  for (const [place, section] of [...sections.entries()].reverse()) {
    for (let part = 1; part < section.parts; part++) {
      const { name, gradients, symbols } = section.layer;
      const what = part === 1 ? "dY arrives" : symbols[gradients[part - 2].of];
      stages.push({ section, part, card: place + 1, text: `backward through ${name}: ${what}` });
    }
  }
  makeNetwork();
  makeImages();
  byId("on").addEventListener("click", () => go(state.stage + 1));
  byId("back").addEventListener("click", () => go(state.stage - 1));
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", () => stages[state.stage].section.resized());
  window.addEventListener("beforeprint", printAll);
  window.addEventListener("afterprint", () => repaint(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint(false));
  go(Number(location.hash.slice(1)) || 0);
}

function limits() {
  const { shown, of } = DATA.images;
  const first = shown === 1 ? "image" : `${shown} images`;
  return shown < of ? `This page holds the first ${first} of ${of}; gradients are those of all ${of}.` : "";
}

// The input and the loss: a section with one array.
function plainSection(id, title, text, number, symbol) {
  const holder = element("div", { class: "column" });
  const parts = [element("h2", { tabindex: -1 }, title), element("p", {}, text), holder];
  const node = element("section", { class: "layer plain", id, hidden: true }, ...parts);
  const options = { number, symbol, name: symbol, windows: null, pick: null, label: title };
  let tensor = null;
  return {
    node,
    show() {
      node.hidden = false;
      tensor ??= number === undefined || number === null ? null : new Tensor(options);
      if (tensor) {
        holder.replaceChildren(tensor.node);
        tensor.resize();
      }
    },
    imageChanged: () => tensor?.paint(),
    resized: () => tensor?.resize(),
    release() {},
  };
}

function go(stage) {
  stage = Math.max(0, Math.min(stages.length - 1, stage));
  const before = stages[state.stage].section;
  state.stage = stage;
  const { section, part, text } = stages[stage];
  if (before !== section) before.node.hidden = true;
  section.show(part);
  section.imageChanged();
  byId("where").textContent = `step ${stage + 1} of ${stages.length}: ${text}`;
  byId("spoken").textContent = byId("where").textContent;
  byId("back").disabled = stage === 0;
  byId("on").disabled = stage === stages.length - 1;
  history.replaceState(null, "", `#${stage}`);
  markNetwork();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const { section } = stages[state.stage];
  const keys = {
    ArrowRight: () => go(state.stage + 1),
    ArrowLeft: () => go(state.stage - 1),
    n: () => go(state.stage + 1),
    p: () => go(state.stage - 1),
    "+": () => showImage(state.image + 1),
    "-": () => showImage(state.image - 1),
    Escape: () => section.release(),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}

function makeImages() {
  const { shown } = DATA.images;
  if (shown < 2) return;
  byId("images").append(
    element("button", { type: "button", "aria-label": "image before", onclick: () => showImage(state.image - 1) }, "‹"),
    element("span", { id: "image" }),
    element("button", { type: "button", "aria-label": "next image", onclick: () => showImage(state.image + 1) }, "›"),
  );
  writeImage();
}

const writeImage = () => { byId("image").textContent = `image ${state.image} (0–${DATA.images.shown - 1})`; };

function showImage(image) {
  if (image < 0 || image >= DATA.images.shown) return;
  state.image = image;
  writeImage();
  stages[state.stage].section.imageChanged();
  cards.forEach(paintCard);
}

// The row of layers. A card leads to the layer: forward first, and backward once the walk has come there.
function makeNetwork() {
  const { layers } = DATA;
  const ofLayers = layers.map(({ number, name, arrays }) => ({ title: `${number} ${name}`, y: arrays.y, dy: arrays.dy }));
  const all = [{ title: "1 input", y: DATA.input }, ...ofLayers, { title: "loss" }];
  const thumbnail = () => element("canvas", { class: "thumbnail", "aria-hidden": "true" });
  all.forEach(({ title, y, dy }, place) => {
    const forward = thumbnail(), backward = thumbnail();
    const shape = y === undefined || y === null ? "" : shapeText(arrayOf(y).shape);
    const text = [element("b", {}, title), element("span", { class: "shape" }, shape)];
    const button = element("button", { type: "button", class: "card", onclick: () => toCard(place) }, ...text, forward, backward);
    cards.push({ button, forward, backward, y, dy });
    byId("network").append(button);
  });
  cards.forEach(paintCard);
}

function toCard(place) {
  const there = stages.flatMap(({ card }, stage) => (card === place ? [stage] : []));
  const turned = state.stage > cards.length - 1;
  const first = there.find((stage) => stage >= cards.length);
  go(turned && first !== undefined ? first : there[0]);
}

function markNetwork() {
  const { card } = stages[state.stage];
  const turned = state.stage >= cards.length;
  cards.forEach(({ button, forward, backward }, place) => {
    if (place === card) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
    forward.classList.toggle("later", !turned && place > card);
    backward.classList.toggle("later", !turned || place < card);
  });
  byId("network").classList.toggle("turned", turned);
  const current = cards[card].button;
  current.parentElement.scrollLeft = current.offsetLeft - current.parentElement.offsetLeft - 60;
}

function paintCard({ forward, backward, y, dy }) {
  for (const [canvas, number] of [[forward, y], [backward, dy]]) {
    if (number === undefined || number === null || arrayOf(number).values === undefined) canvas.remove();
    else paintThumbnail(canvas, number);
  }
}

// The first planes of an array beside each other.
function paintThumbnail(canvas, number) {
  const array = arrayOf(number);
  const before = array.images ? [state.image] : [];
  const shape = asDrawn(array, array.shape).slice(before.length);
  const [rows, columns] = shape.length > 1 ? shape.slice(-2) : [1, shape[0] ?? 1];
  const planes = Math.min(3, sizeOf(shape.slice(0, -2)));
  const value = (number) => valueAt(array, asStored(array, [...before, ...unflatIndex(number, shape)]));
  if (!rows || !columns || !planes || !array.values.length) {
    canvas.remove();
    return;
  }
  canvas.width = planes * (columns + 1) - 1;
  canvas.height = rows;
  canvas.style.aspectRatio = `${canvas.width} / ${rows}`;
  const context = canvas.getContext("2d");
  for (let plane = 0; plane < planes; plane++) {
    const image = context.createImageData(columns, rows);
    for (let cell = 0; cell < rows * columns; cell++) {
      image.data.set(colour(value(plane * rows * columns + cell), array.most), 4 * cell);
    }
    context.putImageData(image, plane * (columns + 1), 0);
  }
}

// On paper: every layer, all its gradients, in the light.
function printAll() {
  repaint(true);
  for (const { section } of stages) section.show(Infinity);
  for (const { section } of stages) section.imageChanged();
}

function repaint(onPaper) {
  document.documentElement.classList.toggle("on-paper", onPaper);
  readPalette();
  cards.forEach(paintCard);
  if (onPaper) return;
  for (const { section } of stages) section.node.hidden = true;
  go(state.stage);
}

start();
