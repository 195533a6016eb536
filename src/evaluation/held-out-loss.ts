/**
 * @file The loss on held-out rows at random noise levels, as in training; in the masked limit with the weights that make it a bound:
 *
 *     -log p(text) <= E_t [ w(t) sum over absorbed i of nll_i ],    w(t) = -keep'(t) / (1 - keep(t)),    nll_i = -log p(token_i | rest)
 *
 * How many positions, and which, a draw absorbs is chance, and on average a position counts once. So what the unigram model u needs,
 * times c, is taken out of the sum and put back exactly (a control variate; c = mean nll / mean u of the absorbed positions):
 *
 *     bound = c sum over all i of u_i + E_t [ w(t) sum over absorbed i of (nll_i - c u_i) ]
 *
 * The expectation is the same but for what c owes to the same draws (of the order of one over their number), the error several times
 * smaller. The first draw is that of validation while training, which has the plain sum.
 */
import type { RunConfig } from "../config/index.js";
import {
  boundWeight,
  createTimeSampler,
  DiffusionProcess,
  type LossTerm,
  levelsOfDraw,
  lossOfRows,
  lossTerms,
} from "../diffusion/index.js";
import { forEachTargetOf, type NoisyRows } from "./noisy-rows.js";
import { type Estimate, RatioEstimate } from "./statistics.js";

/** Plain JSON. */
export interface HeldOutLoss {
  /** Rows, the documents that these have targets of, their target tokens and the bytes of text these stand for. */
  readonly sequences: number;
  readonly documents: number;
  readonly tokens: number;
  readonly bytes: number;
  /** Times that every row was noised. */
  readonly draws: number;
  /** Mean over rows and draws, as in training; masked limit: with the bound's weights. */
  readonly loss: number;
  /** Its parts, before their weights where they have one of their own. */
  readonly terms: Partial<Record<LossTerm, number>>;
  /** Nats a target token; masked limit: an absorbed one. */
  readonly crossEntropy: Estimate;
  /**
   * Masked limit: at most so many nats a token and bits a byte, estimated from rows and draws; the error is over documents, of a single one
   * over its draws. Else null: a continuous process, or no bytes to predict, has no such bound.
   */
  readonly bound: { readonly natsPerToken: Estimate; readonly bitsPerByte: Estimate } | null;
}

/** Sums of one document over its rows and the draws. */
interface DocumentSums {
  tokens: number;
  bytes: number;
  /** Over the positions that count. */
  nll: number;
  scored: number;
  /** Of the unigram model: over the same positions; with the bound's weights; over all targets. */
  unigram: number;
  weightedUnigram: number;
  wholeUnigram: number;
  /** The plain sum of the bound. */
  weighted: number;
}

/** Of all rows in one draw, with the bound's weights: nats of the network and of the unigram model. */
interface DrawSums {
  nll: number;
  unigram: number;
}

const emptySums = (): DocumentSums => ({
  tokens: 0,
  bytes: 0,
  nll: 0,
  scored: 0,
  unigram: 0,
  weightedUnigram: 0,
  wholeUnigram: 0,
  weighted: 0,
});

/** Nats of the bound, and bytes, of each document by its number. */
export type DocumentBounds = ReadonlyMap<number, { readonly bound: number; readonly bytes: number }>;

export interface HeldOutResult {
  readonly loss: HeldOutLoss;
  /** Of each document by its number; null where there is no bound. */
  readonly documents: DocumentBounds | null;
}

