/**
 * @file How training goes: batch, optimiser (AdamW, warm-up then cosine down), budget, validation, checkpoints.
 * The learning rate is tied to the budget, so exactly reproducible runs want `maxSteps` or `maxTokens`, not minutes.
 */
import { z } from "zod";
import { LEAST_FLOAT, MOST, MOST_ROWS } from "./limits.js";

const every = z.int().min(1);
const rows = z.int().min(1).max(MOST_ROWS);

export const trainingConfigSchema = z.strictObject({
  seed: z.int().min(0).default(1).describe("seed of every random number of the run"),
  batchSize: rows.default(4).describe("sequences of one batch, shared by all ranks"),
  gradientAccumulation: rows.default(1).describe("batches whose gradients are summed into one step"),
  sequenceLength: z.int().min(8).max(MOST).default(1024).describe("tokens in one packed training sequence"),
  activationCheckpointing: z
    .enum(["none", "layers"])
    .default("none")
    .describe(
      "keep every activation for the backward pass, or only what enters a layer: less memory, one more forward pass",
    ),
  backwardPieces: every
    .default(1)
    .describe(
      "with several ranks: programs that a step is cut into, so that gradients of the last layers are summed while the others' are computed",
    ),
  packing: z.boolean().default(true).describe("put several short documents into one sequence"),
  learningRate: z.number().positive().default(2e-3).describe("peak learning rate"),
  minLearningRateRatio: z.number().min(0).max(1).default(0.1).describe("learning rate at the end / peak"),
  warmupRatio: z
    .number()
    .min(0)
    .max(1)
    .default(0.05)
    .describe("share of the budget spent warming up; at least the first 20 steps"),
  beta1: z.number().min(0).lt(1).default(0.9).describe("AdamW: decay of the first moment"),
  beta2: z.number().min(0).lt(1).default(0.99).describe("AdamW: decay of the second moment"),
  epsilon: z
    .number()
    .min(LEAST_FLOAT)
    .default(1e-8)
    .describe("AdamW: added to the root of the second moment"),
  weightDecay: z.number().min(0).default(0).describe("AdamW: decoupled weight decay"),
  maxGradNorm: z
    .number()
    .positive()
    .nullable()
    .default(1)
    .describe("gradients are scaled down to this global norm; null: never"),
  emaDecay: z
    .number()
    .min(0)
    .lt(1)
    .nullable()
    .default(0.999)
    .describe("decay of the averaged weights that are validated and kept; null: no averaging"),
  shardOptimizer: z
    .boolean()
    .default(false)
    .describe(
      "with several ranks: each keeps AdamW's moments of its part of the parameters only (ZeRO stage 1)",
    ),
  maxSteps: every.nullable().default(null).describe("stop after this many steps"),
  maxMinutes: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .describe("stop after this many minutes of training"),
  maxTokens: every.nullable().default(null).describe("stop after this many tokens"),
  evalEvery: every.default(200).describe("steps between validations"),
  evalSequences: every.default(16).describe("sequences of the validation set used while training"),
  checkpointEvery: every.default(200).describe("steps between checkpoints"),
  keepCheckpoints: every.default(2).describe("newest checkpoints kept"),
  logEvery: every.default(10).describe("steps between lines of metrics.jsonl"),
});

/** The training run (each field: `moe-diffuseq config --list`, or `configFields()`). */
export type TrainingConfig = z.infer<typeof trainingConfigSchema>;
/** What the backward pass computes again instead of keeping. */
export type ActivationCheckpointing = TrainingConfig["activationCheckpointing"];
