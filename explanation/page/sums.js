// Follows the sums that the kernels' rooms declare: letters stand for indices, relations say which go together.

const lettersOf = (relation) => relation.letters + (relation.flat ?? "");

// Every set of letters' values that a sum's relations allow for element `index`: {letter: value}.
function* candidates(layer, sum, index) {
  const given = {};
  [...sum.at].forEach((letter, axis) => { if (letter !== ".") given[letter] = index[axis]; });
  const relations = sum.relations.map((number) => layer.relations[number]);
  const related = relations.map(lettersOf).join("");
  const extents = new Map();
  for (const factor of sum.factors) {
    const array = arrayOf(layer.arrays[factor.array]);
    [...factor.at].forEach((letter, axis) => {
      const extent = Math.min(extents.get(letter) ?? Infinity, heldExtent(array, axis));
      if (letter !== "." && !(letter in given) && !related.includes(letter)) extents.set(letter, extent);
    });
  }
  yield* overFree([...extents], given, relations);
}

function* overFree(free, found, relations) {
  if (!free.length) {
    yield* overRelations(relations, found);
    return;
  }
  const [[letter, extent], ...rest] = free;
  for (let value = 0; value < extent; value++) yield* overFree(rest, { ...found, [letter]: value }, relations);
}

function* overRelations(relations, found) {
  if (!relations.length) {
    yield found;
    return;
  }
  const [relation, ...rest] = relations;
  const extended = relation.flat === undefined ? byTable(relation, found) : byFlat(relation, found);
  for (const more of extended) yield* overRelations(rest, more);
}

// The rows of a table are sorted once by the letters that are known when it is asked.
function* byTable(relation, found) {
  const letters = [...relation.letters];
  const known = letters.filter((letter) => letter in found);
  const sorted = ((relation.sorted ??= {})[known.join("")] ??= sortedRows(relation.rows, known.map((l) => letters.indexOf(l))));
  for (const row of sorted.get(known.map((letter) => found[letter]).join()) ?? []) {
    const more = { ...found };
    letters.forEach((letter, place) => { more[letter] = row[place]; });
    yield more;
  }
}

function sortedRows(rows, places) {
  const sorted = new Map();
  for (const row of rows) {
    const key = places.map((place) => row[place]).join();
    if (!sorted.has(key)) sorted.set(key, []);
    sorted.get(key).push(row);
  }
  return sorted;
}

// A letter that is the number of an element in row-major order, and the letters of the element's index.
function* byFlat({ flat, letters, extents }, found) {
  if ([...letters].every((letter) => letter in found)) {
    yield { ...found, [flat]: flatIndex([...letters].map((letter) => found[letter]), extents) };
    return;
  }
  const numbers = flat in found ? [found[flat]] : Array(sizeOf(extents)).keys();
  for (const number of numbers) {
    const more = { ...found, [flat]: number };
    unflatIndex(number, extents).forEach((i, place) => { more[letters[place]] = i; });
    yield more;
  }
}

const indexOf = (at, found) => [...at].map((letter) => (letter === "." ? 0 : found[letter]));

// What adds up to element `index` of a layer's result ("dx", "dw", "db", "y"), on the images that are here:
// products: [{sign, factors: [{array, name, index, value}], value, found}]; lost: [{found, note, at}], candidates that
// are none because another element was chosen, of the element `at`; partly: whether some images are not here; whole:
// whether all arrays are; nothing: why there may be no products.
function termsOf(layer, result, index) {
  const products = [], lost = [];
  let partly = false;
  const sums = layer.sums[result];
  const used = sums.flatMap((sum) => sum.factors.concat(sum.chosen ? [sum.chosen.of] : [])).map(({ array }) => array);
  if (used.some((array) => arrayOf(layer.arrays[array]).values === undefined)) return { products, lost, partly, whole: false, nothing: "" };
  for (const sum of sums) {
    for (const found of candidates(layer, sum, index)) {
      if (!isChosen(layer, sum.chosen, found)) {
        const note = sum.chosen.lost.replace(/\{(\w)\}/g, (_, letter) => found[letter]);
        lost.push({ found, note, at: indexOf(sum.chosen.of.at, found) });
        continue;
      }
      const factors = sum.factors.map(({ array, at }) => {
        const place = indexOf(at, found);
        return { array, index: place, name: named(layer.symbols[array], place), value: valueAt(arrayOf(layer.arrays[array]), place) };
      });
      products.push({ sign: sum.sign, factors, found, value: factors.reduce((product, { value }) => product * value, sum.sign) });
    }
    partly ||= runsOverLeftOut(layer, sum);
  }
  return { products, lost, partly, whole: true, nothing: sums[0].nothing };
}

const isChosen = (layer, chosen, found) =>
  !chosen || valueAt(arrayOf(layer.arrays[chosen.of.array]), indexOf(chosen.of.at, found)) === found[chosen.by];

// Whether a letter that runs freely is the image of an array of which the page has only the first.
const runsOverLeftOut = (layer, sum) =>
  sum.factors.some(({ array, at }) => {
    const { images, held, shape } = arrayOf(layer.arrays[array]);
    return images && held < shape[0] && !sum.at.includes(at[0]);
  });
