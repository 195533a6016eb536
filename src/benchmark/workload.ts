/**
 * @file What is measured: a configuration, the weights training would start from, and one batch of made-up text. Everything is a function
 * of the configuration, so every process that asks gets the same numbers.
 *
 * Token ids follow Zipf's law, p(id) ~ 1 / id, as words do: routing and the sums over rows of the embedding table depend on it.
 */
import type { RunConfig } from "../config/index.js";
import { packRows } from "../data/index.js";
import { corruptRows } from "../diffusion/batch.js";
import { trainingModule } from "../diffusion/modules.js";
import type { GraphModule, TensorData } from "../graph/index.js";
import { largestBlock } from "../model/attention/pattern.js";
import { denoiserParameters } from "../model/denoiser.js";
import { LOG_UNIGRAM, OUTPUT_BIAS } from "../model/embeddings.js";
import { initialParameters } from "../model/initialise.js";
import type { ParameterDefinition } from "../model/parameters.js";
import { CounterRandom, Stream } from "../random/index.js";
import type { AdamWOptions } from "../runtime/index.js";

export interface Workload {
  readonly config: RunConfig;
  readonly definitions: readonly ParameterDefinition[];
  /** Starting values by parameter name. */
  readonly values: Record<string, Float32Array>;
  /** The training step. */
  readonly module: GraphModule;
  /** One batch, by input name; more than the program of a preset may ask for. */
  readonly feeds: Record<string, TensorData>;
  readonly optimiser: Omit<AdamWOptions, "step">;
  /** Positions of the batch. */
  readonly tokens: number;
}

/** @param documents in a row of training.sequenceLength; with more than one the row also ends in padding */
export function workload(config: RunConfig, documents = 1): Workload {
  const { batchSize, sequenceLength } = config.training;
  const { vocabSize, attention } = config.model;
  const random = new CounterRandom(config.training.seed);
  const definitions = denoiserParameters(config.model);
  const values = initialParameters(definitions, random, Stream.Init);
  values[LOG_UNIGRAM] = zipf(vocabSize);
  values[OUTPUT_BIAS] = values[LOG_UNIGRAM].slice();

  const padding = documents > 1 ? Math.min(100, sequenceLength >> 4) : 0;
  const length = Math.floor((sequenceLength - padding) / documents) - attention.globalTokens;
  const texts = Array.from({ length: CANDIDATES * batchSize * documents }, (_, id) => ({
    id,
    ids: Int32Array.from({ length }, (__, p) =>
      Math.floor(vocabSize ** random.uniform(Stream.Synthetic, id, 0, p)),
    ),
    given: new Uint8Array(length),
  }));
  const tokenizer = { vocabSize, special: { pad: 0, cls: 1, sep: 2 } };
  const rows = packRows(texts, {
    length: sequenceLength,
    tokenizer,
    globalTokens: attention.globalTokens,
    nearSpan: largestBlock(attention, config.model.numLayers, config.model.numHeads),
  });
  const batch = (k: number) =>
    corruptRows(
      Array.from({ length: batchSize }, (_, b) => rows.row(k * batchSize + b)),
      config,
      random,
      { maxGlobals: rows.maxGlobals },
    );
  const { beta1, beta2, epsilon, weightDecay, maxGradNorm } = config.training;
  return {
    config,
    definitions,
    values,
    module: trainingModule(
      config,
      { batchSize, length: sequenceLength, ...rows.slots },
      config.training.activationCheckpointing,
    ),
    feeds: batch(medianOf(CANDIDATES, (k) => absorbedShare(batch(k)))),
    // A small rate: no warm-up here, and two programs whose losses are compared must not drift apart.
    optimiser: { learningRate: 1e-4, beta1, beta2, epsilon, weightDecay, maxGradNorm, emaDecay: null },
    tokens: batchSize * sequenceLength,
  };
}

/** Batches of which one is taken. */
const CANDIDATES = 8;

/** What is computed depends on the share of absorbed positions: the batch with the median one is taken. */
const absorbedShare = ({ absorbed }: Record<string, TensorData>): number =>
  (absorbed.data as Float32Array).reduce((sum, flag) => sum + flag, 0) / absorbed.data.length;

/** The number below `count` whose measure is the median; one batch at a time is held. */
const medianOf = (count: number, measure: (k: number) => number): number =>
  Array.from({ length: count }, (_, k) => ({ k, value: measure(k) })).sort((a, b) => a.value - b.value)[
    count >> 1
  ].k;

/** Log frequencies of floor(V^u), u uniform: log(1 + 1/id) / log V; id 0 counts like the rarest. */
const zipf = (vocabSize: number): Float32Array =>
  Float32Array.from({ length: vocabSize }, (_, id) =>
    Math.log(Math.log1p(1 / (id || vocabSize)) / Math.log(vocabSize)),
  );
