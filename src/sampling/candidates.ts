/**
 * @file Several candidates for one text, and which of them is taken.
 *
 *     mbr      argmax_i sum_{j != i} BLEU(candidate i, candidate j)      minimum Bayes risk, as DiffuSeq chooses (arXiv 2210.08933)
 *     bound    argmin_i nats a token by the model itself                 best of n (text-score.ts)
 *
 * Candidates are samples like others: text k of a request has the numbers firstSample + k n .. firstSample + k n + n - 1, so what is
 * chosen from does not depend on batches, and a candidate can be written again alone by its number. BLEU is taken of the texts as they
 * are returned. Of equal candidates the first is taken.
 */
import type { GenerationConfig } from "../config/index.js";
import { takeTurns } from "../data/turns.js";
import { agreement, mostAgreed } from "../metrics/minimum-bayes-risk.js";
import type { DiffusionModel } from "./model.js";
import { scoreTexts, type WrittenCanvas } from "./text-score.js";

/** How one text was chosen among several. */
export interface Choice {
  /** Place of the text among its candidates, from 0. */
  readonly candidate: number;
  /**
   * What the scores are: "bleu", summed against the other candidates, higher is better; in nats a token, lower is better, "bound" on the
   * likelihood (masked limit) or "cross-entropy" of denoising (Gaussian processes).
   */
  readonly measure: "bleu" | "bound" | "cross-entropy";
  /** Of the text. */
  readonly score: number;
  /** Of all candidates, in order. */
  readonly scores: readonly number[];
}

/** One candidate, written to the end. T: what is told of a text. */
export interface Candidate<T> extends WrittenCanvas {
  /** Which text of the run it is a candidate for. */
  readonly group: number;
  readonly generation: T;
}

/** Collects candidates as they are finished, those of a text in order, and gives out texts as soon as all their candidates are there. */
export class Candidates<T extends { readonly text: string }> {
  private readonly waiting = new Map<number, { candidate: Candidate<T>; nats: number }[]>();

  constructor(
    private readonly model: DiffusionModel,
    private readonly config: Pick<GenerationConfig, "candidates" | "select" | "seed">,
    private readonly signal?: AbortSignal,
  ) {}

  /**
   * The texts that are complete with these candidates, which were written in one batch.
   * @param batchSize rows of that batch
   * @param multiple rows are padded to a multiple of this many positions
   */
  async take(
    finished: readonly Candidate<T>[],
    batchSize: number,
    multiple: number,
  ): Promise<(T & { readonly choice: Choice | null })[]> {
    const { candidates, select, seed } = this.config;
    if (candidates === 1) return finished.map(({ generation }) => ({ ...generation, choice: null }));
    const { model, signal } = this;
    const longest = Math.max(...finished.map(({ ids }) => ids.length));
    const shape = { batchSize, length: Math.ceil(longest / multiple) * multiple };
    const nats = select === "bound" ? await scoreTexts(model, finished, { seed, shape, signal }) : null;
    const chosen: (T & { readonly choice: Choice })[] = [];
    for (const [i, candidate] of finished.entries()) {
      const group = this.waiting.get(candidate.group) ?? [];
      group.push({ candidate, nats: nats?.[i] ?? 0 });
      this.waiting.set(candidate.group, group);
      if (group.length < candidates) continue;
      this.waiting.delete(candidate.group);
      const choice = nats ? this.likeliest(group.map((one) => one.nats)) : await agreed(group, signal);
      chosen.push({ ...group[choice.candidate].candidate.generation, choice });
    }
    return chosen;
  }

  private likeliest(scores: readonly number[]): Choice {
    const candidate = scores.reduce((best, score, i) => (score < scores[best] ? i : best), 0);
    const measure = this.model.config.diffusion.gaussian ? "cross-entropy" : "bound";
    return { candidate, measure, score: scores[candidate], scores };
  }
}

/** Of many long candidates seconds of work: others get a turn, and the signal is heard. */
async function agreed(
  group: readonly { candidate: Candidate<{ readonly text: string }> }[],
  signal?: AbortSignal,
): Promise<Choice> {
  const texts = group.map(({ candidate }) => candidate.generation.text);
  const { pause } = takeTurns(signal);
  const scores: number[] = [];
  for (const i of texts.keys()) {
    await pause();
    scores.push(agreement(texts, i));
  }
  const candidate = mostAgreed(scores);
  return { candidate, measure: "bleu", score: scores[candidate], scores };
}
