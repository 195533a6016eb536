/** @file Rows of a large tensor in parts, where products over the vocabulary are made of some at a time. */
import type { TensorData } from "../graph/index.js";

/** Rows [first, end) of many. */
export interface RowRange {
  readonly first: number;
  readonly end: number;
}

/** Most numbers over the vocabulary in a part: 32 MiB. */
const PART = 2 ** 23;

/**
 * All of `count` rows, in as few parts as there can be, about equal. None of several is a single row, whose product is another kernel with
 * another order of sums.
 */
export function rowParts(count: number, vocabSize: number): RowRange[] {
  const parts = Math.ceil(count / Math.max(4, Math.floor(PART / vocabSize)));
  const place = (i: number) => Math.floor((i * count) / parts);
  return Array.from({ length: parts }, (_, i) => ({ first: place(i), end: place(i + 1) }));
}

/** Some rows of x [count, ...]: a view. */
export function rowsOf({ dtype, shape: [, ...row], data }: TensorData, { first, end }: RowRange): TensorData {
  const width = row.reduce((a, b) => a * b, 1);
  return {
    dtype,
    shape: [end - first, ...row],
    data: data.subarray(first * width, end * width),
  } as TensorData;
}
