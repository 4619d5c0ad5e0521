// One array drawn as planes with a square for each element, over which elements and windows are marked.

const SHOWN_PLANES = 16;
const NUMBERS_FROM = 26; // pixels of a square that has room for its number
const WISHED = [[4, 34], [6, 28], [10, 20], [18, 10], [34, 7], [64, 4], [Infinity, 2]]; // up to so many columns, pixels

class Tensor {
  // options: number (of the array), symbol, name (in the layer: "dx"), windows (of the layer) or null, pick(index, keep)
  // where its elements add up from others, label.
  constructor(options) {
    Object.assign(this, options);
    this.array = arrayOf(this.number);
    this.cursor = null;
    this.all = false;
    this.node = element("div", { class: `tensor of-${this.name}`, "data-name": this.name });
    this.planes = [];
    if (this.array.values === undefined) this.node.append(this.head(), element("p", { class: "left-out" }, "too large for this page"));
    else this.build();
  }

  head() {
    return element("p", { class: "array-name" }, element("b", {}, this.symbol), ` ${shapeText(this.array.shape)}`);
  }

  // Shape without the image, and how it is laid out: leading axes number the planes, the last two are rows and columns.
  layout() {
    const extents = asDrawn(this.array, this.array.shape);
    let shape = this.array.images ? extents.slice(1) : [...extents];
    const lead = shape.length;
    if (shape.length > 2 && shape.slice(1).every((extent) => extent === 1)) shape = [shape[0]]; // a bias: one row
    const [rows, columns] = shape.length === 0 ? [1, 1] : shape.length === 1 ? [1, shape[0]] : shape.slice(-2);
    const planes = shape.length > 2 ? shape.slice(0, -2) : [];
    return { rank: lead, used: shape.length, rows, columns, planes };
  }

  // The index in the array of a plane's square, and back: {plane, row, column}, or null where another image is shown.
  indexAt(plane, row, column) {
    const { rank, used, planes } = this.laid;
    const place = [...unflatIndex(plane, planes), ...(used > 1 ? [row, column] : used === 1 ? [column] : [])];
    const index = place.concat(Array(rank - used).fill(0));
    return asStored(this.array, this.array.images ? [state.image, ...index] : index);
  }

  placeOf(index) {
    let place = asDrawn(this.array, index);
    if (this.array.images) {
      if (index[0] !== state.image) return null;
      place = place.slice(1);
    }
    const { used, planes } = this.laid;
    place = place.slice(0, used);
    return {
      plane: flatIndex(place.slice(0, planes.length), planes),
      row: used > 1 ? place[used - 2] : 0,
      column: used > 0 ? place[used - 1] : 0,
    };
  }

  build() {
    this.laid = this.layout();
    const { rows, columns, planes } = this.laid;
    this.empty = rows * columns === 0 || (this.array.images && this.array.held === 0) || sizeOf(planes) === 0;
    this.ring = this.paddingRing();
    this.grid = element("div", {
      class: "planes",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "array",
      "aria-label": `${this.label}, ${this.symbol} of shape ${shapeText(this.array.shape)}. Arrow keys move over its elements.`,
      onkeydown: (event) => this.onKey(event),
      onblur: () => this.markCursor(null),
    });
    this.node.replaceChildren(this.head(), this.grid);
    if (this.empty) {
      this.grid.append("no elements");
      return;
    }
    const count = sizeOf(planes);
    this.shown = this.all ? count : Math.min(count, SHOWN_PLANES);
    for (let plane = 0; plane < this.shown; plane++) this.grid.append(this.planeNode(plane));
    if (count > this.shown) {
      this.node.append(element("button", { type: "button", class: "more", onclick: () => this.showAll() }, `all ${count} planes`));
    }
    this.resize();
    this.paint();
  }

  showAll() {
    this.all = true;
    this.planes = [];
    this.build();
  }

  // Squares of padding around a plane that windows see; {top, bottom, left, right}.
  paddingRing() {
    const { windows } = this;
    const none = { top: 0, bottom: 0, left: 0, right: 0 };
    if (!windows || !windows.over.includes(this.name)) return none;
    const around = windows.axes.slice(-2).map((axis) => {
      const end = (axis.windows - 1) * axis.stride + (axis.taps - 1) * axis.dilation - axis.before + 1 - axis.extent;
      return [Math.max(0, axis.before), Math.max(0, axis.after, end)];
    });
    const [left, right] = around.at(-1);
    const [top, bottom] = around.length > 1 ? around[0] : [0, 0];
    return { top, bottom, left, right };
  }

