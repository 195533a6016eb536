/** @file The network's inputs that say what stands where: tokens, documents, positions, flags, global tokens. Training and sampling share them. */
import type { Row } from "../data/rows.js";
import { UserError } from "../errors.js";
import type { TensorData } from "../graph/index.js";
import { BatchBuffers } from "./buffers.js";

/**
 * Inputs of B rows of N tokens with M slots for global tokens a row:
 *
 * - ids, segment, position int64 [B, N]; given float32 [B, N]
 * - globalIndex int64 [B * M]: position b * N + p of each slot, b * N when it is empty; globalValid float32 [B, M]: 1 in use;
 *   globalSlot int64 [B * N]: 1 + b * M + slot at a global position, else 0. All three are absent when M is 0.
 *
 * @throws UserError when rows differ in length (see `padRows`) or have more global tokens than slots
 */
export function placeRows(
  rows: readonly Row[],
  maxGlobals: number,
  buffers = new BatchBuffers(),
): Record<string, TensorData> {
  const batch = rows.length;
  const length = commonLength(rows);
  checkGlobals(rows, maxGlobals);
  const ids = buffers.int64("ids", batch * length);
  const segment = buffers.int64("segment", batch * length);
  const position = buffers.int64("position", batch * length);
  const given = buffers.float32("given", batch * length);
  rows.forEach((row, b) => {
    for (let p = 0; p < length; p++) {
      const at = b * length + p;
      ids[at] = BigInt(row.ids[p]);
      segment[at] = BigInt(row.segment[p]);
      position[at] = BigInt(row.position[p]);
      given[at] = row.given[p];
    }
  });
  const shape = [batch, length];
  return {
    ids: { dtype: "int64", shape, data: ids },
    segment: { dtype: "int64", shape, data: segment },
    position: { dtype: "int64", shape, data: position },
    given: { dtype: "float32", shape, data: given },
    ...(maxGlobals > 0 ? globalInputs(rows, length, maxGlobals, buffers) : {}),
  };
}

function globalInputs(
  rows: readonly Row[],
  length: number,
  slots: number,
  buffers: BatchBuffers,
): Record<string, TensorData> {
  const batch = rows.length;
  const index = buffers.int64("globalIndex", batch * slots);
  const valid = buffers.float32("globalValid", batch * slots);
  const slotOf = buffers.int64("globalSlot", batch * length);
  rows.forEach((row, b) => {
    const start = b * length;
    index.fill(BigInt(start), b * slots, (b + 1) * slots);
    row.globals.forEach((p, slot) => {
      index[b * slots + slot] = BigInt(start + p);
      valid[b * slots + slot] = 1;
      slotOf[start + p] = BigInt(1 + b * slots + slot);
    });
  });
  return {
    globalIndex: { dtype: "int64", shape: [batch * slots], data: index },
    globalValid: { dtype: "float32", shape: [batch, slots], data: valid },
    globalSlot: { dtype: "int64", shape: [batch * length], data: slotOf },
  };
}

/** Throws unless every row fits the slots there are for global tokens. */
function checkGlobals(rows: readonly Row[], maxGlobals: number): void {
  for (const row of rows) {
    if (row.globals.length <= maxGlobals) continue;
    throw new UserError(
      `Row ${row.sequence} has ${row.globals.length} global tokens, but there are ${maxGlobals} slots a row; ` +
        "pack rows with the maxGlobals of the model.",
    );
  }
}

function commonLength(rows: readonly Row[]): number {
  if (rows.length === 0) throw new UserError("Expected at least one row for a batch, got none.");
  const length = rows[0].ids.length;
  for (const row of rows) {
    if (row.ids.length === length) continue;
    throw new UserError(
      `Expected rows of one length in a batch, got ${length} and ${row.ids.length}; padRows makes them equal.`,
    );
  }
  return length;
}
