// The arrays of the page: decoded when they are first looked at, and read by index.

const DATA = JSON.parse(document.getElementById("data").textContent);

function arrayOf(number) {
  const array = DATA.arrays[number];
  if (!array.values && array.data !== undefined) {
    const bytes = Uint8Array.from(atob(array.data), (character) => character.charCodeAt(0));
    array.values = new Float64Array(bytes.buffer);
    array.most = array.values.reduce((most, value) => Math.max(most, Number.isFinite(value) ? Math.abs(value) : 0), 0);
  }
  return array;
}

// The extent of an axis as far as the page holds it: of the first axis only the first images may be there.
const heldExtent = (array, axis) => (axis === 0 && array.images ? array.held : array.shape[axis]);

const valueAt = (array, index) => array.values[flatIndex(index, array.shape)];

const flatIndex = (index, shape) => index.reduce((flat, i, axis) => flat * shape[axis] + i, 0);

// An index, or a shape, as an array is drawn: its channels before the axes of the image; and back.
const asDrawn = (array, index) => (array.last ? [index[0], index.at(-1), ...index.slice(1, -1)] : index);

const asStored = (array, index) => (array.last ? [index[0], ...index.slice(2), index[1]] : index);

function unflatIndex(flat, shape) {
  const index = [];
  for (const extent of [...shape].reverse()) {
    index.unshift(flat % extent);
    flat = Math.floor(flat / extent);
  }
  return index;
}

const sizeOf = (shape) => shape.reduce((size, extent) => size * extent, 1);

const shapeText = (shape) => (shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`);

const named = (symbol, index) => (index.length ? `${symbol}[${index.join(",")}]` : symbol);

// Six digits, as `explain --term` shows them.
const shortNumber = (value) => digits(value, 6);

const cellNumber = (value) => digits(value, 2).replace(/^(−?)0\./, "$1.");

function digits(value, count) {
  if (!Number.isFinite(value)) return String(value);
  const small = value !== 0 && Math.abs(value) < 1e-3;
  const text = small ? value.toExponential(count > 2 ? count - 1 : 0) : String(Number(value.toPrecision(count)));
  return text.replaceAll("-", "−");
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// The parser knows the namespace of drawings, so none need be written here.
const DRAWING = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;

function drawn(tag, attributes = {}, text = "") {
  const made = document.createElementNS(DRAWING, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
