/**
 * @file What the noise does and what the loss asks for: the soft absorbing process
 * `z_t = m` with probability `absorbRate * s_t`, else `m + a_t (x0 - m) + sigma_t eps` (docs/method.md).
 */
import { z } from "zod";

const weight = z.number().min(0);

export const diffusionConfigSchema = z
  .strictObject({
    objective: z
      .enum(["denoising", "next-token"])
      .default("denoising")
      .describe(
        "what is learned: the clean text behind the noise; or every token from those before it (autoregressive, left to right: the masked " +
          "limit with everything absorbed, no noise levels, and an exact likelihood)",
      ),
    schedule: z
      .enum(["sqrt", "cosine", "linear"])
      .default("sqrt")
      .describe("alpha_bar(t): how fast the signal goes"),
    absorbRate: z
      .number()
      .min(0)
      .max(1)
      .default(0.5)
      .describe("share of the positions absorbed at full noise; 0: Gaussian only, 1: all"),
    gaussian: z
      .boolean()
      .default(true)
      .describe("add Gaussian noise to the positions not absorbed; false: the masked limit"),
    noiseScale: z.number().positive().default(3).describe("factor on the Gaussian noise"),
    timeSampler: z
      .enum(["uniform", "low-discrepancy", "loss-aware"])
      .default("low-discrepancy")
      .describe("how training draws t: independently, spread evenly, or where the loss is large"),
    minTime: z.number().min(0).max(0.5).default(0.004).describe("smallest noise level t"),
    lossWeighting: z
      .enum(["unweighted", "elbo"])
      .default("unweighted")
      .describe("weights over t while training; elbo (masked limit): the loss is a bound on the likelihood"),
    ceWeight: weight.default(1).describe("weight of the cross entropy of the prediction on targets"),
    mseWeight: weight.default(0).describe("weight of |x0 - x0_hat|^2 on targets"),
    priorWeight: weight.default(0).describe("weight of |mean of q(z_T | x0) - m|^2"),
    absorbingNormWeight: weight.default(0.01).describe("weight of |m|"),
    conditionDropout: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .describe("share of training pairs whose source is left out"),
  })
  .superRefine((diffusion, context) => {
    const fail = (path: string, message: string) =>
      context.addIssue({ code: "custom", path: [path], message });
    if (!diffusion.gaussian && diffusion.absorbRate !== 1) {
      fail(
        "absorbRate",
        `must be 1 when gaussian is false (else text stays visible at full noise), got ${diffusion.absorbRate}`,
      );
    }
    if (diffusion.gaussian && diffusion.lossWeighting === "elbo") {
      fail("lossWeighting", 'must be "unweighted" unless diffusion.gaussian is false (the masked limit)');
    }
    if (diffusion.objective === "next-token" && diffusion.gaussian) {
      fail("gaussian", 'must be false with objective "next-token", which knows no noise');
    }
    if (diffusion.ceWeight === 0) {
      fail("ceWeight", "must be above 0: text is read from the logits, which the cross entropy teaches");
    }
  });

/** The noising process, its loss and how training draws noise levels (each field: `moe-diffuseq config --list`, or `configFields()`). */
export type DiffusionConfig = z.infer<typeof diffusionConfigSchema>;
