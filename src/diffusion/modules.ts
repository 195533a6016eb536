/**
 * @file The graphs that training, evaluation and sampling run: the denoiser with noise in front and a loss, or a prediction, behind.
 *
 *   u = a_t x0 + sigma_t eps            noisy code without the pull of m (z = u + (1 - a_t) m)
 *   autoregressive: no noise; the same loss with every target absorbed and the token before it as input, so CE = -log p(x_p | x_<p)
 *   L = sum ceWeight * CE + sum mseWeight * |x0 - x0_hat|^2 + sum priorWeight * |x0 - m|^2 + w_m |m| + router losses
 *
 * Inputs beside those of `rowInputs`: noise float32 [B, N, D]; ceWeight, mseWeight, priorWeight float32 [B, N]; levelWeight float32 [B]
 * (loss-aware time sampler); selfCondition float32 [B, N, D]; "dropout:<site>" float32 [T, hidden]; state float32 [B, N, D] (sampling: z
 * itself). |.|^2 is the mean over D.
 */
import type { DiffusionConfig } from "../config/diffusion-config.js";
import type { ModelConfig } from "../config/model-config.js";
import type { ActivationCheckpointing } from "../config/training-config.js";
import {
  add,
  concat,
  crossEntropy,
  cutModule,
  type GraphModule,
  gradient,
  input,
  type LogitTerm,
  minimum,
  mul,
  reduceMean,
  reduceSum,
  reshape,
  sub,
  sumOf,
  type Target,
  type Tensor,
  where,
  withScope,
  zeros,
} from "../graph/index.js";
import { type ActiveShape, activeRows, heldNames } from "../model/active-rows.js";
import { backwardPieces, type DenoiserOutput, denoise, denoiserParameters } from "../model/denoiser.js";
import { absorbingNorm, type Embeddings, embeddings } from "../model/embeddings.js";
import { channelOf, type NoisyCodes } from "../model/input.js";
import { fedDropout, noDropout } from "../model/layer.js";
import { type BatchShape, type RowInputs, rowInputs } from "../model/layout.js";
import { type ParameterLookup, parameterTensors } from "../model/parameters.js";

export interface ModuleConfig {
  readonly model: ModelConfig;
  readonly diffusion: DiffusionConfig;
}

interface Ends {
  readonly rows: RowInputs;
  readonly tokens: Embeddings;
  readonly parameter: ParameterLookup;
  /** ids [T] of the clean text. */
  readonly ids: Tensor;
  readonly selfCondition: Tensor | null;
}

function ends({ model }: ModuleConfig, shape: BatchShape, active: ActiveShape | null = null): Ends {
  const parameter = parameterTensors(denoiserParameters(model));
  const rows = rowInputs(shape, active);
  const positions = shape.batchSize * shape.length;
  const codes = [shape.batchSize, shape.length, model.embeddingSize];
  return {
    rows,
    parameter,
    tokens: embeddings(model, parameter),
    ids: reshape(rows.ids, [positions]),
    selfCondition: model.selfConditioning
      ? reshape(input("selfCondition", "float32", codes), [positions, model.embeddingSize])
      : null,
  };
}

/** Masked limit: there is no noise, and autoregressive each position sees the token before it. */
const absorbedCodes = ({ objective }: DiffusionConfig): NoisyCodes => ({
  centred: null,
  previous: objective === "next-token",
});

/** u = a_t x0 + sigma_t eps [T, D] and x0 itself. */
function noisyCodes({ model, diffusion }: ModuleConfig, { rows, tokens, ids }: Ends) {
  const positions = rows.shape.batchSize * rows.shape.length;
  const column = (x: Tensor) => reshape(x, [positions, 1]);
  const clean = tokens.encode(ids);
  if (!diffusion.gaussian) return { clean, codes: absorbedCodes(diffusion) };
  const { batchSize, length } = rows.shape;
  const noise = input("noise", "float32", [batchSize, length, model.embeddingSize]);
  const eps = reshape(noise, [positions, model.embeddingSize]);
  const centred = add(mul(clean, column(rows.signal)), mul(eps, column(rows.sigma)));
  return { clean, codes: { centred } satisfies NoisyCodes };
}

/** The names of the scalars a loss module yields, beside "loss". */
export const lossTerms = ["ce", "mse", "prior", "absorbingNorm", "balance", "z"] as const;
export type LossTerm = (typeof lossTerms)[number];

interface LossGraph {
  readonly loss: Tensor;
  readonly outputs: Record<string, Tensor>;
  /** The head's own output [B, N, D]. */
  readonly embedding: Tensor;
  readonly parameter: ParameterLookup;
}

