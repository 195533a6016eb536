/**
 * @file Infilling: words are taken out of the middle of a held-out target, and a twin writes them between what stands before and behind.
 * It is told how many tokens are missing. A left-to-right model knows what stands before alone: this is where both sides can help.
 */
import { editSimilarity, tokenF1 } from "../../metrics/index.js";
import type { GenerationRequest } from "../../sampling/index.js";
import type { Pair } from "../accuracy.js";

/** A target with words missing: before + missing + after is the target, or its beginning. */
export interface Gap {
  readonly before: string;
  readonly missing: string;
  readonly after: string;
}

/** Words taken out, at most; never more than half of the text. */
const WORDS = 8;
/** Words of a text that has a middle. */
const FEWEST = 3;

/** Scores of what was written for the words that are missing, 0 to 1, higher is better. */
export const infillMetrics = {
  infillF1: (text: string, { missing }: Gap) => tokenF1(text, missing),
  infillEditSimilarity: (text: string, { missing }: Gap) => editSimilarity(text.trim(), missing.trim()),
} as const satisfies Record<string, (text: string, gap: Gap) => number>;
export type InfillMetric = keyof typeof infillMetrics;

/** The words in the middle of a text, each with the white space before it, as tokenizers cut; null: it has too few words. */
export function gapIn(text: string): Gap | null {
  const ends = Array.from(text.matchAll(/\S+/g), ({ index, 0: word }) => index + word.length);
  if (ends.length < FEWEST) return null;
  const count = Math.min(WORDS, ends.length >> 1);
  const first = (ends.length - count) >> 1;
  const [from, to] = [ends[first - 1], ends[first + count - 1]];
  return { before: text.slice(0, from), missing: text.slice(from, to), after: text.slice(to) };
}

/** What a model reads and writes text with. */
export interface TextCodec {
  encode(text: string): Int32Array;
  decode(ids: Int32Array): string;
}

export interface InfillRequest {
  readonly gap: Gap;
  readonly request: GenerationRequest;
}

/** Asks for the missing words of a target, or of as much of its beginning as makes `room` tokens; null: that has too few words. */
export function infillRequest({ src, trg }: Pair, codec: TextCodec, room: number): InfillRequest | null {
  const ids = codec.encode(trg);
  const tokens = (text: string) => codec.encode(text).length;
  // A text cut in places may take more tokens than it had: shorter until it fits. Half a character at its end is left out.
  for (let length = Math.min(ids.length, room); length > 0; length--) {
    const gap = gapIn(
      length === ids.length ? trg : codec.decode(ids.subarray(0, length)).replace(/\uFFFD+$/, ""),
    );
    if (!gap) return null;
    const { before, missing, after } = gap;
    const size = tokens(missing);
    if (tokens(before) + size + tokens(after) <= room)
      return { gap, request: { src, infill: [before, { gap: size }, after] } };
  }
  return null;
}
