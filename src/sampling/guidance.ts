/**
 * @file Classifier-free guidance (arXiv 2207.12598): the text is pushed away from what the model writes without the condition.
 *
 *     l = l_u + s (l_c - l_u)          logits that tokens are drawn and guessed from
 *     x0 = x0_u + s (x0_c - x0_u)      Gaussian branch: the prediction that moves the state (mixture or the head's own)
 *
 * c: with the condition, u: without; s = 1 is no guidance, s = 0 no condition. The condition is all that is given: a source, or the
 * text around the gaps. u sees what training shows where condition dropout leaves it out (`withoutConditions`).
 *
 * The two are rows of one batch: the samples' rows, then their twins without condition, with the same state. They meet in the graph
 * (sampling-module.ts): there the logits are still rows of hidden codes times the same tables, so that combining the codes gives the
 * logits of the formula with one product over the vocabulary, and the likeliest tokens come from them too. Samplers see no twins.
 */
import { add, input, mul, slice, sub, type Tensor } from "../graph/index.js";

export interface Guidance {
  /** x [2 T, ...]: what the rows and what their twins say, [T, ...] each; without guidance x alone. */
  sides(x: Tensor): readonly Tensor[];
  /** What both sides come to: [T, ...]. */
  combine(sides: readonly Tensor[]): Tensor;
}

/** Input: guidance float32 [1], s. */
export function guidedRows(): Guidance {
  const scale = input("guidance", "float32", [1]);
  return {
    sides: (x) => {
      const half = x.staticShape[0] / 2;
      return [slice(x, 0, 0, half), slice(x, 0, half, 2 * half)];
    },
    combine: ([conditional, without]) => add(without, mul(sub(conditional, without), scale)),
  };
}

/** Every row speaks for itself. */
export const unguidedRows: Guidance = { sides: (x) => [x], combine: ([x]) => x };
