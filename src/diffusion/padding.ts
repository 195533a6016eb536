/** @file Rows of unequal length in one batch: padded to a common length and count. Padding is given, in no segment, without loss. */
import type { Row } from "../data/rows.js";
import { UserError } from "../errors.js";

/** Segment number of padding: such positions see, and are seen by, padding only. */
export const PADDING_SEGMENT = -1;
/** Sequence number of rows that are nothing but padding. */
export const PADDING_SEQUENCE = -1;

/**
 * The rows, each padded at its end to `length` positions, followed by padding rows up to `count`.
 * @param padId token id of padding; it is never looked at. Default 0.
 * @throws UserError when a row is longer than `length` or there are more than `count` rows
 */
export function padRows(rows: readonly Row[], length: number, count = rows.length, padId = 0): Row[] {
  if (rows.length > count) throw new UserError(`Expected at most ${count} rows, got ${rows.length}.`);
  const padded = rows.map((row) => padRow(row, length, padId));
  const empty = {
    sequence: PADDING_SEQUENCE,
    ids: new Int32Array(0),
    given: new Uint8Array(0),
    segment: new Int32Array(0),
    position: new Int32Array(0),
    globals: new Int32Array(0),
  };
  while (padded.length < count) padded.push(padRow(empty, length, padId));
  return padded;
}

function padRow(row: Row, length: number, padId: number): Row {
  const used = row.ids.length;
  if (used === length) return row;
  if (used > length) {
    throw new UserError(
      `Row ${row.sequence} has ${used} tokens and cannot be padded to ${length}; raise the length or cut the row.`,
    );
  }
  const ids = new Int32Array(length).fill(padId);
  const given = new Uint8Array(length).fill(1);
  const segment = new Int32Array(length).fill(PADDING_SEGMENT);
  const position = new Int32Array(length);
  ids.set(row.ids);
  given.set(row.given);
  segment.set(row.segment);
  position.set(row.position);
  return { ...row, ids, given, segment, position };
}
