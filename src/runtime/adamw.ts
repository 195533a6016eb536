/**
 * @file One AdamW update with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101) and clipping by the global norm.
 *
 *     norm = sqrt(sum over all gradients g^2)           scale = min(1, maxGradNorm / (norm + 1e-6))
 *     m = beta1 m + (1 - beta1) scale g                 v = beta2 v + (1 - beta2) (scale g)^2
 *     value -= learningRate (m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + epsilon) + weightDecay value)
 *
 * The norm is summed in float64 in the order of the parameters, so an update depends on nothing but its inputs.
 */
import { UserError } from "../errors.js";
import type { AdamWOptions, Slot, StepResult } from "./device.js";
import type { AdamWCoefficients, VectorKernels } from "./kernels/kernels.js";
import type { ParameterLayout } from "./parameter-layout.js";

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
  expect("epsilon", "to be more than 0", positive);
  expect("weightDecay", "to be 0 or more", notNegative);
  expect("step", "to be an integer from 1 on", (x) => Number.isInteger(x) && x >= 1);
  if (options.maxGradNorm !== null) expect("maxGradNorm", "to be more than 0, or null", positive);
  if (options.emaDecay !== null) expect("emaDecay", "in [0, 1], or null", (x) => x >= 0 && x <= 1);
}

function coefficientsOf(options: AdamWOptions, gradNorm: number, decays: boolean): AdamWCoefficients {
  const { learningRate, beta1, beta2, epsilon, weightDecay, maxGradNorm, step } = options;
  return {
    // 1e-6 as in PyTorch's clip_grad_norm_: steps can be compared.
    gradientScale: maxGradNorm === null ? 1 : Math.min(1, maxGradNorm / (gradNorm + 1e-6)),
    beta1,
    beta2,
    keep: decays ? 1 - learningRate * weightDecay : 1,
    rate: learningRate / (1 - beta1 ** step),
    rootScale: 1 / Math.sqrt(1 - beta2 ** step),
    epsilon,
  };
}

/** Updates the trainable parameters. `view` finds their arrays; options must have passed `checkAdamW`. */
export function adamwStep(
  layout: ParameterLayout,
  view: (slot: Slot, name: string) => Float32Array,
  kernels: VectorKernels,
  options: AdamWOptions,
): StepResult {
  let squares = 0;
  for (const { name } of layout.trainable) squares += kernels.sumOfSquares(view("gradient", name));
  const gradNorm = Math.sqrt(squares);
  if (!Number.isFinite(gradNorm)) return { gradNorm, applied: false };

  const decaying = coefficientsOf(options, gradNorm, true);
  const constant = coefficientsOf(options, gradNorm, false);
  const noDecay = new Set(options.noDecay);
  for (const { name } of layout.trainable) {
    const value = view("value", name);
    kernels.adamw(
      value,
      view("gradient", name),
      view("moment1", name),
      view("moment2", name),
      noDecay.has(name) ? constant : decaying,
    );
    if (options.emaDecay !== null) kernels.ema(view("ema", name), value, options.emaDecay);
  }
  return { gradNorm, applied: true };
}
