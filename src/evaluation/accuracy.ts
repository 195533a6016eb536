/**
 * @file Exact accuracy of conditional generation: how many tokens of the target stand where they should.
 *
 *     accuracy = sum over pairs of matches / sum over pairs of max(length of target, length of text)
 *
 * A text that is too short or too long loses what is missing or too much; one that slips by a word loses the rest.
 */

/** A source and the one right target. */
export interface Pair {
  readonly src: string;
  readonly trg: string;
}

/** Writes a text for each source, in order. */
export type TargetWriter = (sources: readonly string[]) => Promise<readonly string[]>;

export interface AccuracyOptions {
  /** Tokens of a text, compared by value. Default: its words. */
  readonly tokensOf?: (text: string) => ArrayLike<number | string>;
  /** Sources handed over at a time. Default 16. */
  readonly batchSize?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Plain JSON. */
export interface AccuracyResult {
  readonly pairs: number;
  /** Tokens that count: of target or text, whichever is longer. */
  readonly tokens: number;
  /** Share of the tokens that are right and in their place. */
  readonly tokenAccuracy: number;
  /** Share of the texts that are right from beginning to end. */
  readonly exactMatch: number;
}

const wordsOf = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");

/**
 * Writes a target for every source and compares.
 *
 *     const write: TargetWriter = async (sources) =>
 *       (await generate(model, sources.map((src) => ({ src, length: 65 })), { temperature: 0 })).map(({ text }) => text);
 *     const { tokenAccuracy } = await exactAccuracy(copyTask({ documents: 100, first: 1_000_000 }), write);
 */
export async function exactAccuracy(
  pairs: readonly Pair[],
  write: TargetWriter,
  { tokensOf = wordsOf, batchSize = 16, onProgress = () => {}, signal }: AccuracyOptions = {},
): Promise<AccuracyResult> {
  let tokens = 0;
  let right = 0;
  let exact = 0;
  for (let first = 0; first < pairs.length; first += batchSize) {
    signal?.throwIfAborted();
    const batch = pairs.slice(first, first + batchSize);
    const texts = await write(batch.map(({ src }) => src));
    if (texts.length !== batch.length)
      throw new Error(`accuracy: expected ${batch.length} texts, one for each source, got ${texts.length}`);
    for (const [i, { trg }] of batch.entries()) {
      const expected = tokensOf(trg);
      const got = tokensOf(texts[i]);
      const length = Math.max(expected.length, got.length);
      let matches = 0;
      for (let k = 0; k < length; k++)
        if (k < expected.length && k < got.length && expected[k] === got[k]) matches++;
      tokens += length;
      right += matches;
      if (matches === length) exact++;
    }
    onProgress(first + batch.length, pairs.length);
  }
  return {
    pairs: pairs.length,
    tokens,
    tokenAccuracy: tokens === 0 ? 0 : right / tokens,
    exactMatch: pairs.length === 0 ? 0 : exact / pairs.length,
  };
}
