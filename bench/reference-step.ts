/**
 * @file The step that is measured: the reference configuration `bench-small`, its starting weights and one batch. Everything is a
 * function of the options, so every process that asks gets the same numbers.
 *
 * Token ids follow Zipf's law, p(id) ~ 1 / id, as words do: routing and the sums over rows of the embedding table depend on it.
 */
import { configFromLayers, findPreset, type RunConfig } from "../src/config/index.js";
import { packRows } from "../src/data/index.js";
import { corruptRows } from "../src/diffusion/batch.js";
import { trainingModule } from "../src/diffusion/modules.js";
import type { GraphModule, TensorData } from "../src/graph/index.js";
import { denoiserParameters } from "../src/model/denoiser.js";
import { LOG_UNIGRAM, OUTPUT_BIAS } from "../src/model/embeddings.js";
import { initialParameters } from "../src/model/initialise.js";
import type { ParameterDefinition } from "../src/model/parameters.js";
import { CounterRandom, Stream } from "../src/random/index.js";
import type { AdamWOptions } from "../src/runtime/index.js";

export interface ReferenceOptions {
  readonly preset: string;
  /** Documents in a row of 2,048; with more than one the row also ends in padding. */
  readonly documents: number;
  /** Rows. Default 2. */
  readonly batchSize?: number;
}

export interface ReferenceStep {
  readonly config: RunConfig;
  readonly definitions: readonly ParameterDefinition[];
  /** Starting values by parameter name. */
  readonly values: Record<string, Float32Array>;
  readonly module: GraphModule;
  /** One batch, by input name; more than the program of a preset may ask for. */
  readonly feeds: Record<string, TensorData>;
  readonly optimiser: Omit<AdamWOptions, "step">;
  readonly tokens: number;
}

/** hidden 256, embedding 128, 4 heads, 4 layers, 8 experts top-2 of 512, window 128, 16 global tokens, vocabulary 8,192, 2 x 2,048. */
const benchSmall = {
  model: {
    vocabSize: 8192,
    embeddingSize: 128,
    hiddenSize: 256,
    numLayers: 4,
    numHeads: 4,
    attention: { window: 128, globalTokens: 16 },
    experts: { numExperts: 8, topK: 2, intermediateSize: 512 },
  },
  training: { batchSize: 2, sequenceLength: 2048 },
};

/** Preset "masked" or "moe-diffuseq" at the sizes of `bench-small`. */
export function referenceStep({
  preset,
  documents,
  batchSize: rowCount = 2,
}: ReferenceOptions): ReferenceStep {
  const config = configFromLayers([
    { name: "preset", config: findPreset(preset).config },
    { name: "bench-small", config: benchSmall },
    { name: "batch", config: { training: { batchSize: rowCount } } },
  ]);
  const { batchSize, sequenceLength } = config.training;
  const { vocabSize, attention } = config.model;
  const random = new CounterRandom(config.training.seed);
  const definitions = denoiserParameters(config.model);
  const values = initialParameters(definitions, random, Stream.Init);
  values[LOG_UNIGRAM] = zipf(vocabSize);
  values[OUTPUT_BIAS] = values[LOG_UNIGRAM].slice();

  const padding = documents > 1 ? 100 : 0;
  const length = Math.floor((sequenceLength - padding) / documents) - attention.globalTokens;
  const texts = Array.from({ length: CANDIDATES * batchSize * documents }, (_, id) => ({
    id,
    ids: Int32Array.from({ length }, (__, p) =>
      Math.floor(vocabSize ** random.uniform(Stream.Synthetic, id, 0, p)),
    ),
    given: new Uint8Array(length),
  }));
  const tokenizer = { vocabSize, special: { pad: 0, cls: 1, sep: 2 } };
  const rows = packRows(texts, { length: sequenceLength, tokenizer, globalTokens: attention.globalTokens });
  const feeds = typicalBatch(
    Array.from({ length: CANDIDATES }, (_, k) =>
      corruptRows(
        Array.from({ length: batchSize }, (__, b) => rows.row(k * batchSize + b)),
        config,
        random,
        { maxGlobals: rows.maxGlobals },
      ),
    ),
  );
  const { beta1, beta2, epsilon, weightDecay, maxGradNorm } = config.training;
  return {
    config,
    definitions,
    values,
    module: trainingModule(config, {
      batchSize,
      length: sequenceLength,
      globalSlots: rows.maxGlobals,
    }),
    feeds,
    // A small rate: no warm-up here, and two programs whose losses are compared must not drift apart.
    optimiser: { learningRate: 1e-4, beta1, beta2, epsilon, weightDecay, maxGradNorm, emaDecay: null },
    tokens: batchSize * sequenceLength,
  };
}

/** Batches of which one is taken. */
const CANDIDATES = 8;

/** The batch with the median share of absorbed positions: what is computed depends on it. */
function typicalBatch(batches: readonly Record<string, TensorData>[]): Record<string, TensorData> {
  const share = ({ absorbed }: Record<string, TensorData>) =>
    (absorbed.data as Float32Array).reduce((sum, flag) => sum + flag, 0) / absorbed.data.length;
  return batches.toSorted((a, b) => share(a) - share(b))[batches.length >> 1];
}

/** Log frequencies of floor(V^u), u uniform: log(1 + 1/id) / log V; id 0 counts like the rarest. */
const zipf = (vocabSize: number): Float32Array =>
  Float32Array.from({ length: vocabSize }, (_, id) =>
    Math.log(Math.log1p(1 / (id || vocabSize)) / Math.log(vocabSize)),
  );
