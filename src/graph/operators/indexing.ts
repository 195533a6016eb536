/**
 * @file Operators that select by index: gather, gather/scatter along an axis, top-k.
 *
 * `ScatterND` with reduction is absent on purpose: ONNX Runtime loses updates on duplicate indices when it runs on more than one
 * thread. `scatterElements` with reduction "add" or "max" is right (and slow); prefer a gather by an inverse permutation. `topK` of no rows
 * at all ends the process (a division by zero in ONNX Runtime), so it takes neither none nor rows whose number is known at run time only.
 */
import { forEachIndex, NDArray, stridesOf } from "../ndarray.js";
import { definePrimitive } from "../operator.js";
import { apply, type Tensor } from "../tensor.js";
import { type Dim, showShape, sizeOf } from "../types.js";
import { axisOf } from "./axis.js";
import { add } from "./elementwise.js";
import { reshape, slice, zeros } from "./shape.js";

const requireIndices = (name: string, indices: Tensor): void => {
  if (indices.dtype !== "int64") throw new Error(`${name}: expected int64 indices, got ${indices.dtype}`);
};

/** An index's other coordinates are its own: they must lie in x. */
const requireElements = (name: string, x: Tensor, indices: Tensor, axis: number): void => {
  requireIndices(name, indices);
  const fits = (d: Dim, i: number) => i === axis || d === null || x.shape[i] === null || d <= x.shape[i];
  if (x.rank !== indices.rank || !indices.shape.every(fits))
    throw new Error(
      `${name}: expected indices of as many axes as ${showShape(x.shape)}, none but axis ${axis} longer, got ${showShape(indices.shape)}`,
    );
};

/** An index as a place on an axis; negative ones count from the end. */
const placeOf = (name: string, index: number, length: number): number => {
  if (index < -length || index >= length)
    throw new Error(`${name}: expected an index from ${-length} to ${length - 1}, got ${index}`);
  return index < 0 ? index + length : index;
};

const gatherOperator = definePrimitive<{ axis: number }>({
  name: "gather",
  infer: ([x, indices], { axis }) => {
    requireIndices("gather", indices);
    return [
      { dtype: x.dtype, shape: [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)] },
    ];
  },
  onnx: ({ axis }) => ({ type: "Gather", attributes: { axis } }),
  adjoint: ([g], { inputs: [x, indices], attributes: { axis } }) => {
    if (axis !== 0) throw new Error("gather: differentiable along axis 0 only; transpose first");
    const rows = sizeOf(indices.staticShape);
    const width = sizeOf(x.staticShape.slice(1));
    const sum = addRows(
      zeros([x.staticShape[0], width]),
      reshape(indices, [rows]),
      reshape(g!, [rows, width]),
    );
    return [reshape(sum, x.shape), null];
  },
  evaluate: ([x, indices], { axis }) => {
    const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
    const out = NDArray.zeros(shape, x.dtype);
    const inner = sizeOf(x.shape.slice(axis + 1));
    const outer = sizeOf(x.shape.slice(0, axis));
    const length = x.shape[axis];
    const count = indices.data.length;
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < count; i++) {
        const from = (o * length + placeOf("gather", indices.data[i], length)) * inner;
        out.data.set(x.data.subarray(from, from + inner), (o * count + i) * inner);
      }
    return [out];
  },
});
/** Slices of x along `axis` chosen by int64 indices of any shape. */
export const gather = (x: Tensor, indices: Tensor, axis = 0): Tensor =>
  apply(gatherOperator, [x, indices], { axis: axisOf("gather", x, axis) })[0];

