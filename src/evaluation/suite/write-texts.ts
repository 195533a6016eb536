/** @file Texts of a trained twin for held-out sources, and what they score. */
import { distinctN, mbrSelect, repetition } from "../../metrics/index.js";
import { DiffusionModel, generate } from "../../sampling/index.js";
import type { Pair } from "../accuracy.js";
import type { NextTurnClassifier } from "./next-turn.js";
import { type SuiteTask, suiteMetrics } from "./suites.js";

/** Plain JSON. */
export interface Judged {
  /** Metric -> a score a source, in order. */
  readonly scores: Readonly<Record<string, readonly number[]>>;
  /** The first few texts. */
  readonly samples: readonly { readonly src: string; readonly trg: string; readonly text: string }[];
  /** Texts from nothing: share of 4-grams that came before in their text, and of words that are different; null: none were written. */
  readonly free: {
    readonly repetition: number;
    readonly distinctWords: number;
    readonly sample: string;
  } | null;
  /** Writing all of it. */
  readonly seconds: number;
}

const SAMPLES = 3;
const FREE_TEXTS = 4;

export async function judgeTexts(job: {
  readonly path: string;
  readonly task: SuiteTask;
  readonly items: readonly Pair[];
  readonly steps: number;
  readonly classifier: NextTurnClassifier | null;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}): Promise<Judged> {
  const { path, task, items, steps, classifier, threads, signal } = job;
  const model = await DiffusionModel.fromPretrained(path, { threads });
  try {
    const began = performance.now();
    // One text: the likeliest tokens. Several to choose among must differ.
    const { candidates, length } = task;
    const settings = { length, steps, temperature: candidates > 1 ? 0.8 : 0, num: candidates, seed: 1 };
    // Every source has random numbers of its own: texts from the same noise would be alike, and count as more than they are.
    const sources = items.map(({ src }, i) => ({
      src: fitting(src, model, length),
      firstSample: i * candidates,
    }));
    const written = await generate(model, sources, settings, { signal });
    const texts = items.map((_, i) => {
      const own = written.filter(({ request }) => request === i).map(({ text }) => text);
      return own[mbrSelect(own).index];
    });
    const free = task.free
      ? (await generate(model, {}, { length, steps, num: FREE_TEXTS, seed: 1 }, { signal })).map(
          ({ text }) => text,
        )
      : null;
    const seconds = (performance.now() - began) / 1000;
    const scores: Record<string, number[]> = {};
    for (const metric of task.metrics)
      scores[metric] = texts.map((text, i) => suiteMetrics[metric](text, items[i].trg));
    if (classifier)
      scores.coherence = texts.map((text, i) => classifier.score({ src: items[i].src, trg: text }));
    return {
      scores,
      samples: items.slice(0, SAMPLES).map(({ src, trg }, i) => ({ src, trg, text: texts[i] })),
      free: free && {
        repetition: free.reduce((sum, text) => sum + repetition(text, 4), 0) / free.length,
        distinctWords: free.every((text) => text.trim() === "") ? 0 : distinctN(free, 1),
        sample: free[0],
      },
      seconds,
    };
  } finally {
    await model.dispose();
  }
}

/** The source, cut where training cuts it: half of the room is the target's. */
function fitting(src: string, { tokenizer }: DiffusionModel, length: number): string {
  const ids = tokenizer.encode(src);
  const most = (length >> 1) - SPECIALS;
  return ids.length <= most ? src : tokenizer.decode(ids.subarray(0, most));
}

/** [CLS], and three [SEP]. */
const SPECIALS = 4;
