/**
 * @file Byte-pair encoding of a word of any length (a genome, a line of signs), in 8 bytes of memory for each of its bytes and 8 more for
 * each pair that can be merged: always the pair of the lowest rank, of equal ones the leftmost, is made one token. The ids are those of
 * Hugging Face's tokenizers, which keep an object a byte.
 */
import { BYTE_TO_CHARACTER } from "./byte-level.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** Ids of a pair as one number. */
const BASE = 2 ** 24;
/** Places in a word: a rank and a place are one number, whose order is the order of merging. */
const PLACES = 2 ** 29;

/** A min-heap of numbers, 8 bytes each: an object an entry, as the trainer's heap has them, would be several times as much. */
class Queue {
  private values = new Float64Array(1024);
  private size = 0;

  push(value: number): void {
    if (this.size === this.values.length) {
      const grown = new Float64Array(2 * this.size);
      grown.set(this.values);
      this.values = grown;
    }
    const { values } = this;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (values[parent] <= value) break;
      values[at] = values[parent];
      at = parent;
    }
    values[at] = value;
  }

  /** The smallest; -1: none is left. */
  pop(): number {
    if (this.size === 0) return -1;
    const { values } = this;
    const [top, last] = [values[0], values[--this.size]];
    let at = 0;
    for (let child = 1; child < this.size; child = 2 * at + 1) {
      if (child + 1 < this.size && values[child + 1] < values[child]) child++;
      if (values[child] >= last) break;
      values[at] = values[child];
      at = child;
    }
    values[at] = last;
    return top;
  }
}

export class LongWordEncoder {
  private constructor(
    /** Id of each byte. [256] */
    private readonly bytes: Int32Array,
    /** Rank of each pair, and the id that the merge of each rank makes. */
    private readonly ranks: ReadonlyMap<number, number>,
    private readonly made: Int32Array,
  ) {}

  /** null: the vocabulary has options or merges that these rules do not cover. */
  static of({ model }: TokenizerJson): LongWordEncoder | null {
    const { vocab } = model;
    const options = ["dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"];
    if (options.some((name) => model[name]) || Object.keys(vocab).length > BASE) return null;
    const ranks = new Map<number, number>();
    const made = new Int32Array(model.merges.length);
    for (const [rank, merge] of model.merges.entries()) {
      // Older files have "left right".
      const [left, right] = typeof merge === "string" ? (merge as string).split(" ", 2) : merge;
      const ids = [left, right, left + right].map((token) => vocab[token]);
      if (ids.includes(undefined as never)) return null;
      ranks.set(ids[0] * BASE + ids[1], rank);
      made[rank] = ids[2];
    }
    return new LongWordEncoder(
      Int32Array.from(BYTE_TO_CHARACTER, (character) => vocab[character]),
      ranks,
      made,
    );
  }

  encode(word: string): Int32Array {
    const { ranks, made } = this;
    const bytes = new TextEncoder().encode(word);
    const { length } = bytes;
    /** The token that begins at a byte; -1: none does. */
    const ids = Int32Array.from(bytes, (byte) => this.bytes[byte]);
    /** Bytes of a token, at its first and at its last one. */
    const widths = new Int32Array(length).fill(1);
    const queue = new Queue();
    const rankAt = (at: number): number | undefined => {
      const next = at + widths[at];
      return next < length ? ranks.get(ids[at] * BASE + ids[next]) : undefined;
    };
    const offer = (at: number): void => {
      const rank = rankAt(at);
      if (rank !== undefined) queue.push(rank * PLACES + at);
    };
    for (let at = 0; at < length; at++) offer(at);
    for (let next = queue.pop(); next >= 0; next = queue.pop()) {
      const at = next % PLACES;
      const rank = (next - at) / PLACES;
      if (ids[at] < 0 || rankAt(at) !== rank) continue; // merged with another meanwhile
      const right = at + widths[at];
      const width = widths[at] + widths[right];
      ids[at] = made[rank];
      ids[right] = -1;
      widths[at] = width;
      widths[at + width - 1] = width;
      offer(at);
      if (at > 0) offer(at - widths[at - 1]);
    }
    return ids.filter((id) => id >= 0);
  }
}
