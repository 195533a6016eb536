/**
 * @file Byte-pair encoding, trained: from all 256 bytes, again and again join the most frequent adjacent pair (Sennrich et al. 2016).
 * Ties go to the pair with the smaller ids, so the result depends on the text alone; the merges are those of Hugging Face's trainer.
 * Unlike that one it sees white space across line ends, starts from every byte, and stops at the size asked for.
 */
import { UserError } from "../errors.js";
import { BYTE_ALPHABET, BYTE_TO_CHARACTER, detached, forEachWord } from "./byte-level.js";
import { SPECIAL_TOKENS } from "./tokenizer-json.js";

/** Symbols 0..255 are BYTE_ALPHABET; each merge makes the next one, unless its string exists already. */
export interface TrainedMerges {
  /** Pairs in the order of their rank, as strings of byte characters. */
  readonly merges: readonly (readonly [string, string])[];
  /** The strings that the merges made, in the order they were made. */
  readonly tokens: readonly string[];
}

// Words longer than this (a line of base64, a run of dashes) hold nothing worth a token; keeping them would cost memory.
const MAX_WORD_BYTES = 1024;

/** Distinct words kept while counting. A text of some hundred megabytes has fewer. */
const MAX_WORDS = 1 << 20;

/** Counts the pre-tokens of texts. Where there are very many, the rarest are forgotten now and then, so that memory has a bound. */
export class WordCounter {
  readonly counts = new Map<string, number>();
  /** UTF-16 units counted so far. */
  characters = 0;

  constructor(private readonly maxWords = MAX_WORDS) {}

  add(text: string): void {
    this.characters += text.length;
    forEachWord(text, (word) => {
      if (word.length > MAX_WORD_BYTES) return; // it has at least as many bytes
      const count = this.counts.get(word);
      if (count === undefined) this.counts.set(detached(word), 1);
      else this.counts.set(word, count + 1);
      if (this.counts.size > this.maxWords) this.forgetRare();
    });
  }

  /** Forgets the words seen once, then twice ..., until half of the room is free. */
  private forgetRare(): void {
    for (let rare = 1; this.counts.size > this.maxWords / 2; rare++)
      for (const [word, count] of this.counts) if (count <= rare) this.counts.delete(word);
  }
}

/** A max-heap of pairs: larger count first, then the smaller pair. Entries may be out of date; the caller checks. */
class PairHeap {
  private readonly entries: { pair: number; count: number }[] = [];

  get size(): number {
    return this.entries.length;
  }

  push(pair: number, count: number): void {
    const { entries } = this;
    const entry = { pair, count };
    let at = entries.length;
    entries.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!precedes(entry, entries[parent])) break;
      entries[at] = entries[parent];
      at = parent;
    }
    entries[at] = entry;
  }

  pop(): { pair: number; count: number } {
    const { entries } = this;
    const top = entries[0];
    const last = entries.pop()!;
    if (entries.length === 0) return top;
    let at = 0;
    for (let child = 1; child < entries.length; child = 2 * at + 1) {
      if (child + 1 < entries.length && precedes(entries[child + 1], entries[child])) child++;
      if (!precedes(entries[child], last)) break;
      entries[at] = entries[child];
      at = child;
    }
    entries[at] = last;
    return top;
  }
}

const precedes = (a: { pair: number; count: number }, b: { pair: number; count: number }): boolean =>
  a.count !== b.count ? a.count > b.count : a.pair < b.pair;

// A pair of symbols as one number whose order is the order of the pairs.
const BASE = 2 ** 24;
const pairOf = (left: number, right: number): number => left * BASE + right;

/** The words as symbols, the counts of all pairs, and where each pair occurs. */
class PairIndex {
  readonly counts = new Map<number, number>();
  readonly heap = new PairHeap();
  private readonly words: Uint32Array[] = [];
  private readonly weights: number[] = [];
  private readonly places = new Map<number, number[]>();

