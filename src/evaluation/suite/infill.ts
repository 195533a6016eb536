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

/** Scores of what was written for the words that are missing, 0 to 1, higher is better. */
export const infillMetrics = {
  infillF1: (text: string, { missing }: Gap) => tokenF1(text, missing),
  infillEditSimilarity: (text: string, { missing }: Gap) => editSimilarity(text.trim(), missing.trim()),
} as const satisfies Record<string, (text: string, gap: Gap) => number>;
export type InfillMetric = keyof typeof infillMetrics;

/** The words in the middle of a text, each with the white space before it, as tokenizers cut. */
export function gapIn(text: string): Gap {
  const ends = Array.from(text.matchAll(/\S+/g), ({ index, 0: word }) => index + word.length);
  const count = Math.min(WORDS, Math.max(1, ends.length >> 1));
  const first = (ends.length - count) >> 1;
  const from = first === 0 ? 0 : ends[first - 1];
  const to = ends.at(first + count - 1) ?? text.length;
  return { before: text.slice(0, from), missing: text.slice(from, to), after: text.slice(to) };
}

/** What a model reads and writes text with. */
export interface TextCodec {
  encode(text: string): Int32Array;
  decode(ids: Int32Array): string;
}

/** Asks for the missing words of a target, cut to so many tokens first. */
export function infillRequest(
  { src, trg }: Pair,
  codec: TextCodec,
  room: number,
): { readonly gap: Gap; readonly request: GenerationRequest } {
  const ids = codec.encode(trg);
  // Less one: a text cut in two places may take a token more.
  const gap = gapIn(ids.length < room ? trg : codec.decode(ids.subarray(0, room - 1)));
  const size = Math.max(1, codec.encode(gap.missing).length);
  return { gap, request: { src, infill: [gap.before, { gap: size }, gap.after] } };
}
