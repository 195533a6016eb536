/**
 * @file Held-out documents: which ones, and a corpus of one side or the other. Both sides keep the order of the whole.
 */
import { UserError } from "../errors.js";
import { Stream } from "../random/stream.js";
import type { Corpus, Ids } from "./corpus.js";
import type { Shuffler } from "./rows.js";

/** Documents among which held-out ones are drawn at a time: a larger corpus is gone through in such parts. */
const PART = 1 << 17;

/**
 * Numbers of the documents that are held out: a share of all, at least one, chosen by the shuffler, ascending.
 * @throws UserError when there are fewer than two documents
 */
export function heldOutDocuments(size: number, fraction: number, random: Shuffler): Uint32Array {
  if (size < 2)
    throw new UserError(
      `There is only ${size === 1 ? "one document" : "no document"} to train on, so none can be held out for validation; ` +
        "give more documents, or validation texts with --valid.",
    );
  const count = Math.min(size - 1, Math.max(1, Math.round(size * fraction)));
  const heldBefore = (end: number) => (end >= size ? count : Math.min(count, Math.round(end * fraction)));
  const held = new Uint32Array(count);
  for (let start = 0, part = 0; start < size; start += PART, part++) {
    const length = Math.min(PART, size - start);
    const [from, to] = [heldBefore(start), heldBefore(start + length)];
    const chosen = random
      .permutation(length, Stream.Split, part)
      .subarray(0, to - from)
      .sort();
    for (let i = 0; i < chosen.length; i++) held[from + i] = start + chosen[i];
  }
  return held;
}

/** How many of some ascending numbers are at most `value`. */
function countUpTo(ascending: Uint32Array, value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether a document is among some ascending numbers. */
export const isAmong = (ascending: Uint32Array, document: number): boolean =>
  ascending[countUpTo(ascending, document) - 1] === document;

/** Some documents of a corpus, numbered anew: the held-out ones, or all but them. Nothing is copied. */
export class CorpusPart implements Corpus {
  readonly size: number;
  readonly tokens: number;
  /** Held-out documents before the kept one that was asked for last: the next is near. */
  private before = 0;

  /** @param held ascending. @param side which documents this part has. */
  constructor(
    private readonly whole: Corpus,
    private readonly held: Uint32Array,
    private readonly side: "held" | "kept",
  ) {
    let tokens = 0;
    for (const document of held) tokens += whole.length(document);
    this.size = side === "held" ? held.length : whole.size - held.length;
    this.tokens = side === "held" ? tokens : whole.tokens - tokens;
  }

  get vocabSize(): number {
    return this.whole.vocabSize;
  }

  length(document: number): number {
    return this.whole.length(this.number(document));
  }
  conditional(document: number): boolean {
    return this.whole.conditional(this.number(document));
  }
  ids(document: number, start?: number, end?: number): Ids {
    return this.whole.ids(this.number(document), start, end);
  }
  given(document: number, start?: number, end?: number): Uint8Array {
    return this.whole.given(this.number(document), start, end);
  }

  /** Number in the whole corpus: for a kept document, its own and that of the held-out ones before it. */
  private number(document: number): number {
    const { held } = this;
    if (this.side === "held") return held[document];
    if (!this.fits(this.before, document) && !this.fits(++this.before, document)) {
      let low = 0;
      let high = held.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (held[middle] - middle <= document) low = middle + 1;
        else high = middle;
      }
      this.before = low;
    }
    return document + this.before;
  }

  /** Whether so many held-out documents stand before a kept one. */
  private fits(before: number, document: number): boolean {
    const { held } = this;
    if (before > held.length || (before > 0 && held[before - 1] - (before - 1) > document)) return false;
    return before === held.length || held[before] - before > document;
  }
}