function lossGraph(
  config: ModuleConfig,
  shape: BatchShape,
  training: boolean,
  checkpointing: ActivationCheckpointing = "none",
): LossGraph {
  const { model, diffusion } = config;
  const recompute = checkpointing === "layers";
  const e = ends(config, shape);
  const { rows, tokens, parameter } = e;
  const { batchSize, length } = shape;
  const positions = batchSize * length;
  const grid = [batchSize, length];
  const { clean, codes } = noisyCodes(config, e);
  const site = (name: string, like: Tensor) => input(`dropout:${name}`, "float32", like.staticShape);
  const prediction = denoise(model, {
    rows,
    tokens,
    codes,
    selfCondition: e.selfCondition,
    dropout: training && model.dropout > 0 ? fedDropout(site) : noDropout,
    recompute,
    parameter,
  });

  const targets = targetsOf(config, e);
  const nll = withScope("loss", () =>
    sumOf(
      prediction.rowLogits.map(({ terms, rows: own, name }) =>
        withScope(name, () => crossEntropy(terms, targets, own, { recompute })),
      ),
    ),
  );
  const weigh = (name: string, perPosition: Tensor) =>
    reduceSum(mul(reshape(input(name, "float32", grid), [positions]), perPosition), [0]);
  const squared = (a: Tensor, b: Tensor) => {
    const difference = sub(a, b);
    return reduceMean(mul(difference, difference), [1]);
  };
  const terms: Partial<Record<LossTerm, Tensor>> = { ce: weigh("ceWeight", nll) };
  const weighted = [terms.ce!];
  const take = (name: LossTerm, value: Tensor, weight = 1) => {
    terms[name] = value;
    weighted.push(weight === 1 ? value : mul(value, weight));
  };
  const error = diffusion.mseWeight > 0 ? squared(clean, prediction.embedding) : null;
  if (error) take("mse", weigh("mseWeight", error));
  if (diffusion.priorWeight > 0) take("prior", weigh("priorWeight", squared(clean, tokens.absorbing)));
  if (diffusion.absorbingNormWeight > 0 && model.absorbingState === "learned")
    take("absorbingNorm", absorbingNorm(tokens), diffusion.absorbingNormWeight);
  if (prediction.routers.length > 0) {
    const sum = (part: "balance" | "z") =>
      reduceMean(sumOf(prediction.routers.map((r) => r.losses[part])), [0]);
    const { balance, balanceLossWeight, zLossWeight } = model.experts;
    if (balance === "loss") take("balance", sum("balance"), balanceLossWeight);
    if (zLossWeight > 0) take("z", sum("z"), zLossWeight);
  }
  const heard: Record<string, Tensor> = {};
  if (training && diffusion.timeSampler === "loss-aware") {
    // The prior's term knows no level, and is not weighed by the importance of one.
    const levelWeight = reshape(input("levelWeight", "float32", [batchSize]), [batchSize, 1]);
    let own = mul(nll, diffusion.ceWeight);
    if (error) own = add(own, mul(where(prediction.predicted, error, 0), diffusion.mseWeight));
    heard.positionLoss = mul(reshape(own, grid), levelWeight);
  }
  return {
    loss: sumOf(weighted),
    outputs: { ...terms, nll: reshape(nll, grid), ...heard, ...routerStatistics(prediction) },
    embedding: reshape(prediction.embedding, [...grid, model.embeddingSize]),
    parameter,
  };
}

/** Learned global tokens are never targets; their ids lie behind the vocabulary and are brought inside it. */
function targetsOf({ model }: ModuleConfig, { ids }: Ends): Tensor {
  return model.attention.globalTokens > 0 ? minimum(ids, model.vocabSize - 1) : ids;
}

/** expertCounts float32 [L, B, E], tokens that chose each expert, and routerEntropy float32 [L, B], when there are experts. */
function routerStatistics({ routers }: DenoiserOutput): Record<string, Tensor> {
  if (routers.length === 0) return {};
  const stack = (pick: (s: DenoiserOutput["routers"][number]["statistics"]) => Tensor) =>
    concat(
      routers.map(({ statistics }) => {
        const x = pick(statistics);
        return reshape(x, [1, ...x.staticShape]);
      }),
      0,
    );
  return { expertCounts: stack((s) => s.demand), routerEntropy: stack((s) => s.entropy) };
}

/**
 * One training step's graph: loss, its terms, nll [B, N], router statistics, and the gradient of every trainable parameter. For a
 * loss-aware time sampler also positionLoss [B, N], whose mean over a row's targets is what it hears: w(t) (ceWeight CE + mseWeight
 * |x0 - x0_hat|^2), the row's loss before the importance of t.
 */
export function trainingModule(
  config: ModuleConfig,
  shape: BatchShape,
  checkpointing: ActivationCheckpointing = "none",
): GraphModule {
  const { loss, outputs, parameter } = lossGraph(config, shape, true, checkpointing);
  const trainable = denoiserParameters(config.model).filter((d) => d.trainable);
  const gradients = gradient(
    loss,
    trainable.map((d) => parameter(d.name)),
  );
  return {
    name: "training",
    outputs: { loss, ...outputs },
    gradients: Object.fromEntries(trainable.map((d, i) => [d.name, gradients[i]])),
  };
}

/**
 * A training module as `pieces` programs that run one after the other. Each finishes the gradients of some layers, the last ones first;
 * what crosses are held tensors, by the names `prefix`0 and so on.
 */
