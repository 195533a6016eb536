/**
 * @file From packed rows to the network's inputs for training and evaluation: draws a noise level for every row, decides
 * which target positions are absorbed, draws the noise and says what every position counts in the loss. The network
 * computes z itself, because m and x0 are its parameters.
 *
 * Every random number belongs to (seed, stream, row.sequence, step, position): a row is corrupted in the same way in any
 * batch, at any place in it, padded or not.
 */
import type { DiffusionConfig } from "../config/diffusion-config.js";
import type { ModelConfig } from "../config/model-config.js";
import type { Row } from "../data/rows.js";
import type { TensorData } from "../graph/index.js";
import { type CounterRandom, Stream } from "../random/index.js";
import { BatchBuffers } from "./buffers.js";
import { dropConditions } from "./condition-dropout.js";
import { allocateLevels, levelTensors, setLevel } from "./level-inputs.js";
import { type LossWeights, lossWeights } from "./loss-weights.js";
import { PADDING_SEQUENCE } from "./padding.js";
import { placeRows } from "./place-rows.js";
import { DiffusionProcess } from "./process.js";
import { checkRange } from "./schedule.js";
import { isTarget } from "./targets.js";
import { createTimeSampler, type TimeSampler } from "./time-sampler.js";

/** The parts of a run's configuration that a batch depends on. */
export interface CorruptionConfig {
  readonly model: Pick<ModelConfig, "vocabSize" | "embeddingSize">;
  readonly diffusion: DiffusionConfig;
}

export interface CorruptionOptions {
  /** M, slots for global tokens in a row. Default: the most any of the rows has. 0: no global inputs at all. */
  maxGlobals?: number;
  /** Counter of the random numbers besides the sequence: another step, other noise on the same row. Default 0. */
  step?: number;
  /** Draws t. Default: a new sampler of the configuration (pass your own when it is loss-aware). */
  timeSampler?: TimeSampler;
  /** Puts every row at this t, in [0, 1], instead of drawing it. */
  time?: number;
  /** Probability of absorption instead of g(t): 0 none, 1 all targets. Default: g(t). */
  absorbProbability?: number;
  /** Share of documents whose condition is left out. Default: the configuration's, 0 when `time` is set. */
  conditionDropout?: number;
  /** Weighting instead of the configuration's; "elbo" makes the loss the bound. */
  weighting?: DiffusionConfig["lossWeighting"];
  /** Arrays to use again; the inputs of the last batch are then overwritten. Default: new ones. */
  buffers?: BatchBuffers;
}

/**
 * The network's inputs for B rows of N tokens and D = model.embeddingSize: those of `placeRows` and `levelTensors`, and
 *
 * - noise float32 [B, N, D], standard normal, 0 behind the last target of a row; absent in the masked limit
 * - ceWeight, mseWeight, priorWeight float32 [B, N]: the terms of the positions, summed with these weights, give the mean
 *   loss of the rows
 * - levelWeight float32 [B]: w(t) of the row, without the importance of t; there for a loss-aware time sampler alone
 *
 * @throws UserError when rows differ in length (see `padRows`) or have more global tokens than slots, and for a share out of [0, 1]
 */