  planeNode(plane) {
    const { rows, columns, planes } = this.laid;
    const canvas = element("canvas", { width: columns, height: rows, "aria-hidden": "true" });
    const over = drawn("svg", { "aria-hidden": "true" });
    const { top, bottom, left, right } = this.ring;
    over.setAttribute("viewBox", `${-left} ${-top} ${left + columns + right} ${top + rows + bottom}`);
    const cells = element("div", { class: top + bottom + left + right ? "cells padded" : "cells" }, canvas, over);
    for (const kind of ["pointermove", "pointerdown", "pointerleave"]) {
      cells.addEventListener(kind, (event) => this.onPointer(kind, plane, event));
    }
    const caption = planes.length ? element("figcaption", {}, unflatIndex(plane, planes).join(",")) : "";
    this.planes[plane] = { canvas, over, cells };
    return element("figure", { class: "plane" }, cells, caption);
  }

  // Squares as large as there is room for, and never larger than reads well.
  resize() {
    if (this.empty || !this.laid) return;
    const { rows, columns, planes } = this.laid;
    const { top, bottom, left, right } = this.ring;
    const across = left + columns + right;
    const room = Math.max(40, (this.node.parentElement?.clientWidth || 320) - 8);
    const scale = Math.min(1.7, Math.max(1, (this.node.closest(".board")?.clientWidth ?? 0) / 1180));
    const narrow = matchMedia("screen and (max-width: 760px)").matches;
    const perRow = this.planesPerRow();
    const beside = planes.length === 1 && narrow ? 1 : Math.min(perRow, planes.length > 1 ? 6 : 4); // on a phone a row scrolls
    const wished = WISHED.find(([most]) => across <= most)[1] * scale;
    const fitting = (room - 8 * beside) / (across * beside);
    const stacked = planes.length > 1 ? Math.ceil(this.shown / perRow) : 1;
    const tall = (Math.max(150, innerHeight * (stacked > 1 ? 0.32 : 0.22)) - 18 * stacked) / (stacked * Math.min(rows, 60));
    this.square = Math.max(Math.min(wished, fitting, narrow ? wished : Math.max(tall, 6)), Math.min(1, room / across));
    this.grid.classList.toggle("strip", planes.length === 1);
    if (planes.length > 1) this.grid.style.maxWidth = `${perRow * (across * this.square + 8) + 8}px`;
    for (const { canvas, cells } of this.planes) {
      cells.style.width = `${across * this.square}px`;
      cells.style.height = `${(top + rows + bottom) * this.square}px`;
      Object.assign(canvas.style, {
        left: `${left * this.square}px`,
        top: `${top * this.square}px`,
        width: `${columns * this.square}px`,
        height: `${rows * this.square}px`,
      });
    }
    this.writeNumbers();
  }

  // Of many filters several go beside each other, each with all its channels.
  planesPerRow() {
    const { planes } = this.laid;
    const channels = planes.at(-1) ?? 1;
    const several = planes.length > 1 && this.shown > 3 * channels;
    return several ? channels * Math.max(1, Math.floor(6 / channels)) : channels;
  }

