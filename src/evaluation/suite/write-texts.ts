/** @file Texts of a trained twin for held-out sources, and what they score. */
import { ONE_TEXT } from "../../config/generation-config.js";
import type { GenerationConfig } from "../../config/index.js";
import type { ProgramId } from "../../hub/program-id.js";
import { mean } from "../../metrics/bootstrap.js";
import { mbrSelect, repetition } from "../../metrics/index.js";
import { DiffusionModel, generate } from "../../sampling/index.js";
import type { Pair } from "../accuracy.js";
import { type FilledGaps, type InfillKind, infillings, infillRequest, type TextCodec } from "./infill.js";
import type { NextTurnClassifier } from "./next-turn.js";
import { type SuiteTask, suiteMetrics } from "./suites.js";
import type { TextScorer, TextScores } from "./text-scorer.js";

/** Plain JSON. */
export interface Judged {
  /** Metric -> a score a source, in order. */
  readonly scores: Readonly<Record<string, readonly number[]>>;
  /** Metric -> the held-out pair of each score, by number: all, but for gaps in targets that are too short to have some. */
  readonly scored: Readonly<Record<string, readonly number[]>>;
  /** The texts as a set, beside the held-out targets. */
  readonly asSet: TextScores;
  /** The first few texts. */
  readonly samples: readonly { readonly src: string; readonly trg: string; readonly text: string }[];
  /**
   * Texts from nothing: share of 4-grams that came before in their text and of words that are different in it, mean over the texts, and
   * perplexity under the scorer; null: none were written.
   */
  readonly free: {
    readonly repetition: number;
    readonly distinctWords: number;
    readonly perplexity: number | null;
    readonly sample: string;
  } | null;
  /** The first target with gaps of each kind, and what was written in them; none: no gaps were filled. */
  readonly infill: Readonly<Partial<Record<InfillKind, FilledGaps>>>;
  /** Writing all of it. */
  readonly seconds: number;
  /** The code that wrote and judged: perhaps of an earlier call. */
  readonly judgedBy: ProgramId;
}

const SAMPLES = 3;
const FREE_TEXTS = 4;

export async function judgeTexts(job: {
  readonly path: string;
  readonly task: SuiteTask;
  readonly items: readonly Pair[];
  readonly steps: number;
  /** Settings of generation; those of the task come before them. */
  readonly generation: GenerationConfig;
  readonly classifier: NextTurnClassifier | null;
  readonly scorer: TextScorer;
  readonly program: ProgramId;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}): Promise<Judged> {
  const { path, task, items, steps, generation, classifier, scorer, program, threads, signal } = job;
  const model = await DiffusionModel.fromPretrained(path, { threads });
  try {
    const began = performance.now();
    // One text: the likeliest tokens. Several to choose among must differ.
    const { candidates, length } = task;
    const temperature = candidates > 1 ? 0.8 : 0;
    const common = { ...generation, ...ONE_TEXT, length, steps, seed: 1 };
    const settings = { ...common, temperature, num: candidates };
    // Every source has random numbers of its own: texts from the same noise would be alike, and count as more than they are.
    const own = items.map(({ src, trg }) => ({ src: shownSource(src, model.tokenizer, task), trg }));
    const sources = own.map(({ src }, i) => ({ src, firstSample: i * candidates }));
    const written = await generate(model, sources, settings, { signal });
    const texts = items.map((_, i) => {
      const candidate = written.filter(({ request }) => request === i).map(({ text }) => text);
      return candidate[mbrSelect(candidate).index];
    });
    const free = task.free
      ? (await generate(model, {}, { ...common, num: FREE_TEXTS }, { signal })).map(({ text }) => text)
      : null;
    const filled = new Map<InfillKind, Map<number, FilledGaps>>();
    for (const kind of task.infill ? infillKinds : [])
      filled.set(kind, await fillGaps(own, model, kind, { ...common, temperature: 0 }, signal));
    const seconds = (performance.now() - began) / 1000;
    const scores: Record<string, number[]> = {};
    for (const metric of task.metrics)
      scores[metric] = texts.map((text, i) => suiteMetrics[metric](text, items[i].trg));
    if (classifier)
      scores.coherence = texts.map((text, i) => classifier.score({ src: items[i].src, trg: text }));
    const scored: Record<string, number[]> = {};
    for (const metric of Object.keys(scores)) scored[metric] = [...items.keys()];
    const infill: Partial<Record<InfillKind, FilledGaps>> = {};
    for (const [kind, gaps] of filled) {
      if (gaps.size === 0) continue;
      [infill[kind]] = gaps.values();
      for (const [metric, score] of Object.entries(infillings[kind].metrics)) {
        scores[metric] = Array.from(gaps.values(), score);
        scored[metric] = [...gaps.keys()];
      }
    }
    return {
      scores,
      scored,
      asSet: scorer.score(
        texts,
        items.map(({ trg }) => trg),
      ),
      samples: items.slice(0, SAMPLES).map(({ src, trg }, i) => ({ src, trg, text: texts[i] })),
      free: free && {
        repetition: mean(free.map((text) => repetition(text, 4))),
        distinctWords: mean(free.map(suiteMetrics.distinctWords)),
        perplexity: scorer.perplexity(free),
        sample: free[0],
      },
      infill,
      seconds,
      judgedBy: program,
    };
  } finally {
    await model.dispose();
  }
}

const infillKinds = Object.keys(infillings) as InfillKind[];

/** What the model writes for the missing words of each target that has some, by the number of its pair. */
async function fillGaps(
  pairs: readonly Pair[],
  model: DiffusionModel,
  kind: InfillKind,
  { length, ...settings }: GenerationConfig & { readonly length: number },
  signal: AbortSignal | undefined,
): Promise<Map<number, FilledGaps>> {
  const { tokenizer } = model;
  const { cut } = infillings[kind];
  const asked = pairs.flatMap((pair, i) => {
    const room = length - SPECIALS - tokenizer.encode(pair.src).length;
    const found = infillRequest(pair, cut, tokenizer, room);
    return found ? [{ gaps: found.gaps, request: { ...found.request, firstSample: i } }] : [];
  });
  const requests = asked.map(({ request }) => request);
  const written = await generate(model, requests, settings, { signal });
  return new Map(
    asked.map(({ gaps, request }, i) => [request.firstSample, { ...gaps, written: written[i].gaps }]),
  );
}

/**
 * The source, cut where it would leave the target less than its share of the room: at its end, or, where the target goes on from there, at
 * its beginning. Training cuts a pair that is too long by the lengths of both; here the target's own length must not tell.
 */
export function shownSource(
  src: string,
  tokenizer: TextCodec,
  { length, targetShare, continues = false }: Pick<SuiteTask, "length" | "targetShare" | "continues">,
): string {
  const ids = tokenizer.encode(src);
  const most = Math.floor((1 - targetShare) * length) - SPECIALS;
  if (ids.length <= most) return src;
  // Half a character at the cut is left out.
  return continues
    ? tokenizer.decode(ids.subarray(ids.length - most)).replace(/^\uFFFD+/, "")
    : tokenizer.decode(ids.subarray(0, most)).replace(/\uFFFD+$/, "");
}

/** [CLS], and three [SEP]. */
const SPECIALS = 4;