export function corruptRows(
  rows: readonly Row[],
  config: CorruptionConfig,
  random: CounterRandom,
  options: CorruptionOptions = {},
): Record<string, TensorData> {
  const { diffusion, model } = config;
  const { step = 0, buffers = new BatchBuffers() } = options;
  // Autoregressive: every target is to be predicted, at no level of noise, and counts once.
  const nextToken = diffusion.objective === "next-token";
  const fixed = nextToken ? 1 : options.time;
  const absorbProbability = nextToken ? 1 : options.absorbProbability;
  const process = new DiffusionProcess(diffusion);
  const sampler = options.timeSampler ?? createTimeSampler(diffusion, random);
  const dropRate = options.conditionDropout ?? (options.time === undefined ? diffusion.conditionDropout : 0);
  checkRange("conditionDropout", dropRate, 0, 1);
  checkRange("absorbProbability", absorbProbability ?? 0, 0, 1);
  const kept = rows.map((row) => dropConditions(row, dropRate, model.vocabSize, random));
  const maxGlobals = options.maxGlobals ?? Math.max(0, ...rows.map((row) => row.globals.length));
  const placed = placeRows(kept, maxGlobals, buffers);
  const [batch, length] = placed.ids.shape;
  const rowCount = rows.filter((row) => row.sequence !== PADDING_SEQUENCE).length;

  const levels = allocateLevels(batch, length, buffers);
  const width = model.embeddingSize;
  const noise = process.gaussian ? buffers.float32("noise", batch * length * width) : null;
  const weights = allocateWeights(batch * length, buffers);
  const levelWeight = buffers.float32("levelWeight", batch);
  const uniforms = new Float32Array(length);
  const absorbed = new Uint8Array(length);
  kept.forEach((row, b) => {
    const target = targetsOf(row);
    if (row.sequence === PADDING_SEQUENCE) {
      setLevel(levels, b, process.level(0), target, absorbed.fill(0));
      return;
    }
    const draw = fixed === undefined ? sampler.draw(row.sequence) : { time: fixed, weight: 1 };
    // t as the network sees it, so that its coefficients and its time embedding belong to the same t.
    const time = Math.min(1, Math.fround(draw.time));
    const level = process.level(time);
    const probability = absorbProbability ?? level.absorbed;
    random.fillUniform(uniforms, Stream.Absorb, row.sequence, step);
    for (let p = 0; p < length; p++) absorbed[p] = target[p] === 1 && uniforms[p] < probability ? 1 : 0;
    setLevel(levels, b, level, target, absorbed);
    if (noise) {
      const used = width * (target.lastIndexOf(1) + 1);
      const part = noise.subarray(b * length * width, b * length * width + used);
      random.fillNormal(part, Stream.Noise, row.sequence, step);
    }
    const perPosition = lossWeights(diffusion, process, {
      time,
      importance: draw.weight,
      weighting: nextToken ? "unweighted" : options.weighting,
      fixedTime: fixed !== undefined,
      absorbProbability,
    });
    setWeights(weights, b, perPosition, target, absorbed, rowCount);
    levelWeight[b] = perPosition.level;
  });

  const shape = [batch, length];
  const inputs = { ...placed, ...levelTensors(levels) };
  if (diffusion.timeSampler === "loss-aware")
    inputs.levelWeight = { dtype: "float32", shape: [batch], data: levelWeight };
  for (const [name, data] of Object.entries(weights)) inputs[name] = { dtype: "float32", shape, data };
  if (noise) inputs.noise = { dtype: "float32", shape: [batch, length, width], data: noise };
  return inputs;
}

/** [N] 1: noised and in the loss. */
const targetsOf = (row: Row): Uint8Array =>
  row.given.map((given, p) => Number(isTarget(given, row.segment[p])));

const allocateWeights = (size: number, buffers: BatchBuffers) => ({
  ceWeight: buffers.float32("ceWeight", size),
  mseWeight: buffers.float32("mseWeight", size),
  priorWeight: buffers.float32("priorWeight", size),
});

/** Row `b` of the weights: those of a position over the row's targets and the rows. target, absorbed: [N]. */
function setWeights(
  arrays: ReturnType<typeof allocateWeights>,
  b: number,
  weights: LossWeights,
  target: Uint8Array,
  absorbed: Uint8Array,
  rowCount: number,
): void {
  const length = target.length;
  let targets = 0;
  for (const flag of target) targets += flag;
  const share = 1 / (targets * rowCount);
  for (let p = 0; p < length; p++) {
    if (target[p] === 0) continue;
    const at = b * length + p;
    arrays.priorWeight[at] = weights.prior * share;
    if (weights.absorbedOnly && absorbed[p] === 0) continue;
    arrays.ceWeight[at] = weights.ce * share;
    arrays.mseWeight[at] = weights.mse * share;
  }
}
