/**
 * @file What the network is: embeddings, attention pattern, experts, input and output of the denoiser.
 * Names follow Hugging Face configurations. Checks that need two fields at once stand at the end.
 */
import { z } from "zod";
import { MOST, MOST_EXPERTS, MOST_LAYERS } from "./limits.js";

const share = z.number().min(0).max(1);
const positive = z.number().positive();
const count = z.int().min(0).max(MOST);
const size = z.int().min(1).max(MOST);
const layers = z.int().min(1).max(MOST_LAYERS);

/** The fields of one attention pattern, without defaults: shared by `attention` and its per-layer overrides. */
const pattern = {
  window: size.describe("positions a query sees on each side of itself"),
  dilation: z
    .union([size, z.array(size).min(1)])
    .describe(
      "step between the positions of the window: one number, or one per head (neighbours with the same one run together)",
    ),
  globalTokens: count.describe(
    "learned tokens in front of every document that see, and are seen by, all of it",
  ),
  textGlobals: z
    .enum(["none", "separators", "source"])
    .describe("positions of the text that are made global too: the separators, or the whole source side"),
  maxTextGlobals: count.describe("most text positions made global in one sequence"),
  full: z
    .boolean()
    .describe(
      "every position sees its whole document (window and dilation are ignored; learned globals stay)",
    ),
  causal: z
    .boolean()
    .describe(
      "positions see themselves and what stands before them, never what follows (the input convolution too)",
    ),
};

export const attentionSchema = z.strictObject({
  window: pattern.window.default(128),
  dilation: pattern.dilation.default(1),
  globalTokens: pattern.globalTokens.default(16),
  textGlobals: pattern.textGlobals.default("none"),
  maxTextGlobals: pattern.maxTextGlobals.default(0),
  full: pattern.full.default(false),
  causal: pattern.causal.default(false),
  layers: z
    .record(
      z.string().regex(/^(0|[1-9]\d*)$/, "keys are layer numbers, counted from 0, without leading zeros"),
      z.strictObject({
        window: pattern.window.optional(),
        dilation: pattern.dilation.optional(),
        full: pattern.full.optional(),
      }),
    )
    .default({})
    .describe("settings of single layers that differ: layer number (from 0) -> window, dilation, full"),
});

export const expertsSchema = z.strictObject({
  numExperts: z
    .int()
    .min(0)
    .max(MOST_EXPERTS)
    .default(8)
    .describe("experts in every layer; 0 or 1: one dense feed-forward block instead"),
  topK: size
    .default(2)
    .describe("experts that run for a token (router top-k; top-p: at most; expert-choice: on average)"),
  intermediateSize: size.default(512).describe("hidden width of one expert"),
  router: z
    .enum(["top-k", "top-p", "expert-choice"])
    .default("top-k")
    .describe(
      "who chooses: the token takes its k best experts, or as many as reach topP; or the experts take tokens",
    ),
  topP: share
    .default(0.8)
    .describe("router top-p: the fewest experts whose probabilities add up to this run, at most topK"),
  sharedExpertSize: count.default(0).describe("hidden width of an expert that every token passes; 0: none"),
  balance: z
    .enum(["loss-free", "loss", "none"])
    .default("loss-free")
    .describe("how loads are kept even: a bias on the selection only, the Switch loss, or not at all"),
  balanceUpdate: z
    .number()
    .min(0)
    .default(0.02)
    .describe("loss-free: how far the selection bias moves in one step, at most"),
  balanceLossWeight: z.number().min(0).default(0.01).describe("loss: weight of E * sum_e f_e P_e"),
  zLossWeight: z
    .number()
    .min(0)
    .default(0.001)
    .describe("weight of the router z-loss, mean (logsumexp logits)^2"),
  capacityFactor: positive
    .nullable()
    .default(null)
    .describe(
      "an expert takes at most this times its even share of tokens, the rest are dropped; null: dropless",
    ),
});

