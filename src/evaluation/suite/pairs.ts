/**
 * @file Documents of a domain as {src, trg} pairs: title -> abstract, code so far -> its next lines, code around a gap -> the line in it,
 * the talk so far -> the next turn, an address so far -> its next sentence. Every twin, the left-to-right one included, learns from the
 * same pairs. No random numbers: a document always gives the same pairs.
 */
import type { Document } from "../../data/index.js";
import type { Pair } from "../accuracy.js";

/** A pair, and what it has in common with others: its document, or its source where several documents ask about one. */
export interface GroupedPair extends Pair {
  readonly group: number;
}

/** Stands where the line is missing. */
export const GAP_MARK = "<FILL>";

/** A record's title, and its text. */
export function* titlePairs({ text = "" }: Document): Generator<Pair> {
  const end = text.indexOf("\n");
  const [title, body] = [text.slice(0, end), text.slice(end + 1).trim()];
  if (end > 0 && body !== "") yield { src: title.trim(), trg: body };
}

const GAP = { every: 12, shortest: 8, longest: 80, before: 240, after: 120 };

/** Every twelfth line or so is taken out: what stands around it is the source, the line without its indentation the target. */
export function* linePairs({ text = "" }: Document): Generator<Pair> {
  let start = 0;
  let since = GAP.every >> 1;
  for (const line of text.split("\n")) {
    const inner = line.trim();
    since++;
    if (since >= GAP.every && inner.length >= GAP.shortest && inner.length <= GAP.longest) {
      since = 0;
      const from = start + line.indexOf(inner);
      const to = from + inner.length;
      const before = text.slice(Math.max(0, from - GAP.before), from);
      yield { src: `${before}${GAP_MARK}${text.slice(to, to + GAP.after)}`, trg: inner };
    }
    start += line.length + 1;
  }
}

const PIECE = { every: 3, before: 160, shortest: 320, longest: 480 };

/** Every third piece of some whole lines is one to write, from what stands before it. */
export function* piecePairs({ text = "" }: Document): Generator<Pair> {
  let [start, end, pieces] = [0, 0, 0];
  for (const line of text.split("\n")) {
    end += line.length + 1;
    if (end - start <= PIECE.shortest) continue;
    const src = text.slice(Math.max(0, start - PIECE.before), start);
    const trg = text.slice(start, end).trim();
    if (pieces++ % PIECE.every === 1 && trg.length <= PIECE.longest) yield { src, trg };
    start = end;
  }
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
