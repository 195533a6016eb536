/**
 * @file What fewer steps cost: texts of a trained model at several numbers of steps, for every release policy (masked limit) or solver
 * (Gaussian processes), judged by a model that had no part in writing them.
 *
 *   npx tsx bench/quality.ts --model DIR [--texts 8] [--length 512] [--steps 4,8,16,32,64,128] [--tokens 2000000] [--threads N] [--svg FILE]
 *                            [--sides REGULAR_EXPRESSION] [--cache-intervals 1] [--dtypes fp32]
 *
 * With several --cache-intervals or --dtypes every side comes once for each of them. In 4 blocks the network runs as often, --steps shared
 * out among the blocks. Nats a token: under a Kneser-Ney trigram model of the run's training texts (the first --tokens tokens of them), so
 * below that of held-out text means duller than it, above it less like it. Own: nats a token by the model itself in float32, whatever it was
 * written in (a bound on the likelihood in the masked limit, the denoising cross entropy of Gaussian processes). Repetition: share of 4-grams
 * of words that occurred before in the text. Distinct: different words / words over all texts. A low score with much repetition is no good
 * text: read the columns together.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import type { GenerationConfig, ModelDType } from "../src/config/index.js";
import { TokenCorpus } from "../src/data/index.js";
import { NgramModel, textsOf } from "../src/evaluation/index.js";
import { distinctN, repetition } from "../src/metrics/index.js";
import { lineChartSvg, type Series, svgDocument } from "../src/report/index.js";
import { seriesColor } from "../src/report/theme.js";
import { buildCanvas, DiffusionModel, generate } from "../src/sampling/index.js";
import { scoreTexts } from "../src/sampling/text-score.js";
import { loadTrainingData } from "../src/training/training-data.js";

const { values: flags } = parseArgs({
  options: {
    model: { type: "string" },
    texts: { type: "string", default: "8" },
    length: { type: "string", default: "512" },
    steps: { type: "string", default: "4,8,16,32,64,128" },
    tokens: { type: "string", default: "2000000" },
    threads: { type: "string", default: String(availableParallelism()) },
    svg: { type: "string" },
    sides: { type: "string", default: "." },
    "cache-intervals": { type: "string", default: "1" },
    dtypes: { type: "string", default: "fp32" },
  },
});
if (!flags.model) throw new Error("--model DIR: expected the directory of a trained run");
const BLOCKS = 4;
const [texts, length, tokens] = [flags.texts, flags.length, flags.tokens].map(Number);
const stepCounts = flags.steps.split(",").map(Number);

const model = await DiffusionModel.fromPretrained(flags.model, { threads: Number(flags.threads) });
const { config, tokenizer } = model;
const dtypes = flags.dtypes.split(",") as ModelDType[];
const writers = new Map<ModelDType, DiffusionModel>([["fp32", model]]);
for (const dtype of dtypes)
  if (!writers.has(dtype))
    writers.set(
      dtype,
      await DiffusionModel.fromPretrained(flags.model, { threads: Number(flags.threads), dtype }),
    );
const { vocabSize, special } = tokenizer;
// Gaps are how it was trained, not what the texts are.
const whole = { ...config, data: { ...config.data, gapRate: 0 } };
const data = await loadTrainingData(whole, { tokenizer });
const rowsOf = (source: typeof data.train, most: number) =>
  Array.from({ length: Math.min(most, source.rowsInEpoch(0)) }, (_, i) => source.row(i));
const judge = NgramModel.train(
  textsOf(rowsOf(data.train, Math.ceil(tokens / config.training.sequenceLength)), vocabSize),
  { vocabSize, start: special.sep },
);

type Settings = Partial<GenerationConfig>;
const inBlocks = { blockLength: Math.ceil(length / BLOCKS) };
const sides: Record<string, Settings> = config.diffusion.gaussian
  ? {
      ancestral: { sampler: "ancestral" },
      ddim: { sampler: "ddim" },
      "dpm-solver++ 2M": { sampler: "dpm-solver++" },
      "dpm-solver++ 2M, quadratic": { sampler: "dpm-solver++", timeGrid: "quadratic" },
      "dpm-solver++ 3M": { sampler: "dpm-solver++", order: 3 },
      "ancestral, 4 blocks": { sampler: "ancestral", ...inBlocks },
    }
  : {
      random: { release: "random" },
      "reabsorb 0.25": { release: "random", reabsorb: 0.25 },
      confidence: { release: "confidence" },
      margin: { release: "margin" },
      entropy: { release: "entropy" },
      "confidence-threshold": { release: "confidence-threshold" },
      "random, 4 blocks": { release: "random", ...inBlocks },
      "confidence, 4 blocks": { release: "confidence", ...inBlocks },
    };

interface Quality {
  readonly nats: number;
  readonly own: number;
  readonly repetition: number;
  readonly distinct: number;
}

/** Mean nats a token by the model itself. */
async function ownNats(written: readonly { readonly ids: Int32Array }[]): Promise<number> {
  let sum = 0;
  for (const { ids } of written) {
    const canvas = buildCanvas({ length: ids.length }, config, tokenizer, ids.length);
    const whole = canvas.row.ids.slice();
    whole.set(ids, whole.length - ids.length);
    const shape = { batchSize: 1, length: whole.length };
    const [nats] = await scoreTexts(model, [{ canvas, ids: whole }], { seed: 1, shape });
    sum += nats;
  }
  return sum / written.length;
}

