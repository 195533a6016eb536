/**
 * @file One AdamW update with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101) and clipping by the global norm.
 *
 *     g = gradientScale * gradient                      norm = sqrt(sum over all g^2)
 *     scale = min(1, maxGradNorm / (norm + 1e-6))
 *     m = beta1 m + (1 - beta1) scale g                 v = beta2 v + (1 - beta2) (scale g)^2
 *     value -= learningRate (m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + epsilon) + weightDecay value)
 *
 * The norm is summed in float64 in the order of the parameters, so an update depends on nothing but its inputs.
 *
 * With several ranks the gradient is the sum over all of them. Clipping needs the norm over everything before the first update, so a step has two
 * passes over the buckets: while one bucket's squares are summed the next one's gradients arrive; with a sharded optimiser, while one
 * bucket is updated the values of the one before go out.
 */
import { UserError } from "../errors.js";
import type { AdamWOptions, StepResult } from "./device.js";
import type { AdamWCoefficients } from "./kernels/kernels.js";
import type { ParameterLayout } from "./parameter-layout.js";
import type { ParameterMemory } from "./parameter-memory.js";
import type { RankExchange } from "./rank-exchange.js";

/** @throws UserError when an option is out of its range or a slot or name is missing */
export function checkAdamW(layout: ParameterLayout, options: AdamWOptions): void {
  layout.requireSlot("gradient");
  if (options.emaDecay !== null) layout.requireSlot("ema");
  for (const name of options.noDecay ?? []) layout.require("value", name);
  const expect = (name: keyof AdamWOptions, range: string, within: (x: number) => boolean) => {
    const x = options[name];
    if (typeof x !== "number" || !within(x))
      throw new UserError(`AdamW: expected ${name} ${range}, got ${String(x)}`);
  };
  const fraction = (x: number) => x >= 0 && x < 1;
  const positive = (x: number) => x > 0 && Number.isFinite(x);
  const notNegative = (x: number) => x >= 0 && Number.isFinite(x);
  expect("learningRate", "to be 0 or more", notNegative);
  expect("beta1", "in [0, 1)", fraction);
  expect("beta2", "in [0, 1)", fraction);
  // Less is no normal number in float32, in which it is added: with a gradient of zero 0 / 0 would follow.
  expect("epsilon", "to be 1.2e-38 or more", (x) => x >= 1.2e-38 && Number.isFinite(x));
  expect("weightDecay", "to be 0 or more", notNegative);
  expect("step", "to be an integer from 1 on", (x) => Number.isInteger(x) && x >= 1);
  if (options.gradientScale !== undefined) expect("gradientScale", "to be more than 0", positive);
  if (options.maxGradNorm !== null) expect("maxGradNorm", "to be more than 0, or null", positive);
  if (options.emaDecay !== null) expect("emaDecay", "in [0, 1], or null", (x) => x >= 0 && x <= 1);
}

function coefficientsOf(options: AdamWOptions, gradNorm: number, decays: boolean): AdamWCoefficients {
  const { learningRate, beta1, beta2, epsilon, weightDecay, maxGradNorm, step, gradientScale = 1 } = options;
  return {
    // 1e-6 as in PyTorch's clip_grad_norm_: steps can be compared.
    gradientScale: gradientScale * (maxGradNorm === null ? 1 : Math.min(1, maxGradNorm / (gradNorm + 1e-6))),
    beta1,
    beta2,
    keep: decays ? 1 - learningRate * weightDecay : 1,
    rate: learningRate / (1 - beta1 ** step),
    rootScale: 1 / Math.sqrt(1 - beta2 ** step),
    epsilon,
  };
}

/** Updates the trainable parameters; options must have passed `checkAdamW`. */
export async function adamwStep(
  { layout, buffers, view, kernelsOf }: ParameterMemory,
  options: AdamWOptions,
  exchange: RankExchange,
): Promise<StepResult> {
  const gradNorm = await gradientNorm();
  if (!Number.isFinite(gradNorm)) return { gradNorm, applied: false };

  const decaying = coefficientsOf(options, gradNorm, true);
  const constant = coefficientsOf(options, gradNorm, false);
  const noDecay = new Set(options.noDecay);
  const { emaDecay } = options;
  let leaving = Promise.resolve();
  for (const bucket of layout.buckets) {
    for (const part of bucket.parts) {
      const kernels = kernelsOf(part.name);
      const value = layout.partView(buffers, "value", part);
      kernels.adamw(
        value,
        layout.partView(buffers, "gradient", part),
        layout.partView(buffers, "moment1", part),
        layout.partView(buffers, "moment2", part),
        noDecay.has(part.name) ? constant : decaying,
      );
      // At once, while the values are in the cache; the averages of shards wait for the other ranks' values.
      if (emaDecay !== null && !layout.sharded)
        kernels.ema(layout.partView(buffers, "ema", part), value, emaDecay);
    }
    await leaving;
    leaving = exchange.shareValues(bucket);
  }
  await leaving;
  if (emaDecay !== null && layout.sharded)
    for (const { name } of layout.trainable)
      kernelsOf(name).ema(view("ema", name), view("value", name), emaDecay);
  return { gradNorm, applied: true };

  async function gradientNorm(): Promise<number> {
    let squares = 0;
    const { buckets } = layout;
    let arriving = buckets.length > 0 ? exchange.sumGradients(buckets[0]) : Promise.resolve();
    for (const [k, { parts }] of buckets.entries()) {
      await arriving;
      if (k + 1 < buckets.length) arriving = exchange.sumGradients(buckets[k + 1]);
      for (const part of parts)
        squares += kernelsOf(part.name).sumOfSquares(layout.partView(buffers, "gradient", part));
    }
    return (options.gradientScale ?? 1) * Math.sqrt(await exchange.sumOverShards(squares));
  }
}
