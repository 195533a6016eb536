/**
 * @file Gaps in training documents. Without them a model has never met what prompts, suffixes and templates ask of it: text that is
 * given beside text that is noise. The n target tokens of a document, [PAD] not counted, are cut at k places,
 *
 *     k = floor(32^u), each cut uniform in 0 .. n,
 *
 * into spans that are given and missing in turn. One cut leaves a beginning or an end, two the middle or both ends, many leave many
 * gaps; on average half of the text is given (our choice; UL2, 2205.05131, also trains on spans of several lengths).
 */
import type { CounterRandom } from "../random/counter-random.js";
import { Stream } from "../random/stream.js";

const MOST_CUTS = 32;

/** How often documents have gaps, and the numbers that decide it. */
export interface GapOptions {
  /** Share of the documents with gaps, 0 to 1; the others are to be written as a whole. */
  readonly rate: number;
  readonly random: Pick<CounterRandom, "uniform">;
}

/** What of a document is given, and how much of it there is. */
export interface GivenText {
  /** 1: given. [tokens] */
  readonly given: Uint8Array;
  /** Tokens of it that stand in the row. */
  readonly length: number;
}

/**
 * A document with gaps, or as it is. Where its end is given, the [PAD] targets behind the end are left out, as no request has them.
 * What is given depends on (seed, sequence, piece) and the number of targets alone.
 * @param given 1: given already, the source; all of it in front. [tokens]
 * @param sequence number of the row. @param piece number of the document in the row
 */
export function withGaps(
  ids: ArrayLike<number>,
  given: Uint8Array,
  pad: number,
  { rate, random }: GapOptions,
  sequence: number,
  piece: number,
): GivenText {
  const asItIs = { given, length: ids.length };
  let drawn = 0;
  const uniform = () => random.uniform(Stream.Gaps, sequence, piece, drawn++);
  if (rate === 0 || uniform() >= rate) return asItIs;
  const first = given.lastIndexOf(1) + 1;
  let end = ids.length;
  while (end > first && ids[end - 1] === pad) end--;
  const cuts = Math.floor(MOST_CUTS ** uniform());
  const flags = new Uint8Array(end - first).fill(uniform() < 0.5 ? 1 : 0);
  for (let k = 0; k < cuts; k++) {
    const cut = Math.floor(uniform() * (flags.length + 1));
    for (let i = cut; i < flags.length; i++) flags[i] ^= 1;
  }
  if (!flags.includes(0)) return asItIs;
  const endGiven = flags[flags.length - 1] === 1;
  const all = given.slice();
  all.set(flags, first);
  return { given: all, length: endGiven ? end : ids.length };
}