async function qualityOf(
  written: readonly { readonly ids: Int32Array; readonly text: string }[],
): Promise<Quality> {
  const corpus = new TokenCorpus(vocabSize);
  for (const { ids } of written) corpus.append(ids, new Uint8Array(ids.length));
  return {
    nats: judge.evaluate(corpus).trigram.natsPerToken,
    own: await ownNats(written),
    repetition: written.reduce((sum, { text }) => sum + repetition(text, 4), 0) / written.length,
    distinct: distinctN(
      written.map(({ text }) => text),
      1,
    ),
  };
}

/** The first of some texts that have so many tokens together. */
function enough(tokens: number): (ids: ArrayLike<number>) => boolean {
  let before = 0;
  return (ids) => {
    const wanted = before < tokens;
    before += Math.min(ids.length, length);
    return wanted;
  };
}

/** As much held-out text as is written, in pieces as long at most: the share of distinct words falls with the amount. */
const heldOut = textsOf(rowsOf(data.valid, 64), vocabSize);
const pieces = Array.from({ length: heldOut.size }, (_, d) => heldOut.ids(d))
  .filter((ids) => ids.length >= length / 4)
  .filter(enough(texts * length))
  .map((ids) => ({
    ids: Int32Array.from(ids.subarray(0, length)),
    text: tokenizer.decode(ids.subarray(0, length)),
  }));

const table = new Table({
  head: ["", "steps run", "nats/token", "own nats/token", "repetition", "distinct words", "seconds a text"],
  style: { head: [], border: [] },
});
const row = (name: string, { nats, own, repetition, distinct }: Quality, steps: string, seconds: string) =>
  table.push([
    name,
    steps,
    nats.toFixed(3),
    own.toFixed(3),
    repetition.toFixed(3),
    distinct.toFixed(3),
    seconds,
  ]);
const reference = await qualityOf(pieces);
row("held-out text", reference, "", "");
const series: Series[] = [];
const intervals = flags["cache-intervals"].split(",").map(Number);
const wanted = Object.entries(sides)
  .filter(([name]) => new RegExp(flags.sides).test(name))
  .flatMap(([name, own]) =>
    intervals.flatMap((cacheInterval) =>
      dtypes.map((dtype) => ({
        name: `${name}${cacheInterval === 1 ? "" : `, cached ${cacheInterval}`}${dtype === "fp32" ? "" : `, ${dtype}`}`,
        settings: { ...own, cacheInterval } as Settings,
        writer: writers.get(dtype)!,
      })),
    ),
  );
for (const [i, { name, settings, writer }] of wanted.entries()) {
  const points: { x: number; y: number }[] = [];
  for (const steps of stepCounts) {
    const start = performance.now();
    const own = settings.blockLength ? Math.max(1, Math.round(steps / BLOCKS)) : steps;
    const written = await generate(writer, {}, { ...settings, length, steps: own, num: texts, seed: 1 });
    const seconds = (performance.now() - start) / 1000 / texts;
    const quality = await qualityOf(written);
    const run = written.reduce((sum, one) => sum + one.steps, 0) / texts;
    row(name, quality, `${run.toFixed(0)} of ${steps}`, seconds.toFixed(2));
    points.push({ x: Math.log2(steps), y: quality.nats });
    console.error(`${name}, ${steps} steps: ${quality.nats.toFixed(3)} nats`);
  }
  series.push({ name, color: seriesColor(i), points, style: "marked" });
}
for (const writer of writers.values()) await writer.dispose();
console.log(
  `${flags.model}: ${texts} texts of ${length} tokens each, trigram model of ${judge.trainTokens} tokens`,
);
console.log(table.toString());
if (flags.svg)
  writeFileSync(
    flags.svg,
    svgDocument(
      lineChartSvg({
        description: "Nats a token under a trigram model against the number of steps",
        xLabel: "steps",
        yLabel: "nats a token (trigram model)",
        formatX: (x) => String(Math.round(2 ** x)),
        series,
        references: [{ name: "held-out text", value: reference.nats }],
      }),
    ),
  );