export async function heldOutLoss(
  config: RunConfig,
  noisy: NoisyRows,
  options: {
    draws: number;
    byteLengths: ArrayLike<number>;
    /** log of the unigram frequencies [V]. */
    logUnigram: ArrayLike<number>;
    signal?: AbortSignal;
    onBatch?: () => void;
  },
): Promise<HeldOutResult> {
  const { draws, byteLengths, logUnigram, signal, onBatch = () => {} } = options;
  const { diffusion } = config;
  const masked = !diffusion.gaussian;
  const process = new DiffusionProcess(diffusion);
  const byDocument = new Map<number, DocumentSums>();
  const sumsOf = (document: number): DocumentSums => {
    const known = byDocument.get(document);
    if (known) return known;
    const sums = emptySums();
    byDocument.set(document, sums);
    return sums;
  };
  const drawSums = Array.from({ length: draws }, (): DrawSums => ({ nll: 0, unigram: 0 }));
  let loss = 0;
  const terms: Partial<Record<LossTerm, number>> = {};
  const sampler = createTimeSampler(
    { timeSampler: "low-discrepancy", minTime: diffusion.minTime },
    noisy.random,
  );
  for (let draw = 0; draw < draws; draw++) {
    const pass = noisy.pass({
      step: draw,
      timeSampler: levelsOfDraw(sampler, diffusion.minTime, draw, draws),
      weighting: masked ? "elbo" : undefined,
      signal,
    });
    for await (const batch of pass) {
      const { rows, feeds, outputs, nll } = batch;
      const part = rows.length / (noisy.count * draws);
      const mean = lossOfRows(config.model, outputs, rows.length);
      loss += part * mean.loss;
      for (const term of lossTerms)
        if (mean.terms[term] !== undefined) terms[term] = (terms[term] ?? 0) + part * mean.terms[term];
      const weights = rows.map((_, b) =>
        masked ? boundWeight(diffusion, process, Number(feeds.time.data[b])) : 0,
      );
      forEachTargetOf(batch, (document, b, position, at, absorbed) => {
        const sum = sumsOf(document);
        const token = rows[b].ids[position];
        const unigram = -logUnigram[token];
        if (draw === 0) {
          sum.tokens++;
          sum.bytes += byteLengths[token];
          sum.wholeUnigram += unigram;
        }
        if (masked && !absorbed) return;
        sum.nll += nll[at];
        sum.scored++;
        sum.unigram += unigram;
        sum.weighted += (weights[b] * nll[at]) / draws;
        sum.weightedUnigram += (weights[b] * unigram) / draws;
        drawSums[draw].nll += weights[b] * nll[at];
        drawSums[draw].unigram += weights[b] * unigram;
      });
      onBatch();
    }
  }
  const sums = [...byDocument.values()];
  const total = (value: (document: DocumentSums) => number) =>
    sums.reduce((sum, document) => sum + value(document), 0);
  const share =
    total(({ nll }) => nll) /
    Math.max(
      total(({ unigram }) => unigram),
      Number.MIN_VALUE,
    );
  const boundNats = ({ weighted, wholeUnigram, weightedUnigram }: DocumentSums) =>
    weighted + share * (wholeUnigram - weightedUnigram);
  const bytes = total((document) => document.bytes);
  type Value = (document: DocumentSums) => number;
  const ratio = (y: Value, x: Value): Estimate => {
    const collected = new RatioEstimate();
    for (const [document, own] of byDocument) collected.add(document, y(own), x(own));
    return collected.estimate() ?? { mean: Number.NaN, standardError: null };
  };
  // What the draws make of it, each for all rows: how far noise alone moves the bound.
  const whole = total(({ wholeUnigram }) => wholeUnigram);
  const perDraw = drawSums.map(({ nll, unigram }) => nll + share * (whole - unigram));
  /** @param unit nats that count as one */
  const boundOn = (x: Value, unit = 1): Estimate => {
    const overDocuments = ratio((document) => boundNats(document) / unit, x);
    if (overDocuments.standardError !== null) return overDocuments;
    const overDraws = new RatioEstimate();
    for (const [draw, nats] of perDraw.entries()) overDraws.add(draw, nats / unit, total(x));
    return { ...overDocuments, standardError: overDraws.estimate()?.standardError ?? null };
  };
  return {
    loss: {
      sequences: noisy.count,
      documents: byDocument.size,
      tokens: total(({ tokens }) => tokens),
      bytes,
      draws,
      loss,
      terms,
      crossEntropy: ratio(
        ({ nll }) => nll,
        ({ scored }) => scored,
      ),
      bound:
        masked && bytes > 0
          ? {
              natsPerToken: boundOn(({ tokens }) => tokens),
              bitsPerByte: boundOn((document) => document.bytes, Math.LN2),
            }
          : null,
    },
    documents: masked
      ? new Map(
          Array.from(byDocument, ([document, own]) => [
            document,
            { bound: boundNats(own), bytes: own.bytes },
          ]),
        )
      : null,
  };
}
