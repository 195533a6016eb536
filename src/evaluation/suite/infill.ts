/**
 * @file Infilling: words are taken out of a held-out target, and a twin writes them between what stands before and behind. It is told how
 * many tokens are missing in each place. A left-to-right model knows what stands before alone: this is where both sides can help.
 *
 * Two kinds of gaps: a span of eight words in the middle, of which the ends alone have neighbours, and eight single words all over the
 * text, which stand in their context on both sides (a cloze).
 */
import { editSimilarity, tokenF1 } from "../../metrics/index.js";
import type { GenerationRequest } from "../../sampling/index.js";
import type { Pair } from "../accuracy.js";

/** A text with gaps: given[0] missing[0] given[1] ... missing[n - 1] given[n] is the text. Plain JSON. */
export interface GappedText {
  readonly given: readonly string[];
  readonly missing: readonly string[];
}

/** What was written for the missing parts, in order. Plain JSON. */
export interface FilledGaps extends GappedText {
  readonly written: readonly string[];
}

interface Infilling {
  /** Takes words out; null: the text has too few. */
  readonly cut: (text: string) => GappedText | null;
  /** Scores of a text, 0 to 1, higher is better. */
  readonly metrics: Readonly<Record<string, (filled: FilledGaps) => number>>;
}

/** Words taken out, at most; never more than half of the text. */
const WORDS = 8;
/** Words of a text that has a middle. */
const FEWEST = 3;

export const infillings = {
  span: {
    cut: cutSpan,
    metrics: {
      infillF1: ({ written, missing }) => tokenF1(written[0], missing[0]),
      infillEditSimilarity: ({ written, missing }) => editSimilarity(written[0].trim(), missing[0].trim()),
    },
  },
  words: {
    cut: cutWords,
    metrics: {
      infillWords: ({ written, missing }) =>
        missing.filter((word, i) => written[i].trim() === word.trim()).length / missing.length,
    },
  },
} as const satisfies Record<string, Infilling>;
export type InfillKind = keyof typeof infillings;

/** The words in the middle of a text, each with the white space before it, as tokenizers cut. */
export function cutSpan(text: string): GappedText | null {
  const ends = Array.from(text.matchAll(/\S+/g), ({ index, 0: word }) => index + word.length);
  if (ends.length < FEWEST) return null;
  const count = Math.min(WORDS, ends.length >> 1);
  const first = (ends.length - count) >> 1;
  return cutOut(text, [[ends[first - 1], ends[first + count - 1]]]);
}

/**
 * Words of letters alone that stand by themselves, evenly spread over the text, each with the white space before it. Never the end of the
 * text: a gap there might end the text instead.
 */
export function cutWords(text: string): GappedText | null {
  const words = Array.from(text.matchAll(/\s\p{L}+(?=[\s.,;:!?])/gu), ({ index, 0: word }) => ({
    from: index,
    to: index + word.length,
  }));
  if (words.length < FEWEST) return null;
  const count = Math.min(WORDS, words.length >> 1);
  const spread = Array.from(
    { length: count },
    (_, i) => words[Math.floor(((i + 0.5) * words.length) / count)],
  );
  return cutOut(
    text,
    spread.map(({ from, to }) => [from, to]),
  );
}

/** @param ranges characters to take out, [from, to), in order */
function cutOut(text: string, ranges: readonly (readonly [number, number])[]): GappedText {
  const starts = [0, ...ranges.map(([, to]) => to)];
  const ends = [...ranges.map(([from]) => from), text.length];
  return {
    given: starts.map((start, i) => text.slice(start, ends[i])),
    missing: ranges.map(([from, to]) => text.slice(from, to)),
  };
}

/** What a model reads and writes text with. */
export interface TextCodec {
  encode(text: string): Int32Array;
  decode(ids: Int32Array): string;
}

export interface InfillRequest {
  readonly gaps: GappedText;
  readonly request: GenerationRequest;
}

/** Asks for the missing words of a target, or of as much of its beginning as makes `room` tokens; null: that has too few words. */
export function infillRequest(
  { src, trg }: Pair,
  cut: Infilling["cut"],
  codec: TextCodec,
  room: number,
): InfillRequest | null {
  const ids = codec.encode(trg);
  const tokens = (text: string) => codec.encode(text).length;
  // A text cut in places may take more tokens than it had: shorter until it fits. Half a character at its end is left out.
  for (let length = Math.min(ids.length, room); length > 0; length--) {
    const gaps = cut(
      length === ids.length ? trg : codec.decode(ids.subarray(0, length)).replace(/\uFFFD+$/, ""),
    );
    if (!gaps) return null;
    const { given, missing } = gaps;
    const sizes = missing.map(tokens);
    const used = [...given.map(tokens), ...sizes].reduce((a, b) => a + b, 0);
    if (used > room) continue;
    const infill = given.flatMap((text, i) => (i < sizes.length ? [text, { gap: sizes[i] }] : [text]));
    return { gaps, request: { src, infill } };
  }
  return null;
}
