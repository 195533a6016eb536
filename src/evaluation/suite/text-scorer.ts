/**
 * @file The scorer of written texts that we train ourselves, on the targets that the twins learn from: a Kneser-Ney trigram model
 * (ngram.ts), which says how likely a text is, and latent semantics (latent-semantics.ts), which make a text a vector.
 *
 *     perplexity = exp(nats of all texts / their tokens), trigram; lower than that of real texts is duller, not better
 *     likeness   = MAUVE-like score (metrics/mauve.ts) of texts and real ones as vectors: do they speak of the same things as often?
 *
 * Both know words and short phrases, and nothing of meaning.
 */
import { TokenCorpus, type Tokenizer } from "../../data/index.js";
import { quantile } from "../../metrics/bootstrap.js";
import { mauve, type TextVector } from "../../metrics/index.js";
import { NgramModel } from "../ngram.js";
import { seededRandom } from "../statistics.js";
import { LatentSemantics } from "./latent-semantics.js";

/** What the scorer says of a set of texts. Plain JSON. */
export interface TextScores {
  /** Null: the texts have no token. That a text ends is not scored: of texts that end at once it says nothing. */
  readonly perplexity: number | null;
  /** Texts without a token. */
  readonly empty: number;
  /** To as many real texts, 0.004 to 1. */
  readonly likeness: number;
}

/** What it says of real texts: the scale to read it on. Plain JSON. */
export interface ScorerScale {
  /** Tokens of training targets that it learned from. */
  readonly tokens: number;
  /** Perplexity of the held-out targets; likeness to them of sets of as many training targets, drawn at random. */
  readonly real: { readonly perplexity: number | null; readonly likeness: LikenessRange };
}

/** Of the likeness of many sets of real texts: half of them are below the median, 10 of 100 below `low`, 10 above `high`. Plain JSON. */
export interface LikenessRange {
  readonly sets: number;
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Training tokens it learns from: so many, and the rest of the last text. */
const MOST_TOKENS = 1_000_000;
/** Sets of real texts that make the scale. */
const SETS = 40;

type Codec = Pick<Tokenizer, "encode" | "vocabSize" | "special">;

export class TextScorer {
  /** What it is, in results that are kept: another scorer, another result. */
  static readonly kind = "trigram and latent semantics, 2";

  private constructor(
    private readonly codec: Codec,
    private readonly trigrams: NgramModel,
    private readonly semantics: LatentSemantics,
  ) {}

  /** @param targets what twins learn to write; the first million tokens of them count */
  static train(targets: readonly string[], codec: Codec): TextScorer {
    const { vocabSize, special } = codec;
    const learned = new TokenCorpus(vocabSize);
    const texts: Int32Array[] = [];
    for (const target of targets) {
      if (learned.tokens >= MOST_TOKENS) break;
      const ids = codec.encode(target);
      learned.append(ids);
      texts.push(ids);
    }
    return new TextScorer(
      codec,
      NgramModel.train(learned, { vocabSize, start: special.sep }),
      LatentSemantics.train(texts, vocabSize),
    );
  }

  /** exp of the nats a token under the trigram model; null: there is no token. */
  perplexity(texts: readonly string[]): number | null {
    const corpus = new TokenCorpus(this.codec.vocabSize);
    for (const text of texts) corpus.append(this.codec.encode(text));
    const { tokens, trigram } = this.trigrams.evaluate(corpus);
    return tokens === 0 ? null : Math.exp(trigram.natsPerToken);
  }

  /** @param real texts of the same kind, as many */
  score(texts: readonly string[], real: readonly string[]): TextScores {
    return {
      perplexity: this.perplexity(texts),
      empty: texts.filter((text) => this.codec.encode(text).length === 0).length,
      likeness: this.likeness(texts, real),
    };
  }

  /** What real texts score: held-out targets, and sets of as many training targets. */
  scale(targets: readonly string[], heldOut: readonly string[]): ScorerScale {
    const random = seededRandom(1);
    const real = this.vectors(heldOut);
    const scores = Array.from({ length: SETS }, () => {
      const drawn = heldOut.map(() => targets[Math.floor(random() * targets.length)]);
      return mauve(this.vectors(drawn), real, seededRandom(1));
    }).sort((a, b) => a - b);
    const [low, median, high] = [0.1, 0.5, 0.9].map((q) => quantile(scores, q));
    return {
      tokens: this.trigrams.trainTokens,
      real: { perplexity: this.perplexity(heldOut), likeness: { sets: SETS, median, low, high } },
    };
  }

  private likeness(texts: readonly string[], real: readonly string[]): number {
    return mauve(this.vectors(texts), this.vectors(real), seededRandom(1));
  }

  private vectors(texts: readonly string[]): TextVector[] {
    return texts.map((text) => this.semantics.vector(this.codec.encode(text)));
  }
}
