/** @file The positions that a loss is about. */
import type { Row } from "../data/rows.js";
import type { TensorData } from "../graph/index.js";
import { PADDING_SEGMENT } from "./padding.js";

/** Whether a position is noised and in the loss: not given, and in a document. */
export const isTarget = (given: number, segment: number): boolean =>
  given === 0 && segment !== PADDING_SEGMENT;

/** Rows and what was fed for them (see `corruptRows`), perhaps with padding rows behind. */
export interface FedRows {
  readonly rows: readonly Row[];
  readonly feeds: Readonly<Record<string, TensorData>>;
}

/** Visits the target positions of a batch: row, its place in the batch, position in the row, place in [B * N], whether absorbed. */
export function forEachTarget(
  { rows, feeds }: FedRows,
  visit: (b: number, position: number, at: number, absorbed: boolean) => void,
): void {
  const absorbed = feeds.absorbed.data as Float32Array;
  const length = feeds.absorbed.shape[1];
  for (const [b, row] of rows.entries())
    for (let p = 0; p < row.ids.length; p++) {
      if (!isTarget(row.given[p], row.segment[p])) continue;
      const at = b * length + p;
      visit(b, p, at, absorbed[at] === 1);
    }
}