const gatherElementsOperator = definePrimitive<{ axis: number; uniqueIndices: boolean }>({
  name: "gatherElements",
  infer: ([x, indices], { axis }) => {
    requireElements("gatherElements", x, indices, axis);
    return [{ dtype: x.dtype, shape: indices.shape }];
  },
  onnx: ({ axis }) => ({ type: "GatherElements", attributes: { axis } }),
  adjoint: ([g], { inputs: [x, indices], attributes: { axis, uniqueIndices } }) => [
    scatterElements(zeros(x.staticShape), indices, g!, axis, uniqueIndices ? "none" : "add"),
    null,
  ],
  evaluate: ([x, indices], { axis }) => {
    const out = NDArray.zeros(indices.shape, x.dtype);
    forElements("gatherElements", x.shape, indices, axis, (flat, source) => {
      out.data[flat] = x.data[source];
    });
    return [out];
  },
});
/**
 * One element of x for each index along `axis`; every other coordinate is the index's own. With `uniqueIndices` (no index twice
 * along the axis, as top-k yields) the adjoint is a plain scatter.
 */
export const gatherElements = (x: Tensor, indices: Tensor, axis = -1, uniqueIndices = false): Tensor =>
  apply(gatherElementsOperator, [x, indices], { axis: axisOf("gatherElements", x, axis), uniqueIndices })[0];

function forElements(
  name: string,
  shape: readonly number[],
  indices: NDArray,
  axis: number,
  visit: (flat: number, target: number) => void,
): void {
  const strides = stridesOf(shape);
  const own = strides.map((s, i) => (i === axis ? 0 : s));
  forEachIndex(indices.shape, [own], (flat, [offset]) =>
    visit(flat, offset + placeOf(name, indices.data[flat], shape[axis]) * strides[axis]),
  );
}

/** What becomes of an element that is written to: the update, the sum, or the larger of both. */
type Reduction = "none" | "add" | "max";

const scatterElementsOperator = definePrimitive<{ axis: number; reduction: Reduction }>({
  name: "scatterElements",
  infer: ([x, indices, updates], { axis }) => {
    requireElements("scatterElements", x, indices, axis);
    const fits = updates.shape.every(
      (d, i) => d === indices.shape[i] || d === null || indices.shape[i] === null,
    );
    if (updates.dtype !== x.dtype || updates.rank !== indices.rank || !fits)
      throw new Error(
        `scatterElements: expected ${x.dtype} updates of the shape of the indices, ${showShape(indices.shape)}, got ${updates.dtype}${showShape(updates.shape)}`,
      );
    return [{ dtype: x.dtype, shape: x.shape }];
  },
  onnx: ({ axis, reduction }) => ({
    type: "ScatterElements",
    attributes: { axis, reduction },
  }),
  adjoint: ([g], { inputs: [, indices], attributes: { axis, reduction } }) => {
    if (reduction !== "add") throw new Error('scatterElements: differentiable with reduction "add" only');
    return [g, null, gatherElements(g!, indices, axis)];
  },
  evaluate: ([x, indices, updates], { axis, reduction }) => {
    const out = new NDArray(x.dtype, x.shape, x.data.slice());
    forElements("scatterElements", x.shape, indices, axis, (flat, target) => {
      const [before, update] = [out.data[target], updates.data[flat]];
      out.data[target] =
        reduction === "add" ? before + update : reduction === "max" ? Math.max(before, update) : update;
    });
    return [out];
  },
});
/** Writes updates into a copy of x at the indexed places along `axis` (or adds them, or keeps the larger). */
export const scatterElements = (
  x: Tensor,
  indices: Tensor,
  updates: Tensor,
  axis: number,
  reduction: Reduction = "none",
): Tensor =>
  apply(scatterElementsOperator, [x, indices, updates], {
    axis: axisOf("scatterElements", x, axis),
    reduction,
  })[0];

/** Rows that are written at once: 65,536 rows of 128 take 379 ms at once, 58 in pieces of so many, in place (bench/row-slices.ts). */
const ROWS = 4096;

