/**
 * @file The loss of a batch that padding rows fill up. Routers' terms are means over the batch's rows, those of padding and their zeros
 * included, while the others are means over its texts: here all are, so that a row's loss does not depend on what fills its batch.
 */
import type { ModelConfig } from "../config/model-config.js";
import type { TensorData } from "../graph/index.js";
import { type LossTerm, lossTerms } from "./modules.js";

/**
 * Means over the `rows` texts of a batch.
 *
 * @param outputs of a training or evaluation module: scalars, and nll [B, N], which tells the batch's rows
 */
export function lossOfRows(
  { experts }: Pick<ModelConfig, "experts">,
  outputs: Readonly<Record<string, TensorData>>,
  rows: number,
): { loss: number; terms: Partial<Record<LossTerm, number>> } {
  const routerWeights: Partial<Record<LossTerm, number>> = {
    balance: experts.balanceLossWeight,
    z: experts.zLossWeight,
  };
  const share = outputs.nll.shape[0] / rows;
  let loss = Number(outputs.loss.data[0]);
  const terms: Partial<Record<LossTerm, number>> = {};
  for (const term of lossTerms) {
    if (!outputs[term]) continue;
    const value = Number(outputs[term].data[0]);
    const weight = routerWeights[term];
    terms[term] = weight === undefined ? value : value * share;
    if (weight !== undefined) loss += weight * value * (share - 1);
  }
  return { loss, terms };
}