  paint() {
    if (this.empty || !this.laid) return;
    const { rows, columns } = this.laid;
    for (const [plane, { canvas }] of this.planes.entries()) {
      const context = canvas.getContext("2d");
      const image = context.createImageData(columns, rows);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const value = valueAt(this.array, this.indexAt(plane, row, column));
          image.data.set(colour(value, this.array.most), 4 * (row * columns + column));
        }
      }
      context.putImageData(image, 0, 0);
    }
    this.writeNumbers();
  }

  writeNumbers() {
    const { rows, columns } = this.laid;
    for (const [plane, { over }] of this.planes.entries()) {
      over.querySelectorAll(".number").forEach((node) => node.remove());
      if (this.square < NUMBERS_FROM) continue;
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const value = valueAt(this.array, this.indexAt(plane, row, column));
          over.prepend(drawn("text", { x: column + 0.5, y: row + 0.62, class: "number" }, cellNumber(value)));
        }
      }
    }
  }

  // marks: {involved: [index], one: [index], windows: [found], selected: index}; all may be missing.
  mark(marks) {
    if (this.empty || !this.laid) return;
    for (const { over } of this.planes) over.querySelectorAll(".mark").forEach((node) => node.remove());
    for (const found of marks.windows ?? []) this.drawWindow(found);
    for (const [kind, indices] of [["involved", marks.involved], ["one", marks.one], ["selected", marks.selected]]) {
      const once = new Map((indices ?? []).map((index) => [index.join(), index]));
      for (const index of once.values()) this.drawSquare(index, kind);
    }
  }

  drawSquare(index, kind) {
    const place = this.placeOf(index);
    const plane = place && this.planes[place.plane];
    if (!plane) return;
    const { row, column } = place;
    plane.over.append(drawn("rect", { x: column, y: row, width: 1, height: 1, class: `mark ${kind}` }));
  }

  // The outline of a window over this array's plane, and each of its taps, those in padding too.
  drawWindow({ index, at }) {
    const place = this.placeOf(index);
    const plane = place && this.planes[place.plane];
    if (!plane) return;
    const axes = this.windows.axes.slice(-2);
    const along = axes.map((axis, i) => {
      const first = at.at(i - axes.length) * axis.stride - axis.before;
      return Array.from({ length: axis.taps }, (_, tap) => first + tap * axis.dilation);
    });
    const columns = along.at(-1), rows = along.length > 1 ? along[0] : [place.row];
    const box = { x: columns[0], y: rows[0], width: columns.at(-1) - columns[0] + 1, height: rows.at(-1) - rows[0] + 1 };
    plane.over.append(drawn("rect", { ...box, class: "mark window" }));
    for (const y of rows) for (const x of columns) plane.over.append(drawn("rect", { x, y, width: 1, height: 1, class: "mark tap" }));
  }

  // Where an element stands on the page, for arrows; null where it is not shown.
  middleOf(index) {
    const place = this.placeOf(index);
    const plane = place && this.planes[place.plane];
    if (!plane) return null;
    const box = plane.canvas.getBoundingClientRect();
    return { x: box.left + (place.column + 0.5) * this.square, y: box.top + (place.row + 0.5) * this.square };
  }

  onPointer(kind, plane, event) {
    if (kind === "pointerleave") {
      this.pick?.(null, false);
      return;
    }
    const { canvas } = this.planes[plane];
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / this.square);
    const row = Math.floor((event.clientY - box.top) / this.square);
    if (row < 0 || column < 0 || row >= this.laid.rows || column >= this.laid.columns) return;
    const keep = kind === "pointerdown";
    if (keep) this.cursor = { plane, row, column };
    this.point({ plane, row, column }, keep);
  }

  onKey(event) {
    if (this.empty) return;
    const { rows, columns } = this.laid;
    const at = this.cursor ?? { plane: 0, row: 0, column: 0 };
    const held = (value, extent) => Math.min(extent - 1, Math.max(0, value));
    const moves = {
      ArrowRight: () => { if (this.cursor) at.column = held(at.column + 1, columns); },
      ArrowLeft: () => { at.column = held(at.column - 1, columns); },
      ArrowDown: () => { if (this.cursor) at.row = held(at.row + 1, rows); },
      ArrowUp: () => { at.row = held(at.row - 1, rows); },
      Home: () => { at.column = 0; },
      End: () => { at.column = columns - 1; },
      PageDown: () => { at.plane = held(at.plane + 1, this.shown); },
      PageUp: () => { at.plane = held(at.plane - 1, this.shown); },
      Enter: () => {},
      " ": () => {},
    };
    if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    moves[event.key]();
    this.cursor = { ...at };
    this.point(this.cursor, event.key === "Enter" || event.key === " ", true);
    this.markCursor(this.cursor);
  }

  // By a key the element is chosen even while another one is kept.
  point({ plane, row, column }, keep, byKey = false) {
    const index = this.indexAt(plane, row, column);
    if (this.pick) this.pick(index, keep, byKey);
    else this.say(index, "", byKey);
  }

  // Beside the steps, and by byKey to a screen reader.
  say(index, more, byKey) {
    const text = `${named(this.symbol, index)} = ${shortNumber(valueAt(this.array, index))}${more}`;
    document.getElementById("pointed").textContent = text;
    if (byKey) document.getElementById("spoken").textContent = text;
  }

  markCursor(cursor) {
    for (const { over } of this.planes) over.querySelectorAll(".cursor").forEach((node) => node.remove());
    if (!cursor) return;
    const square = drawn("rect", { x: cursor.column, y: cursor.row, width: 1, height: 1, class: "cursor" });
    this.planes[cursor.plane].over.append(square);
  }
}

// From blue over pale to orange, by a value's part of the array's largest magnitude; small ones still show.
function colour(value, most) {
  if (!Number.isFinite(value)) return palette.odd;
  const part = most ? Math.sign(value) * (Math.abs(value) / most) ** 0.7 : 0;
  const end = part < 0 ? palette.below : palette.above;
  return palette.zero.map((from, i) => Math.round(from + (end[i] - from) * Math.abs(part)));
}

let palette = {};

function readPalette() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["below", "zero", "above", "odd"]) {
    palette[name] = style.getPropertyValue(`--${name}`).trim().split(" ").map(Number).concat(255);
  }
}
