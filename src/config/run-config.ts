/** @file One run's whole configuration: the five sections together, and the checks that cross them. */
import { z } from "zod";
import { dataConfigSchema } from "./data-config.js";
import { diffusionConfigSchema } from "./diffusion-config.js";
import { generationConfigSchema } from "./generation-config.js";
import { modelConfigSchema } from "./model-config.js";
import { trainingConfigSchema } from "./training-config.js";

export const runConfigSchema = z
  .strictObject({
    preset: z
      .string()
      .nullable()
      .default(null)
      .describe("the preset this configuration started from; the other fields are what counts"),
    model: modelConfigSchema.prefault({}).describe("the network"),
    diffusion: diffusionConfigSchema.prefault({}).describe("the noise and the loss"),
    training: trainingConfigSchema.prefault({}).describe("the training run"),
    data: dataConfigSchema.prefault({}).describe("the texts"),
    generation: generationConfigSchema.prefault({}).describe("drawing text"),
  })
  .superRefine(({ model, diffusion, training }, context) => {
    const fail = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
    if (model.inputDecoding === "posterior-mean" && !diffusion.gaussian) {
      fail(
        ["model", "inputDecoding"],
        'must be "none" when diffusion.gaussian is false: without noise there is nothing to decode',
      );
    }
    if (
      model.inputDecoding === "posterior-mean" &&
      model.codebook === "learned" &&
      model.embeddingNorm === "none"
    ) {
      fail(
        ["model", "inputDecoding"],
        'must be "none" with model.codebook "learned" and model.embeddingNorm "none": the posterior mean takes codes to be of one length',
      );
    }
    if (model.codebook === "fixed" && diffusion.mseWeight > 0) {
      fail(
        ["diffusion", "mseWeight"],
        'must be 0 with model.codebook "fixed": frozen random vectors are not a regression target',
      );
    } else if (model.prediction === "mixture" && diffusion.mseWeight > 0) {
      fail(
        ["diffusion", "mseWeight"],
        'must be 0 with model.prediction "mixture", whose x0_hat is made of probabilities that the cross entropy teaches',
      );
    }
    // In the masked limit x0_hat moves no state, and f is learned as part of the logits.
    if (model.prediction === "embedding" && diffusion.gaussian && diffusion.mseWeight === 0) {
      fail(
        ["diffusion", "mseWeight"],
        'must be above 0 with model.prediction "embedding" and diffusion.gaussian true: nothing else teaches x0',
      );
    }
    if (training.backwardPieces > 1 && training.activationCheckpointing === "none") {
      fail(
        ["training", "backwardPieces"],
        'must be 1 with training.activationCheckpointing "none": every activation would be copied from piece to piece; set that to "layers"',
      );
    }
    if (training.backwardPieces > model.numLayers) {
      fail(
        ["training", "backwardPieces"],
        `must be at most model.numLayers, ${model.numLayers}: pieces are made of whole layers`,
      );
    }
    if (diffusion.objective === "next-token") {
      const wanted: [string[], string, boolean][] = [
        [["model", "attention", "causal"], "true", model.attention.causal],
        [["model", "timeConditioning"], "false", !model.timeConditioning],
        [["model", "selfConditioning"], "false", !model.selfConditioning],
        [["model", "experts", "router"], '"top-k" or "top-p"', model.experts.router !== "expert-choice"],
        [
          ["model", "experts", "capacityFactor"],
          "null",
          model.experts.capacityFactor === null || model.experts.numExperts <= 1,
        ],
      ];
      for (const [path, value, holds] of wanted)
        if (!holds)
          fail(
            path,
            `must be ${value} with diffusion.objective "next-token": a token may depend on those before it alone`,
          );
    }
    const { globalTokens } = model.attention;
    if (training.sequenceLength <= globalTokens) {
      fail(
        ["training", "sequenceLength"],
        `must be more than model.attention.globalTokens (${globalTokens}), got ${training.sequenceLength}`,
      );
    }
  });

/** A run's whole configuration, every field present. */
export type RunConfig = z.infer<typeof runConfigSchema>;
/** The same with every field optional: what presets and configuration files hold. */
export type PartialRunConfig = z.input<typeof runConfigSchema>;
