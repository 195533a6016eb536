/**
 * @file Documents of a domain as {src, trg} pairs: title -> abstract, code around a gap -> the line or the words in it, the talk so far ->
 * the next turn, an address so far -> its next sentence. Every twin, the left-to-right one included, learns from the same pairs. No random
 * numbers: a document always gives the same pairs.
 */
import type { Document } from "../../data/index.js";
import type { Pair } from "../accuracy.js";

/** A pair, and what it has in common with others: its document, or its source where several documents ask about one. */
export interface GroupedPair extends Pair {
  readonly group: number;
}

/** Stands where something is missing. */
export const GAP_MARK = "<FILL>";

/** A record's title, and its text. */
export function* titlePairs({ text = "" }: Document): Generator<Pair> {
  const end = text.indexOf("\n");
  const [title, body] = [text.slice(0, end), text.slice(end + 1).trim()];
  if (end > 0 && body !== "") yield { src: title.trim(), trg: body };
}

const GAP = { every: 12, shortest: 8, longest: 80, before: 240, after: 120, words: 3 };

/** Every twelfth line or so is taken out: what stands around it is the source, the line without its indentation the target. */
export function* linePairs({ text = "" }: Document): Generator<Pair> {
  for (const { from, line } of gapLines(text)) yield gapPair(text, from, line);
}

/**
 * One to three words are taken out of every twelfth line or so: a name or a number, and perhaps signs and more names behind it. Where a
 * line begins in its file decides how many, and which.
 */
export function* spanPairs({ text = "" }: Document): Generator<Pair> {
  for (const { from, line } of gapLines(text)) {
    const words = Array.from(line.matchAll(/([\p{L}\p{N}_$]+)|[^\s\p{L}\p{N}_$]+/gu));
    const count = 1 + (from % GAP.words);
    const firsts = [...words.keys()].filter((i) => words[i][1] !== undefined && i + count <= words.length);
    if (firsts.length === 0) continue;
    const first = firsts[Math.floor(from / GAP.words) % firsts.length];
    const { 0: word, index } = words[first + count - 1];
    const start = words[first].index;
    yield gapPair(text, from + start, line.slice(start, index + word.length));
  }
}

/** Lines to take something out of, without their indentation, and where they stand. */
function* gapLines(text: string): Generator<{ readonly from: number; readonly line: string }> {
  let start = 0;
  let since = GAP.every >> 1;
  for (const whole of text.split("\n")) {
    const line = whole.trim();
    since++;
    if (since >= GAP.every && line.length >= GAP.shortest && line.length <= GAP.longest) {
      since = 0;
      yield { from: start + whole.indexOf(line), line };
    }
    start += whole.length + 1;
  }
}

/** What stands around a gap, and what stood in it. */
function gapPair(text: string, from: number, trg: string): Pair {
  const to = from + trg.length;
  const before = text.slice(Math.max(0, from - GAP.before), from);
  return { src: `${before}${GAP_MARK}${text.slice(to, to + GAP.after)}`, trg };
}

const TURN = { every: 4, context: 360, longest: 160, shortest: 20 };

/** Every fourth turn is one to write, from as many whole turns before it as fit. */
export function* turnPairs({ text = "" }: Document): Generator<Pair> {
  const turns = text.split("\n").filter((turn) => turn.trim() !== "");
  for (let next = TURN.every; next < turns.length; next += TURN.every) {
    if (turns[next].length < TURN.shortest) continue;
    let first = next;
    let size = 0;
    while (first > 0 && size + turns[first - 1].length <= TURN.context) size += turns[--first].length + 1;
    if (first < next)
      yield { src: turns.slice(first, next).join("\n"), trg: turns[next].slice(0, TURN.longest) };
  }
}

const SENTENCE = { every: 4, context: 300, longest: 160, shortest: 20 };

/** Every fourth sentence is one to write, from what stands before it. */
export function* sentencePairs({ text = "" }: Document): Generator<Pair> {
  const sentences = text.split(/(?<=[.!?])\s+/);
  for (let next = SENTENCE.every; next < sentences.length; next += SENTENCE.every) {
    const trg = sentences[next].slice(0, SENTENCE.longest);
    const src = sentences.slice(0, next).join(" ").slice(-SENTENCE.context);
    if (trg.length >= SENTENCE.shortest && src !== "") yield { src, trg };
  }
}

/** Pairs as they are. */
export function* givenPairs({ src, trg }: Document): Generator<Pair> {
  if (src !== undefined && trg !== undefined) yield { src, trg };
}
