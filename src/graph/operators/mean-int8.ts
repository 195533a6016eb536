/**
 * @file P T in eight bits, for inference: weighted sums of the rows of a table T [V, D] over a vocabulary, with one scale for every
 * `block` entries along the vocabulary, of P and of T alike,
 *
 *     T[v, d] ~ scale[d, v / block] (q[d, v] - 128),     scale = max |T| of the block / 127.
 *
 * Probabilities are no work for one scale a row (linear-int8.ts): where thousands share a row with one that is likely, nearly all of them
 * would round to zero, and with them their mass. ONNX Runtime's kernel rounds P block by block within a row, so a row's result does
 * not depend on the other rows. The reference evaluation keeps P as it is.
 */
import { NDArray } from "../ndarray.js";
import { definePrimitive } from "../operator.js";
import { apply, constant, type Tensor } from "../tensor.js";
import { showShape } from "../types.js";

interface Int8Attributes {
  /** D */
  readonly outer: number;
  /** V */
  readonly inner: number;
  readonly block: number;
}

/** The finest and coarsest blocks of the kernel: longer ones are faster. */
const BLOCKS = [128, 64, 32] as const;

const meanInt8Operator = definePrimitive<Int8Attributes>({
  name: "meanInt8",
  infer: ([x], { outer, inner }) => {
    if (x.rank !== 2 || x.shape[1] !== inner)
      throw new Error(`meanInt8: expected weights [rows, ${inner}], got ${showShape(x.shape)}`);
    return [{ dtype: "float32", shape: [x.shape[0], outer] }];
  },
  onnx: ({ outer, inner, block }) => ({
    type: "MatMulNBits",
    domain: "com.microsoft",
    attributes: { K: inner, N: outer, bits: 8, block_size: block, accuracy_level: 4 },
  }),
  evaluate: ([x, packed, scales], { outer, inner, block }) => {
    const rows = x.shape[0];
    const blocks = Math.ceil(inner / block);
    const out = NDArray.zeros([rows, outer]);
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < outer; o++) {
        let sum = 0;
        for (let k = 0; k < inner; k++) {
          const scale = scales.data[o * blocks + Math.floor(k / block)];
          sum += x.data[r * inner + k] * scale * (packed.data[o * blocks * block + k] - 128);
        }
        out.data[r * outer + o] = sum;
      }
    return [out];
  },
});

/** A table in eight bits, turned as the kernel wants it: constants. */
export interface Int8Table extends Int8Attributes {
  /** uint8 [D, blocks, block], 128 behind the end */
  readonly packed: Tensor;
  /** float32 [D * blocks] */
  readonly scales: Tensor;
}

/** T [rows, width], row-major. `block` divides `rows` where one of the kernel's blocks does. */
export function packTable(table: Float32Array, rows: number, width: number): Int8Table {
  const block = BLOCKS.find((size) => rows % size === 0) ?? 32;
  const blocks = Math.ceil(rows / block);
  const packed = new Uint8Array(width * blocks * block).fill(128);
  const scales = new Float32Array(width * blocks);
  for (let d = 0; d < width; d++)
    for (let b = 0; b < blocks; b++) {
      const end = Math.min(rows, (b + 1) * block);
      let largest = 0;
      for (let v = b * block; v < end; v++) largest = Math.max(largest, Math.abs(table[v * width + d]));
      const scale = largest / 127;
      scales[d * blocks + b] = scale;
      if (scale === 0) continue;
      for (let v = b * block; v < end; v++)
        packed[d * blocks * block + v] = 128 + Math.round(table[v * width + d] / scale);
    }
  return {
    packed: constant(packed, [width, blocks, block], "uint8"),
    scales: constant(scales, [width * blocks]),
    outer: width,
    inner: rows,
    block,
  };
}

/** weights float32 [R, V] times T of `packTable` -> float32 [R, D]. Not differentiable. */
export const meanInt8 = (weights: Tensor, { packed, scales, outer, inner, block }: Int8Table): Tensor =>
  apply(meanInt8Operator, [weights, packed, scales], { outer, inner, block } satisfies Int8Attributes)[0];
