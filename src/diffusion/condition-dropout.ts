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
  const segment = row.segment.map((document, i) =>
    document !== PADDING_SEGMENT && row.given[i] === 1 && row.ids[i] < vocabSize && isDropped(document)
      ? PADDING_SEGMENT
      : document,
  );
  return { ...row, segment, globals: row.globals.filter((p) => segment[p] !== PADDING_SEGMENT) };
}
