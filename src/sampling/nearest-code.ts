/**
 * @file Clamping (DiffuSeq, arXiv 2210.08933): every prediction moves to the codebook vector nearest to it.
 *
 *     x0 <- E_v,   v = argmin_v |x0 - E_v|^2 = argmax_v <x0, E_v> - |E_v|^2 / 2
 */
import type { ModelConfig } from "../config/index.js";
import { argMax, type GraphModule, gather, input, mul, reduceSum, tiedLogits } from "../graph/index.js";
import { denoiserParameters } from "../model/denoiser.js";
import { embeddings } from "../model/embeddings.js";
import { parameterTensors } from "../model/parameters.js";

/** Input x0 float32 [R, D], output code float32 [R, D]. */
export function nearestCodeModule(model: ModelConfig): GraphModule {
  const { codebook } = embeddings(model, parameterTensors(denoiserParameters(model)));
  const x0 = input("x0", "float32", [null, model.embeddingSize]);
  const halfNorms = mul(reduceSum(mul(codebook, codebook), [1]), -0.5);
  const nearest = argMax(tiedLogits([{ x: x0, table: codebook, bias: halfNorms }]));
  return { name: "nearestCode", outputs: { code: gather(codebook, nearest) } };
}
