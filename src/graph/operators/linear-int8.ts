/**
 * @file x W^T + b with W in eight bits, for inference: one scale for every `block` weights along the rows of W,
 *
 *     W[o, k] = scale[o, k / block] * (q[o, k] - 128),     scale = max |W| of the block / 127.
 *
 * ONNX Runtime's kernel also rounds x to eight bits, block by block within a row, so a row's result does not depend on the other rows
 * (a kernel with one scale for all of x would tie a text to its batch). The reference evaluation keeps x as it is.
 */
import { NDArray } from "../ndarray.js";
import { definePrimitive } from "../operator.js";
import { apply, constant, type Tensor } from "../tensor.js";
import { showShape } from "../types.js";

interface Int8Attributes {
  readonly outer: number;
  readonly inner: number;
  readonly block: number;
}

/** The finest and coarsest blocks of the kernel: longer ones are faster. */
const BLOCKS = [128, 64, 32] as const;

const linearInt8Operator = definePrimitive<Int8Attributes>({
  name: "linearInt8",
  infer: ([x], { outer, inner }) => {
    if (x.rank !== 2 || x.shape[1] !== inner)
      throw new Error(`linearInt8: expected x [rows, ${inner}], got ${showShape(x.shape)}`);
    return [{ dtype: "float32", shape: [x.shape[0], outer] }];
  },
  onnx: ({ outer, inner, block }, inputs) => ({
    type: "MatMulNBits",
    domain: "com.microsoft",
    attributes: { K: inner, N: outer, bits: 8, block_size: block, accuracy_level: 4 },
    // Zero points (128 when left out) and an obsolete input stand before the bias.
    places: inputs.length === 4 ? [0, 1, 2, null, null, 3] : [0, 1, 2],
  }),
  evaluate: ([x, packed, scales, bias], { outer, inner, block }) => {
    const rows = x.shape[0];
    const blocks = Math.ceil(inner / block);
    const out = NDArray.zeros([rows, outer]);
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < outer; o++) {
        let sum = bias ? bias.data[o] : 0;
        for (let k = 0; k < inner; k++) {
          const scale = scales.data[o * blocks + Math.floor(k / block)];
          sum += x.data[r * inner + k] * scale * (packed.data[o * blocks * block + k] - 128);
        }
        out.data[r * outer + o] = sum;
      }
    return [out];
  },
});

/** W [out, in], row-major, as the kernel wants it. `block` divides `in` where one of the kernel's blocks does. */
export function packInt8(weight: Float32Array, outer: number, inner: number) {
  const block = BLOCKS.find((size) => inner % size === 0) ?? 32;
  const blocks = Math.ceil(inner / block);
  const packed = new Uint8Array(outer * blocks * block).fill(128);
  const scales = new Float32Array(outer * blocks);
  for (let o = 0; o < outer; o++)
    for (let b = 0; b < blocks; b++) {
      const end = Math.min(inner, (b + 1) * block);
      let largest = 0;
      for (let k = b * block; k < end; k++) largest = Math.max(largest, Math.abs(weight[o * inner + k]));
      const scale = largest / 127;
      scales[o * blocks + b] = scale;
      if (scale === 0) continue;
      for (let k = b * block; k < end; k++)
        packed[o * blocks * block + k] = 128 + Math.round(weight[o * inner + k] / scale);
    }
  return { packed, scales, block, blocks };
}

/** x [rows, in], weight float32 [out, in] (row-major, known now), bias [out] or none -> [rows, out]. Not differentiable. */
export function linearInt8(
  x: Tensor,
  weight: Float32Array,
  [outer, inner]: readonly [number, number],
  bias: Tensor | null = null,
): Tensor {
  const { packed, scales, block, blocks } = packInt8(weight, outer, inner);
  const inputs = [x, constant(packed, [outer, blocks, block], "uint8"), constant(scales, [outer * blocks])];
  return apply(linearInt8Operator, bias ? [...inputs, bias] : inputs, {
    outer,
    inner,
    block,
  } satisfies Int8Attributes)[0];
}
