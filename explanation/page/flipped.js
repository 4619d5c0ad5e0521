// Why dX of a convolution is a full correlation with the kernel turned round: a close-up around one element of dX.

const MARGIN = 1; // squares shown around the kernel

// dY spread out by the stride, zeros between, and shifted so that the turned kernel's first corner lies at the element:
// dY[p] stands at p·stride + reach - before, and tap r of the kernel at h + (taps - 1 - r)·dilation.
function flippedNode(layer, index, channel) {
  const { axes, letters } = layer.windows;
  const pair = axes.slice(-2);
  const dy = arrayOf(layer.arrays.dy), weights = arrayOf(layer.arrays.w);
  const position = asDrawn(arrayOf(layer.arrays.dx), index).slice(2);
  const rows = pair.length > 1 ? pair[0] : { stride: 1, taps: 1, dilation: 1, before: 0, windows: 1, extent: 1 };
  const columns = pair.at(-1);
  const [h, w] = pair.length > 1 ? position : [0, ...position];
  const around = (axis, at) => Array.from({ length: reach(axis) + 1 + 2 * MARGIN }, (_, i) => at - MARGIN + i);
  const down = around(rows, h), across = around(columns, w);
  const drawing = drawn("svg", { class: "flipped", viewBox: `0 0 ${across.length} ${down.length}`, role: "img" });
  drawing.setAttribute("aria-label", "dY spread out by the stride under the kernel turned round");
  drawing.style.width = `${Math.min(across.length * 44, 420)}px`;
  const valueOf = (array, ...drawn) => valueAt(array, asStored(array, drawn));
  down.forEach((u, y) => across.forEach((v, x) => {
    const p = windowAt(rows, u), q = windowAt(columns, v);
    const r = tapAt(rows, u - h), s = tapAt(columns, v - w);
    const gradient = p !== null && q !== null && valueOf(dy, index[0], channel.k, ...(pair.length > 1 ? [p, q] : [q]));
    const weight = r !== null && s !== null && valueOf(weights, channel.k, channel.c, ...(pair.length > 1 ? [r, s] : [s]));
    const inside = isInside(rows, u) && isInside(columns, v);
    drawing.append(drawn("rect", { x, y, width: 1, height: 1, class: gradient !== false ? "there" : inside ? "between" : "outside" }));
    const text = (value, at, kind) => drawing.append(drawn("text", { x: x + 0.5, y: y + at, class: kind }, value));
    if (weight !== false) {
      const box = { x: x + 0.04, y: y + 0.04, width: 0.92, height: 0.92 };
      drawing.append(drawn("rect", { ...box, class: gradient !== false ? "weight meets" : "weight" }));
      text(cellNumber(weight), 0.36, "of-weight");
    }
    text(gradient !== false ? cellNumber(gradient) : "0", 0.8, gradient !== false ? "of-gradient" : "of-nothing");
  }));
  const spread = columns.stride > 1 || rows.stride > 1 ? "dY, spread out by the stride (zeros between)," : "dY";
  return element(
    "figure",
    { class: "why" },
    drawing,
    element("figcaption", {}, `Why a full correlation: ${spread} lies below; on it lies filter ${channel.k}, turned round `,
      `by 180°, its corner at ${[...letters[2]].join()} = ${position.join()}. Where a weight (upper number) meets a `,
      "dY (lower number) there is a product. The kernel visits every place of X, so it reaches over all edges of dY: ",
      "what is outside counts as 0."),
  );
}

const reach = (axis) => axis.dilation * (axis.taps - 1);

// The window whose dY stands at a place of the spread-out dY, or null for a 0 between or around.
function windowAt(axis, place) {
  const from = place - reach(axis) + axis.before;
  const window = from / axis.stride;
  return Number.isInteger(window) && window >= 0 && window < axis.windows ? window : null;
}

function isInside(axis, place) {
  const window = (place - reach(axis) + axis.before) / axis.stride;
  return window >= 0 && window <= axis.windows - 1;
}

// The tap of the turned kernel that lies so far from its first corner, or null.
function tapAt(axis, offset) {
  const turned = offset / axis.dilation;
  return Number.isInteger(turned) && turned >= 0 && turned < axis.taps ? axis.taps - 1 - turned : null;
}
