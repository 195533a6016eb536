/** @file Dense arrays in float64: the values of the slow reference evaluation. Integers and booleans are stored as numbers too. */
import { type DType, sizeOf, type TensorData, typedData } from "./types.js";

export class NDArray {
  constructor(
    readonly dtype: DType,
    readonly shape: readonly number[],
    readonly data: Float64Array,
  ) {
    if (data.length !== sizeOf(shape))
      throw new Error(`NDArray: expected ${sizeOf(shape)} values for shape [${shape}], got ${data.length}`);
  }

  static zeros(shape: readonly number[], dtype: DType = "float32"): NDArray {
    return new NDArray(dtype, shape, new Float64Array(sizeOf(shape)));
  }

  static from(tensor: TensorData): NDArray {
    const { dtype, shape, data } = tensor;
    // Copying floats is many times faster than converting them one by one.
    const values =
      data instanceof Float32Array
        ? new Float64Array(data)
        : Float64Array.from(data as ArrayLike<number>, Number);
    return new NDArray(dtype, shape, values);
  }

  /** Rounds to the storage of the dtype (float32 by default). */
  toTensorData(): TensorData {
    const { dtype, shape, data } = this;
    return { dtype, shape, data: typedData(dtype, data) };
  }
}

/** Row-major strides. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/** Strides of `shape` read as if broadcast to `target`: 0 along stretched axes. */
export function broadcastStrides(shape: readonly number[], target: readonly number[]): number[] {
  const own = stridesOf(shape);
  const offset = target.length - shape.length;
  return target.map((_, axis) => (axis < offset || shape[axis - offset] === 1 ? 0 : own[axis - offset]));
}

/** Calls `visit(flat, offsets)` for every index of `shape`; `offsets[k]` walks with `strides[k]`. */
export function forEachIndex(
  shape: readonly number[],
  strides: readonly (readonly number[])[],
  visit: (flat: number, offsets: readonly number[]) => void,
): void {
  const size = sizeOf(shape);
  const last = shape.length - 1;
  const index = new Array<number>(shape.length).fill(0);
  const offsets = new Array<number>(strides.length).fill(0);
  const width = last < 0 ? 1 : shape[last];
  const steps = strides.map((own) => own[last] ?? 0);
  for (let flat = 0; flat < size; ) {
    for (let i = 0; i < width; i++) {
      visit(flat++, offsets);
      for (let k = 0; k < steps.length; k++) offsets[k] += steps[k];
    }
    for (let k = 0; k < steps.length; k++) offsets[k] -= steps[k] * width;
    for (let axis = last - 1; axis >= 0; axis--) {
      index[axis]++;
      for (let k = 0; k < strides.length; k++) offsets[k] += strides[k][axis];
      if (index[axis] < shape[axis]) break;
      for (let k = 0; k < strides.length; k++) offsets[k] -= strides[k][axis] * shape[axis];
      index[axis] = 0;
    }
  }
}
