/**
 * @file Interpolated Kneser-Ney language models of orders 1 to 3 on token ids: what a model must beat (Kneser & Ney 1995).
 *
 *     p3(c|a,b) = max(n(a,b,c) - D3, 0) / n(a,b,.) + D3 t(a,b,.) / n(a,b,.) * q2(c|b)
 *     q2(c|b)   = the same over continuation counts t(.,b,c); p2 is the same over n(b,c): both fall back to q1
 *     q1(c)     = max(t(.,c) - D1, 0) / t(.,.) + D1 |{c: t(.,c) > 0}| / t(.,.) / V
 *
 * n counts occurrences, t distinct left neighbours; D = n1 / (n1 + 2 n2) of each table, n1 and n2 its numbers of ones and twos.
 * The unigram model on its own is (n(c) + 0.1) / (n + 0.1 V). Documents are apart: each begins with the context ([SEP], [SEP]).
 */
import { CountTable, discountOf } from "./ngram-counts.js";

/** Documents as ids; positions flagged as given are context, but neither counted nor scored. */
export interface TokenSequences {
  readonly size: number;
  ids(document: number): ArrayLike<number>;
  given(document: number): ArrayLike<number>;
}

export interface NgramOptions {
  readonly vocabSize: number;
  /** Id that stands before every document: [SEP]. */
  readonly start: number;
}

/** Scores of one order on held-out text. */
export interface NgramScore {
  readonly natsPerToken: number;
  /** Nats of all targets (end tokens included) / ln 2 / bytes of text; null where `byteLengths` was not given. */
  readonly bitsPerByte: number | null;
}

export interface NgramScores {
  /** Target tokens learned from and scored. */
  readonly trainTokens: number;
  readonly tokens: number;
  readonly unigram: NgramScore;
  readonly bigram: NgramScore;
  readonly trigram: NgramScore;
}

const UNIGRAM_PRIOR = 0.1;

/** Ids of which a trigram is a whole number that float64 holds. */
export const MOST_IDS = Math.floor(Math.cbrt(Number.MAX_SAFE_INTEGER));

export class NgramModel {
  /** Number of distinct bigrams t(.,.), distinct last tokens among them, and D1. */
  private readonly pairs: number;
  private readonly seen: number;
  private readonly discount: number;

  private constructor(
    readonly vocabSize: number,
    /** Target tokens learned from. */
    readonly trainTokens: number,
    private readonly start: number,
    /** n(c). [vocabSize] */
    private readonly counts: Float64Array,
    /** t(.,c). [vocabSize] */
    private readonly continuation: Float64Array,
    private readonly bigrams: CountTable,
    private readonly bigramContinuation: CountTable,
    private readonly trigrams: CountTable,
  ) {
    this.pairs = bigrams.size;
    this.seen = continuation.reduce((seen, count) => seen + (count > 0 ? 1 : 0), 0);
    const having = (n: number): number => continuation.reduce((sum, count) => sum + (count === n ? 1 : 0), 0);
    this.discount = discountOf(having(1), having(2));
  }

  /** Counts target tokens with their two predecessors. Memory: up to 36 bytes a token, where all n-grams are distinct. */
  static train(documents: TokenSequences, { vocabSize, start }: NgramOptions): NgramModel {
    if (vocabSize > MOST_IDS)
      throw new RangeError(`expected a vocabulary of at most ${MOST_IDS} ids, got ${vocabSize}`);
    let total = 0;
    forEachTarget(documents, start, () => total++);
    const keys = new Float64Array(total);
    const pairs = new Float64Array(total);
    const counts = new Float64Array(vocabSize);
    let at = 0;
    forEachTarget(documents, start, (a, b, c) => {
      if (c >= vocabSize) throw new RangeError(`expected ids below ${vocabSize}, got ${c}`);
      counts[c]++;
      pairs[at] = b * vocabSize + c;
      keys[at++] = (a * vocabSize + b) * vocabSize + c;
    });
    const bigrams = CountTable.of(pairs);
    const trigrams = CountTable.of(keys);
    const square = vocabSize * vocabSize;
    const continuation = new Float64Array(vocabSize);
    bigrams.forEachKey((key) => continuation[key % vocabSize]++);
    const lower = new Float64Array(trigrams.size);
    trigrams.forEachKey((key, index) => {
      lower[index] = key % square;
    });
    return new NgramModel(
      vocabSize,
      total,
      start,
      counts,
      continuation,
      bigrams,
      CountTable.of(lower),
      trigrams,
    );
  }

  /** p(c) from counts alone. */
  unigram(c: number): number {
    return (this.counts[c] + UNIGRAM_PRIOR) / (this.trainTokens + UNIGRAM_PRIOR * this.vocabSize);
  }

  /** p(c | b). */
  bigram(b: number, c: number): number {
    return this.interpolate(this.bigrams, b, c, this.lowest(c));
  }

  /** p(c | a, b). */
  trigram(a: number, b: number, c: number): number {
    const lower = this.interpolate(this.bigramContinuation, b, c, this.lowest(c));
    return this.interpolate(this.trigrams, a * this.vocabSize + b, c, lower);
  }

  private lowest(c: number): number {
    if (this.pairs === 0) return 1 / this.vocabSize;
    const kept = Math.max(this.continuation[c] - this.discount, 0);
    return (kept + (this.discount * this.seen) / this.vocabSize) / this.pairs;
  }

  private interpolate(table: CountTable, context: number, c: number, lower: number): number {
    const first = context * this.vocabSize;
    const { total, distinct, count } = table.look(first, first + this.vocabSize, first + c);
    if (total === 0) return lower;
    return (Math.max(count - table.discount, 0) + table.discount * distinct * lower) / total;
  }

  /** Scores target tokens. @param byteLengths bytes of text of each id [vocabSize], for bits per byte. */
  evaluate(documents: TokenSequences, byteLengths?: ArrayLike<number>): NgramScores {
    let tokens = 0;
    let bytes = 0;
    const nats = [0, 0, 0];
    forEachTarget(documents, this.start, (a, b, c) => {
      tokens++;
      bytes += byteLengths?.[c] ?? 0;
      nats[0] -= Math.log(this.unigram(c));
      nats[1] -= Math.log(this.bigram(b, c));
      nats[2] -= Math.log(this.trigram(a, b, c));
    });
    const [unigram, bigram, trigram] = nats.map((sum) => ({
      natsPerToken: sum / tokens,
      bitsPerByte: byteLengths ? sum / Math.LN2 / bytes : null,
    }));
    return { trainTokens: this.trainTokens, tokens, unigram, bigram, trigram };
  }
}

/** Visits each target with its two predecessors. */
function forEachTarget(
  documents: TokenSequences,
  start: number,
  visit: (a: number, b: number, c: number) => void,
): void {
  for (let document = 0; document < documents.size; document++) {
    const ids = documents.ids(document);
    const given = documents.given(document);
    let a = start;
    let b = start;
    for (let i = 0; i < ids.length; i++) {
      const c = ids[i];
      if (given[i] === 0) visit(a, b, c);
      a = b;
      b = c;
    }
  }
}
