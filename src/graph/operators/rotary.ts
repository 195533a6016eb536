/**
 * @file Rotary positions (RoFormer, arXiv 2104.09864): each pair (x_j, x_{j + d/2}) of a head turns by position * theta^(-2j/d), so that
 * inner products depend on distances only. The adjoint turns back.
 */
import { NDArray } from "../ndarray.js";
import { defineComposite, definePrimitive } from "../operator.js";
import { apply, constant, type Tensor } from "../tensor.js";
import { requireTensor } from "./checks.js";

interface RotaryAttributes {
  readonly headSize: number;
  readonly theta: number;
  /** Positions run from 0 to maxPosition - 1. */
  readonly maxPosition: number;
}

function turn(
  x: NDArray,
  positions: NDArray,
  cos: (p: number, j: number) => number,
  sin: (p: number, j: number) => number,
  headSize: number,
): NDArray {
  const out = NDArray.zeros(x.shape);
  const width = x.shape[2];
  const half = headSize / 2;
  for (let row = 0; row < positions.data.length; row++)
    for (let start = row * width; start < (row + 1) * width; start += headSize)
      for (let j = 0; j < half; j++) {
        const [c, s] = [cos(positions.data[row], j), sin(positions.data[row], j)];
        const [a, b] = [x.data[start + j], x.data[start + half + j]];
        out.data[start + j] = a * c - b * s;
        out.data[start + half + j] = b * c + a * s;
      }
  return out;
}

/** ONNX Runtime's fused kernel: x [B, N, H*d], positions int64 [B, N], cosines and sines [maxPosition, d/2]. */
const rotaryEmbedding = definePrimitive<object>({
  name: "rotaryEmbedding",
  infer: ([x]) => [{ dtype: x.dtype, shape: x.shape }],
  onnx: () => ({ type: "RotaryEmbedding", domain: "com.microsoft", attributes: { interleaved: 0 } }),
  evaluate: ([x, positions, cosines, sines]) => {
    const half = cosines.shape[1];
    const at = (table: NDArray) => (p: number, j: number) => table.data[p * half + j];
    return [turn(x, positions, at(cosines), at(sines), 2 * half)];
  },
});

/** The tables made last, of each direction: all layers of a graph want the same. */
const lastTables = new Map<1 | -1, { readonly key: string; readonly made: [Tensor, Tensor] }>();

function tables(attributes: RotaryAttributes, direction: 1 | -1): [Tensor, Tensor] {
  const key = JSON.stringify(attributes);
  const last = lastTables.get(direction);
  if (last?.key === key) return last.made;
  const made = makeTables(attributes, direction);
  lastTables.set(direction, { key, made });
  return made;
}

function makeTables({ headSize, theta, maxPosition }: RotaryAttributes, direction: 1 | -1): [Tensor, Tensor] {
  const half = headSize / 2;
  const angles = Float64Array.from(
    { length: maxPosition * half },
    (_, i) => Math.floor(i / half) * theta ** (-(i % half) / half),
  );
  const shape = [maxPosition, half];
  return [
    constant(angles.map(Math.cos), shape),
    constant(
      angles.map((a) => direction * Math.sin(a)),
      shape,
    ),
  ];
}

const rotaryOperator = defineComposite<RotaryAttributes, null>({
  name: "rotary",
  infer: ([x, positions], { headSize }) => {
    requireTensor("rotary", "x", x, "float32", [null, null, null]);
    requireTensor("rotary", "the positions", positions, "int64", x.shape.slice(0, 2));
    const width = x.shape[2];
    if (!Number.isInteger(headSize) || headSize < 2 || headSize % 2 !== 0 || (width ?? 0) % headSize !== 0)
      throw new Error(
        `rotary: expected an even head size that divides the width ${width ?? "?"}, got ${headSize}`,
      );
    return [{ dtype: x.dtype, shape: x.shape }];
  },
  lower: ([x, positions], attributes) => ({
    outputs: apply(rotaryEmbedding, [x, positions, ...tables(attributes, 1)], {}),
    saved: null,
  }),
  adjoint: ([g], { inputs: [, positions], attributes }) => [
    apply(rotaryEmbedding, [g!, positions, ...tables(attributes, -1)], {})[0],
    null,
  ],
  evaluate: ([x, positions], { headSize, theta }) => {
    const angle = (p: number, j: number) => p * theta ** ((-2 * j) / headSize);
    return [
      turn(
        x,
        positions,
        (p, j) => Math.cos(angle(p, j)),
        (p, j) => Math.sin(angle(p, j)),
        headSize,
      ),
    ];
  },
});

/** Turns the heads of x [B, N, H*d] by their positions int64 [B, N] (each below maxPosition). */
export const rotary = (x: Tensor, positions: Tensor, attributes: RotaryAttributes): Tensor =>
  apply(rotaryOperator, [x, positions], attributes)[0];