export const modelConfigSchema = z
  .strictObject({
    vocabSize: z.int().min(2).max(MOST).default(8192).describe("tokens in the vocabulary"),
    embeddingSize: size.default(128).describe("width of the token embeddings, in which the noise lives"),
    hiddenSize: size.default(256).describe("width of the residual stream"),
    numLayers: layers.default(4).describe("transformer layers"),
    numHeads: layers
      .default(4)
      .describe("attention heads; hiddenSize / numHeads must be even (rotary positions)"),
    normPlacement: z
      .enum(["pre", "post"])
      .default("pre")
      .describe("layer norm before each block, or after its residual sum as in BERT and DiffuSeq"),
    normEpsilon: positive.default(1e-5).describe("added to the variance in layer norm"),
    activation: z
      .enum(["gelu", "quick_gelu", "silu", "relu2"])
      .default("quick_gelu")
      .describe("nonlinearity of the feed-forward blocks"),
    dropout: z.number().min(0).lt(1).default(0).describe("share of block outputs set to zero while training"),
    ropeTheta: positive.default(1000).describe("base of the rotary position frequencies"),
    positionEmbedding: z
      .enum(["none", "sinusoidal"])
      .default("none")
      .describe(
        "absolute positions in the document added to the input, beside the rotary ones (BERT has them)",
      ),
    inputConvolution: size
      .default(3)
      .describe(
        "positions the input layer reads (itself and its neighbours), which tells left from right; odd, 1: off",
      ),
    timeConditioning: z.boolean().default(true).describe("tell the network the noise level t"),
    selfConditioning: z
      .boolean()
      .default(false)
      .describe("feed the last prediction back in (while training: in half of the steps)"),
    embeddingNorm: z.enum(["rms", "none"]).default("rms").describe("scale every embedding row to unit RMS"),
    embeddingInitScale: positive
      .default(0.03)
      .describe("standard deviation of the stored embeddings; under rms it sets how fast they learn"),
    codebook: z
      .enum(["learned", "fixed"])
      .default("fixed")
      .describe("what the noise acts on: the learned embeddings, or a frozen random codebook of unit RMS"),
    inputDecoding: z
      .enum(["none", "posterior-mean"])
      .default("posterior-mean")
      .describe("give the network z itself, or softmax(channel log-likelihood + log unigram) E"),
    prediction: z
      .enum(["embedding", "mixture"])
      .default("mixture")
      .describe(
        "x0 for the solvers: the head's own output, or sum_v p(v) c_v, c the codebook that the noise acts on",
      ),
    logitScale: positive.default(0.25).describe("factor on the output logits"),
    absorbingState: z
      .enum(["learned", "zero"])
      .default("learned")
      .describe("the state m that absorbed positions are in: learned, or the origin"),
    attention: attentionSchema.prefault({}).describe("the sparse attention pattern"),
    experts: expertsSchema.prefault({}).describe("the mixture of experts"),
    feedForwardSize: size
      .default(1024)
      .describe("hidden width of the dense block, when there are no experts"),
  })
  .superRefine((model, context) => {
    const fail = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
    const { hiddenSize, numHeads, numLayers, attention, experts } = model;
    if (hiddenSize % numHeads !== 0) {
      fail(["hiddenSize"], `must be a multiple of model.numHeads (${numHeads}), got ${hiddenSize}`);
    } else if ((hiddenSize / numHeads) % 2 !== 0) {
      fail(
        ["numHeads"],
        `hiddenSize / numHeads = ${hiddenSize / numHeads}; rotary positions turn pairs, so it must be even`,
      );
    }
    if (model.inputConvolution % 2 === 0) {
      fail(["inputConvolution"], `must be odd (as many taps left as right), got ${model.inputConvolution}`);
    }
    if (experts.numExperts > 1 && experts.topK > experts.numExperts) {
      fail(["experts", "topK"], `must be at most numExperts (${experts.numExperts}), got ${experts.topK}`);
    }
    if (attention.textGlobals !== "none" && attention.maxTextGlobals === 0) {
      fail(
        ["attention", "maxTextGlobals"],
        `must be at least 1 when textGlobals is "${attention.textGlobals}"; say how many positions may be global`,
      );
    }
    const checkDilation = (dilation: number | number[] | undefined, path: string[]) => {
      if (Array.isArray(dilation) && dilation.length !== numHeads) {
        fail([...path, "dilation"], `needs one entry per head (${numHeads}), got ${dilation.length}`);
      }
    };
    checkDilation(attention.dilation, ["attention"]);
    for (const [layer, override] of Object.entries(attention.layers)) {
      checkDilation(override.dilation, ["attention", "layers", layer]);
      if (Number(layer) >= numLayers) {
        fail(
          ["attention", "layers", layer],
          `there is no such layer; the last of ${numLayers} is ${numLayers - 1}`,
        );
      }
    }
    if (model.codebook === "fixed" && model.prediction !== "mixture") {
      fail(
        ["prediction"],
        'must be "mixture" with codebook "fixed": the head cannot hit frozen random vectors directly',
      );
    }
  });

/** The network (each field: `moe-diffuseq config --list`, or `configFields()`). */
export type ModelConfig = z.infer<typeof modelConfigSchema>;
/** The attention pattern of the network and its per-layer exceptions. */
export type AttentionConfig = z.infer<typeof attentionSchema>;
/** The experts of every layer and their router. */
export type ExpertsConfig = z.infer<typeof expertsSchema>;
