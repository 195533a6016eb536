/** @file How text is drawn from a trained model; kept beside it as `generation_config.json`. */
import { z } from "zod";
import { MOST } from "./limits.js";

const size = z.int().min(1).max(MOST);
const count = z.int().min(0).max(MOST);

export const generationConfigSchema = z.strictObject({
  length: size.default(1024).describe("tokens to write, the given text included"),
  blockLength: count
    .default(0)
    .describe(
      "write the text in blocks of this many tokens, one after the other, so that it may be of any length; 0: all of it at once",
    ),
  contextLength: count
    .nullable()
    .default(null)
    .describe(
      "blockLength: tokens of the text that are kept in view before a block; null: as far as windowed attention reaches through all " +
        "layers, at most what the trained length leaves beside globals, source and block",
    ),
  untilEnd: z
    .boolean()
    .default(false)
    .describe(
      "blockLength: the text ends in the first block in which the model ends it, `length` being the most; false: only in the last block",
    ),
  steps: z
    .int()
    .min(1)
    .max(2 ** 20)
    .default(64)
    .describe("denoising steps (with blockLength: of every block), each one run of the network"),
  sampler: z
    .enum(["auto", "ancestral", "ddim", "dpm-solver++", "absorbing"])
    .default("auto")
    .describe("how a step goes from t to s; auto: what fits the process the model was trained with"),
  order: z
    .int()
    .min(1)
    .max(3)
    .default(2)
    .describe("dpm-solver++: order of the solver; 1 is ddim, 3 needs solverMethod multistep"),
  solverMethod: z
    .enum(["multistep", "singlestep"])
    .default("multistep")
    .describe(
      "dpm-solver++: higher orders from earlier predictions, or from a second run of the network in every step (two of `steps`)",
    ),
  timeGrid: z
    .enum(["work", "uniform", "quadratic", "log-snr"])
    .default("work")
    .describe(
      "noise levels of the steps: as many absorbed positions released by each, even in t, denser towards clean text, or even in log-SNR",
    ),
  temperature: z
    .number()
    .min(0)
    // Far above it, tokens that may not be written would be no less likely than others.
    .max(1000)
    .default(0.8)
    .describe("of the draw of tokens; 0: always the likeliest"),
  noiseTemperature: z
    .number()
    .min(0)
    .max(1000)
    .default(1)
    .describe(
      "Gaussian processes: the noise that a text begins with, and that is added on the way, is so many times as large; below 1: likelier " +
        "words, less variety; 1: the process itself",
    ),
  topK: count.default(0).describe("draw among this many likeliest tokens only; 0: all"),
  topP: z
    .number()
    // Far below it the share is 0 in float32, and no token would be kept.
    .min(1e-6)
    .max(1)
    .default(0.95)
    .describe("draw among the likeliest tokens that reach this mass"),
  seed: z.int().min(0).default(1).describe("seed of every random number of the text"),
  num: size.default(1).describe("texts to write"),
  guidance: z
    .number()
    .min(0)
    // Far above it, logits would outweigh what keeps a token from being written.
    .max(1000)
    .default(1)
    .describe(
      "classifier-free guidance: how far the text is pushed towards its source or given text, from what the model writes without; " +
        "1: off; others want training with diffusion.conditionDropout and run the network on twice as many rows",
    ),
  candidates: size
    .default(1)
    .describe("texts to write for each one of `num`, of which `select` takes the best"),
  select: z
    .enum(["mbr", "bound"])
    .default("mbr")
    .describe(
      "which candidate is taken: the one with the largest summed BLEU against the others (minimum Bayes risk), or the one that the model " +
        "itself finds likeliest a token (masked limit: its bound; Gaussian processes: denoising cross entropy)",
    ),
  repetitionPenalty: z
    .number()
    .gt(0)
    .default(1)
    .describe(
      "power to which the probability of a token is raised that already stands within repetitionWindow; 1: off",
    ),
  repetitionWindow: count
    .default(64)
    .describe("positions to either side that repetitionPenalty looks at; 0: the whole text"),
  noRepeatNgram: count
    .default(0)
    .describe(
      "no n-gram of so many tokens is written twice (Gaussian processes: as the text is read off); 0: off",
    ),
  clamp: z.boolean().default(false).describe("move every prediction to its nearest embedding (DiffuSeq)"),
  eta: z.number().min(0).max(1).default(0).describe("ddim: share of fresh noise; 0: deterministic"),
  release: z
    .enum(["random", "confidence", "margin", "entropy", "confidence-threshold", "left-to-right"])
    .default("random")
    .describe(
      "which absorbed positions are released first: random ones; those surest of their token, of the likeliest against the second, or of " +
        "all (repeats itself more); or everything above confidenceThreshold, in fewer steps; or the leftmost ones",
    ),
  confidenceThreshold: z
    .number()
    .gt(0)
    .max(1)
    .default(0.9)
    .describe("probability from which a token counts as sure, for release confidence-threshold and reabsorb"),
  reabsorb: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      "masked limit: share of the written tokens that may be taken back and written anew, the unsure ones; 0: none",
    ),
  cacheInterval: z
    .int()
    .min(1)
    .default(1)
    .describe(
      "run the network on every position in one of so many steps only, and between on positions that have changed since or are wanted, " +
        "beside the kept keys and values of the others: faster, an approximation; 1: off",
    ),
  earlyStop: z
    .enum(["auto", "on", "off"])
    .default("auto")
    .describe(
      "leave out the steps after a text has settled; auto: where they cannot change it (the masked limit, everything written); " +
        "on: Gaussian processes too, once no token changes in a step and their mean probability is 0.9 or more",
    ),
});

/** One text for a request, written whole, whatever else is set. */
export const ONE_TEXT = { num: 1, candidates: 1, blockLength: 0 } as const;

/** One generation (each field: `moe-diffuseq config --list`, or `configFields()`). */
export type GenerationConfig = z.infer<typeof generationConfigSchema>;