  constructor(words: ReadonlyMap<string, number>) {
    const symbolOfByte = BYTE_TO_CHARACTER.map((character) => BYTE_ALPHABET.indexOf(character));
    const encoder = new TextEncoder();
    for (const [word, weight] of words) {
      const bytes = encoder.encode(word);
      if (bytes.length < 2 || bytes.length > MAX_WORD_BYTES) continue;
      const symbols = Uint32Array.from(bytes, (byte) => symbolOfByte[byte]);
      const index = this.words.push(symbols) - 1;
      this.weights.push(weight);
      for (let i = 0; i + 1 < symbols.length; i++)
        this.add(pairOf(symbols[i], symbols[i + 1]), index, weight);
    }
    for (const [pair, count] of this.counts) this.heap.push(pair, count);
  }

  private add(pair: number, word: number, weight: number): void {
    this.counts.set(pair, (this.counts.get(pair) ?? 0) + weight);
    const places = this.places.get(pair);
    if (places === undefined) this.places.set(pair, [word]);
    else if (places[places.length - 1] !== word) places.push(word);
  }

  /** Replaces the pair by `symbol` everywhere and queues the pairs that arise. */
  merge(pair: number, symbol: number): void {
    const left = Math.floor(pair / BASE);
    const right = pair % BASE;
    const places = this.places.get(pair) ?? [];
    this.places.delete(pair);
    const arisen = new Set<number>();
    for (const index of places) {
      const word = this.words[index];
      const weight = this.weights[index];
      const take = (gone: number): void => {
        this.counts.set(gone, this.counts.get(gone)! - weight);
      };
      const give = (made: number): void => {
        this.add(made, index, weight);
        arisen.add(made);
      };
      let length = 0;
      for (let i = 0; i < word.length; i++) {
        if (word[i] !== left || i + 1 >= word.length || word[i + 1] !== right) {
          word[length++] = word[i];
          continue;
        }
        if (length > 0) {
          take(pairOf(word[length - 1], left));
          give(pairOf(word[length - 1], symbol));
        }
        word[length++] = symbol;
        i++;
        if (i + 1 < word.length) {
          take(pairOf(right, word[i + 1]));
          give(pairOf(symbol, word[i + 1]));
        }
      }
      this.words[index] = word.subarray(0, length);
    }
    this.counts.delete(pair);
    for (const made of arisen) {
      const count = this.counts.get(made) ?? 0;
      if (count > 0) this.heap.push(made, count);
    }
  }
}

/**
 * Merges until `tokens` strings beyond the 256 bytes exist.
 * @param pause awaited now and then so that a long training leaves the event loop free.
 * @throws UserError when the text has fewer distinct pairs than that.
 */
export async function trainMerges(
  counter: WordCounter,
  tokens: number,
  pause: () => Promise<void> = async () => {},
): Promise<TrainedMerges> {
  const index = new PairIndex(counter.counts);
  const strings = [...BYTE_ALPHABET];
  const ids = new Map(strings.map((string, id) => [string, id]));
  const merges: [string, string][] = [];
  for (let rounds = 0; strings.length < 256 + tokens; rounds++) {
    if (rounds % 16 === 0) await pause();
    if (index.heap.size === 0) {
      const most = SPECIAL_TOKENS.length + strings.length;
      throw new UserError(
        `expected enough text for ${tokens} merges, got ${counter.characters} characters, which hold ${strings.length - 256}; ` +
          `this text gives a vocabulary of at most ${most}, smaller by ${256 + tokens - strings.length}: use model.vocabSize ${most} ` +
          `(train: --set model.vocabSize=${most}; prepare, tokenizer: --vocab-size ${most}) or give more text`,
      );
    }
    const { pair, count } = index.heap.pop();
    const current = index.counts.get(pair) ?? 0;
    if (current !== count) {
      if (current > 0) index.heap.push(pair, current);
      continue;
    }
    const left = strings[Math.floor(pair / BASE)];
    const right = strings[pair % BASE];
    const string = left + right;
    let id = ids.get(string);
    if (id === undefined) {
      id = strings.push(string) - 1;
      ids.set(string, id);
    }
    merges.push([left, right]);
    index.merge(pair, id);
  }
  return { merges, tokens: strings.slice(256) };
}