function intoRows(x: Tensor, index: Tensor, rows: Tensor, reduction: Reduction): Tensor {
  const [count] = index.shape;
  const everyColumn = zeros([1, x.staticShape[1]], "int64");
  const write = (into: Tensor, places: Tensor, values: Tensor) =>
    scatterElements(into, add(reshape(places, [places.shape[0], 1]), everyColumn), values, 0, reduction);
  if (count === null || count <= ROWS) return write(x, index, rows);
  let result = x;
  for (let start = 0; start < count; start += ROWS) {
    const end = Math.min(start + ROWS, count);
    result = write(result, slice(index, 0, start, end), slice(rows, 0, start, end));
  }
  return result;
}
/** x [T, K] with `rows` [n, K] added at `index` int64 [n], a place as often as it is named. For few rows: it runs on one thread. */
export const addRows = (x: Tensor, index: Tensor, rows: Tensor): Tensor => intoRows(x, index, rows, "add");
/** x [T, K] or what is larger of `rows` [n, K] at `index` int64 [n]. Not differentiable. */
export const maxRows = (x: Tensor, index: Tensor, rows: Tensor): Tensor => intoRows(x, index, rows, "max");

const argMaxOperator = definePrimitive<object>({
  name: "argMax",
  infer: ([x]) => [{ dtype: "int64", shape: x.shape.slice(0, -1) }],
  onnx: () => ({ type: "ArgMax", attributes: { axis: -1, keepdims: 0, select_last_index: 0 } }),
  evaluate: ([x]) => {
    const width = x.shape.at(-1)!;
    const out = NDArray.zeros(x.shape.slice(0, -1), "int64");
    for (let row = 0; row < out.data.length; row++) {
      let best = 0;
      for (let i = 1; i < width; i++) if (x.data[row * width + i] > x.data[row * width + best]) best = i;
      out.data[row] = best;
    }
    return [out];
  },
});
/**
 * int64: place of the largest element along the last axis; of equal ones the first. Not differentiable. Of no rows at all ONNX Runtime
 * returns no elements in a wrong shape: reshape it.
 */
export const argMax = (x: Tensor): Tensor => apply(argMaxOperator, [x], {})[0];

const topKOperator = definePrimitive<{ k: number; largest: boolean }>({
  name: "topK",
  infer: ([x], { k }) => {
    const shape = [...x.shape.slice(0, -1), k];
    const length = x.shape.at(-1)!;
    if (x.shape.slice(0, -1).some((d) => d === null || d === 0))
      throw new Error(
        `topK: expected one row at least, known in advance, got ${showShape(x.shape)}: ONNX Runtime divides by zero when there are none`,
      );
    if (!Number.isInteger(k) || k < 1 || (length !== null && k > length))
      throw new Error(
        `topK: expected k to be an integer from 1 ${length === null ? "on" : `to ${length}`}, got ${k}`,
      );
    return [
      { dtype: x.dtype, shape },
      { dtype: "int64", shape },
    ];
  },
  onnx: ({ k, largest }) => ({
    type: "TopK",
    attributes: { axis: -1, largest: Number(largest), sorted: 1 },
    constants: [[k]],
  }),
  adjoint: ([g], { inputs: [x], outputs: [, indices] }) => [
    g && scatterElements(zeros(x.staticShape), indices, g, x.rank - 1),
  ],
  evaluate: ([x], { k, largest }) => {
    const shape = [...x.shape.slice(0, -1), k];
    const values = NDArray.zeros(shape, x.dtype);
    const indices = NDArray.zeros(shape, "int64");
    const length = x.shape.at(-1)!;
    const sign = largest ? -1 : 1;
    for (let row = 0; row < sizeOf(shape) / k; row++) {
      const part = x.data.subarray(row * length, (row + 1) * length);
      const order = Array.from(part.keys()).sort((i, j) => sign * (part[i] - part[j]) || i - j);
      for (let j = 0; j < k; j++) {
        values.data[row * k + j] = part[order[j]];
        indices.data[row * k + j] = order[j];
      }
    }
    return [values, indices];
  },
});
/** The k largest (or smallest) along the last axis, in order; equal values by lower index. Returns values and int64 indices. */
export const topK = (x: Tensor, k: number, largest = true): { values: Tensor; indices: Tensor } => {
  const [values, indices] = apply(topKOperator, [x], { k, largest });
  return { values, indices };
};
