/** @file Element types, shapes and host-side tensor data: the vocabulary every graph, runtime and test shares. */

/** Element types a graph may hold. Reference evaluation computes float32 values in float64. */
export type DType = "float32" | "int64" | "int32" | "uint8" | "int8" | "bool";

/** A dimension; `null` when it is known at run time only (rows routed to one expert). */
export type Dim = number | null;
export type Shape = readonly Dim[];

export type TypedData = Float32Array | BigInt64Array | Int32Array | Uint8Array | Int8Array;

/** What holds the values of each element type: bool is one byte an element. */
export const arrayTypes = {
  float32: Float32Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
} as const satisfies Record<DType, { readonly name: string; new (length: number): TypedData }>;

/** Numbers in the storage of an element type. */
export const typedData = (dtype: DType, values: ArrayLike<number>): TypedData =>
  dtype === "int64"
    ? BigInt64Array.from(Array.from(values, (v) => BigInt(v)))
    : new arrayTypes[dtype](values);

/** Smallest and largest number of each integer type; those of int64 are the outermost that a float64 can be. */
const integerRanges: Partial<Record<DType, readonly [number, number]>> = {
  int64: [-(2 ** 63), 2 ** 63 - 1024],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint8: [0, 255],
  int8: [-128, 127],
  bool: [0, 1],
};

/** @throws Error when an integer type would hold another number than one of these; float32 rounds, and takes all */
export function requireHeld(name: string, dtype: DType, values: ArrayLike<number>): void {
  const range = integerRanges[dtype];
  // What has the storage of the type fits, but for bool, whose bytes may be others than 0 and 1.
  if (!range || (dtype !== "bool" && values instanceof arrayTypes[dtype])) return;
  const [low, high] = range;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isInteger(value) || value < low || value > high)
      throw new Error(
        `${name}: expected integers from ${low} to ${high} for ${dtype}, got ${value}; round it, or use another dtype`,
      );
  }
}

/** Numbers of the element types in ONNX (TensorProto.DataType). */
export const onnxTypes: Record<DType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
};

/** A tensor on the host. `data` is row-major; bool is one byte an element. */
export interface TensorData {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedData;
}

/** Name, element type and shape of a graph's input or output, as the ONNX model names it. */
export interface IoSpec {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);
/** Whether a shape is one of those that `expected` allows: dimensions it does not know may be any. */
export const fitsShape = (expected: Shape, got: readonly number[]): boolean =>
  expected.length === got.length && expected.every((d, i) => (d === null ? got[i] >= 0 : d === got[i]));
export const showShape = (shape: Shape): string => `[${shape.map((d) => d ?? "?").join(", ")}]`;
