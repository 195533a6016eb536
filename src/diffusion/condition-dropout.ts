/**
 * @file Conditions left out of some training documents, so that one model learns p(target | source) and p(target):
 *
 *     source = nothing   with probability conditionDropout, for each document by itself
 */
import type { Row } from "../data/rows.js";
import { type CounterRandom, Stream } from "../random/index.js";
import { PADDING_SEGMENT, PADDING_SEQUENCE } from "./padding.js";

/**
 * The row with the conditions of some documents left out: with probability `rate`, a document's given text (not its
 * learned global tokens) becomes padding. What is left out depends on (seed, sequence, document) only.
 * @param vocabSize ids from here on are learned global tokens
 */
export function dropConditions(row: Row, rate: number, vocabSize: number, random: CounterRandom): Row {
  if (rate === 0 || row.sequence === PADDING_SEQUENCE) return row;
  const dropped = new Map<number, boolean>();
  const isDropped = (document: number) => {
    if (!dropped.has(document)) {
      dropped.set(document, random.uniform(Stream.ConditionDropout, row.sequence, 0, document) < rate);
    }
    return dropped.get(document);
  };
  return leaveOut(row, vocabSize, (position) => isDropped(row.segment[position]) === true);
}

/** Whether position i holds given text: neither a target, nor a learned global token, nor padding. */
const isCondition = (row: Pick<Row, "ids" | "given" | "segment">, i: number, vocabSize: number): boolean =>
  row.segment[i] !== PADDING_SEGMENT && row.given[i] === 1 && row.ids[i] < vocabSize;

/** Whether anything is given in a row. @param vocabSize ids from here on are learned global tokens */
export const hasCondition = (row: Pick<Row, "ids" | "given" | "segment">, vocabSize: number): boolean =>
  row.given.some((_, i) => isCondition(row, i, vocabSize));

/** The row as training shows it where all its conditions are left out; its other arrays are shared. */
export const withoutConditions = (row: Row, vocabSize: number): Row => leaveOut(row, vocabSize, () => true);

function leaveOut(row: Row, vocabSize: number, dropped: (position: number) => boolean): Row {
  const segment = row.segment.map((document, i) =>
    isCondition(row, i, vocabSize) && dropped(i) ? PADDING_SEGMENT : document,
  );
  return { ...row, segment, globals: row.globals.filter((p) => segment[p] !== PADDING_SEGMENT) };
}
