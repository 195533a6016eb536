/** @file How text is drawn from a trained model; kept beside it as `generation_config.json`. */
import { z } from "zod";

export const generationConfigSchema = z.strictObject({
  length: z.int().min(1).default(1024).describe("tokens to write, the given text included"),
  steps: z.int().min(1).default(64).describe("denoising steps"),
  sampler: z
    .enum(["auto", "ancestral", "ddim", "absorbing"])
    .default("auto")
    .describe("how a step goes from t to s; auto: what fits the process the model was trained with"),
  temperature: z.number().min(0).default(0.8).describe("of the draw of tokens; 0: always the likeliest"),
  topK: z.int().min(0).default(0).describe("draw among this many likeliest tokens only; 0: all"),
  topP: z
    .number()
    .gt(0)
    .max(1)
    .default(0.95)
    .describe("draw among the likeliest tokens that reach this mass"),
  seed: z.int().min(0).default(1).describe("seed of every random number of the text"),
  num: z.int().min(1).default(1).describe("texts to write"),
  clamp: z.boolean().default(false).describe("move every prediction to its nearest embedding (DiffuSeq)"),
  eta: z.number().min(0).max(1).default(0).describe("ddim: share of fresh noise; 0: deterministic"),
  release: z
    .enum(["random", "confidence"])
    .default("random")
    .describe(
      "which absorbed positions are released first: random ones, or the surest (repeats itself more)",
    ),
});

/** One generation (see the field descriptions). */
export type GenerationConfig = z.infer<typeof generationConfigSchema>;
