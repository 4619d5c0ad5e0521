// The list of products that add up to one element, with their sum beside what the kernel computed.

const LISTED = 40;

// onProduct(product or null, keep): the reader points at one line.
function productsNode(layer, result, index, terms, onProduct) {
  const symbol = layer.symbols[result];
  const computed = valueAt(arrayOf(layer.arrays[result]), index);
  const title = element("h4", {}, `${named(symbol, index)} = `, element("span", { class: "value" }, shortNumber(computed)));
  const node = element("div", { class: "products" }, title);
  if (!terms.whole) {
    node.append(element("p", {}, "An array that it is made of is too large for this page."));
    return node;
  }
  const notes = terms.lost.map(({ note }) => note);
  if (!terms.products.length && !notes.length && terms.nothing) notes.push(terms.nothing);
  for (const note of notes) node.append(element("p", { class: "note" }, terms.products.length ? note : `No products: ${note}.`));
  if (terms.products.length) node.append(tableOf(terms.products, onProduct));
  node.append(totals(terms, computed));
  return node;
}

function tableOf(products, onProduct) {
  const most = products.reduce((largest, { value }) => Math.max(largest, Math.abs(value)), 0);
  const body = element("tbody");
  const table = element("table", { "aria-label": "products" }, body);
  const rows = (from, to) => body.append(...products.slice(from, to).map((product) => rowOf(product, most, onProduct)));
  rows(0, LISTED);
  const frame = element("div", { class: "listed" }, table);
  if (products.length > LISTED) {
    const more = element("button", { type: "button", class: "more" }, `all ${products.length.toLocaleString("en")} products`);
    more.addEventListener("click", () => {
      rows(LISTED, products.length);
      more.remove();
    });
    frame.append(more);
  }
  return frame;
}

function rowOf(product, most, onProduct) {
  const { factors, sign, value } = product;
  const signed = (text) => (sign < 0 ? `−(${text})` : text);
  const share = most ? (50 * Math.abs(value)) / most : 0;
  const bar = element("span", { class: `bar ${value < 0 ? "below" : "above"}`, style: `width:${share}%` });
  const [on, off] = [() => onProduct(product), () => onProduct(null)];
  const values = signed(factors.map((factor) => shortNumber(factor.value)).join(" × "));
  return element(
    "tr",
    { tabindex: 0, onpointerenter: on, onpointerleave: off, onfocus: on, onblur: off },
    element("td", { class: "names" }, signed(factors.map(({ name }) => name).join(" · "))),
    element("td", { class: "factors" }, factors.length > 1 || sign < 0 ? values : ""),
    element("td", { class: "product", "data-value": value }, shortNumber(value)),
    element("td", { class: "bars", "aria-hidden": "true" }, bar),
  );
}

function totals({ products, partly }, computed) {
  const sum = products.reduce((total, { value }) => total + value, 0);
  const { shown, of } = DATA.images;
  const count = products.length === 1 ? "one product" : `sum of ${products.length.toLocaleString("en")} products`;
  const line = (label, value, kind, text = exactNumber(value)) =>
    element("div", { class: kind }, element("dt", {}, label), element("dd", { "data-value": value }, text));
  const list = element("dl", { class: "totals" }, line(products.length ? count : "sum of nothing", sum, "sum"));
  if (partly) list.append(line(`the other ${of - shown} images, not on this page, add`, computed - sum, "rest"));
  list.append(line("the kernel computed", computed, "computed"));
  if (!partly) {
    const difference = Math.abs(sum - computed);
    list.append(line("difference", difference, "difference", difference ? difference.toExponential(1) : "0"));
  }
  return list;
}

const exactNumber = (value) => String(value).replaceAll("-", "−");
