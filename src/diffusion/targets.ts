/** @file The positions that a loss is about. */
import type { Row } from "../data/rows.js";
import type { TensorData } from "../graph/index.js";

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
      if (row.given[p] === 1 || row.segment[p] < 0) continue;
      const at = b * length + p;
      visit(b, p, at, absorbed[at] === 1);
    }
}