export const trainingPieces = (
  training: GraphModule,
  model: ModelConfig,
  { pieces, prefix, target }: { readonly pieces: number; readonly prefix: string; readonly target?: Target },
): GraphModule[] =>
  cutModule(
    training,
    backwardPieces(model, pieces).map((definitions) => definitions.map(({ name }) => name)),
    prefix,
    target,
  );

/** The same loss without gradients and dropout; with self-conditioning also the prediction to be fed back, embedding [B, N, D]. */
export function evaluationModule(config: ModuleConfig, shape: BatchShape): GraphModule {
  const { loss, outputs, embedding } = lossGraph(config, shape, false);
  const fedBack: Record<string, Tensor> = config.model.selfConditioning ? { embedding } : {};
  return { name: "evaluation", outputs: { loss, ...outputs, ...fedBack } };
}

/**
 * What the noisy codes alone say, with a unigram prior and no network: nll [B, N]. The baseline that every continuous model must be
 * reported beside.
 */
export function channelModule(config: ModuleConfig, shape: BatchShape): GraphModule {
  const e = ends(config, shape);
  const { codes } = noisyCodes(config, e);
  const targets = targetsOf(config, e);
  const grid = [shape.batchSize, shape.length];
  const positions = shape.batchSize * shape.length;
  // In the masked limit an absorbed position's code says nothing: the prior alone is left.
  const nothing = {
    x: zeros([positions, 1]),
    table: zeros([config.model.vocabSize, 1]),
    bias: e.tokens.prior,
  };
  const channel = channelOf(e.rows, e.tokens, codes);
  const terms: LogitTerm[] = channel ? [channel.term] : [nothing];
  if (channel && config.model.embeddingNorm === "none" && config.model.codebook === "learned") {
    // Codes of several lengths: -(a_t^2 / 2 sigma_t^2) |c|^2 is not the same for all tokens.
    const { codebook } = e.tokens;
    const column = (values: Tensor) => reshape(values, [positions, 1]);
    const x = mul(mul(column(e.rows.signal), column(e.rows.channel)), -0.5);
    terms.push({ x, table: reduceSum(mul(codebook, codebook), [1], true) });
  }
  return { name: "channel", outputs: { nll: reshape(crossEntropy(terms, targets), grid) } };
}

/**
 * What one denoising step predicts from the sampler's state, before anything is multiplied out over the vocabulary. R: the rows that are
 * computed.
 */
export interface DenoisingGraph extends DenoiserOutput {
  readonly tokens: Embeddings;
  /** expertCounts float32 [L, B, E] and routerEntropy float32 [L, B], when there are experts (of active rows as if B were 1); embedding
   * float32 [T, D] (the head's own output, to be fed back) when self-conditioning. */
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/**
 * @param active computes some rows only (active-rows.ts); default: all
 * @param drawn rows for which the last layer is wanted by itself, beside the others; default: none
 */
export function denoisingGraph(
  config: ModuleConfig,
  shape: BatchShape,
  active: ActiveShape | null = null,
  drawn: ActiveShape | null = null,
): DenoisingGraph {
  const { model, diffusion } = config;
  const e = ends(config, shape, active);
  const { batchSize, length } = shape;
  const positions = batchSize * length;
  const wide = [batchSize, length, model.embeddingSize];
  let codes = absorbedCodes(diffusion);
  if (diffusion.gaussian) {
    const z = reshape(input("state", "float32", wide), [positions, model.embeddingSize]);
    const pull = sub(1, reshape(e.rows.signal, [positions, 1]));
    codes = { centred: sub(z, mul(pull, e.tokens.absorbing)) };
  }
  const prediction = denoise(model, {
    rows: e.rows,
    tokens: e.tokens,
    codes,
    selfCondition: e.selfCondition,
    drawn: drawn && activeRows(drawn, shape, "drawn"),
    parameter: e.parameter,
  });
  return {
    ...prediction,
    tokens: e.tokens,
    outputs: {
      ...routerStatistics(prediction),
      ...(model.selfConditioning ? { embedding: prediction.embedding } : {}),
    },
  };
}

/**
 * The keys and values of every layer as outputs that stay on the device, for later runs on active rows: those of all rows, or of the
 * active ones that were computed.
 */
export const heldOutputs = (
  { keysAndValues }: DenoiserOutput,
  rows: "all" | "active" = "all",
): Record<string, Tensor> =>
  Object.fromEntries(
    keysAndValues.flatMap(({ key, value }, layer) => {
      const names = heldNames(layer, rows === "all" ? "held" : "held-rows");
      return [
        [names.key, key],
        [names.value, value],
      ];
    }),
  );

/** The codebook [V, D] and m [D] as the samplers need them on the host. */
export function codebookModule({ model }: ModuleConfig): GraphModule {
  const tokens = embeddings(model, parameterTensors(denoiserParameters(model)));
  return {
    name: "codebook",
    outputs: { codebook: tokens.codebook, absorbing: reshape(tokens.absorbing, [model.embeddingSize]) },
  };
}
