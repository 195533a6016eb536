/** @file The kernels as plain loops. Every operation is rounded to float32, as the SIMD form rounds it. */
import type { VectorKernels } from "./kernels.js";

const f = Math.fround;

export const referenceKernels: VectorKernels = {
  adamw(value, gradient, moment1, moment2, coefficients) {
    const gradientScale = f(coefficients.gradientScale);
    const beta1 = f(coefficients.beta1);
    const beta2 = f(coefficients.beta2);
    const rest1 = f(1 - coefficients.beta1);
    const rest2 = f(1 - coefficients.beta2);
    const keep = f(coefficients.keep);
    const rate = f(coefficients.rate);
    const rootScale = f(coefficients.rootScale);
    const epsilon = f(coefficients.epsilon);
    for (let i = 0; i < value.length; i++) {
      const g = f(gradient[i] * gradientScale);
      const m = f(f(moment1[i] * beta1) + f(g * rest1));
      const v = f(f(moment2[i] * beta2) + f(f(g * g) * rest2));
      const denominator = f(f(f(Math.sqrt(v)) * rootScale) + epsilon);
      moment1[i] = m;
      moment2[i] = v;
      value[i] = f(f(value[i] * keep) - f(f(rate * m) / denominator));
    }
  },

  sumOfSquares(x) {
    const sums = [0, 0, 0, 0];
    const whole = x.length - (x.length % 4);
    for (let i = 0; i < whole; i++) sums[i % 4] += x[i] * x[i];
    let sum = sums[0] + sums[2] + (sums[1] + sums[3]);
    for (let i = whole; i < x.length; i++) sum += x[i] * x[i];
    return sum;
  },

  ema(average, value, decay) {
    const rate = f(1 - decay);
    for (let i = 0; i < average.length; i++) average[i] = f(average[i] + f(f(value[i] - average[i]) * rate));
  },

  addScaled(target, source, scale) {
    const factor = f(scale);
    for (let i = 0; i < target.length; i++) target[i] = f(target[i] + f(source[i] * factor));
  },

  fill(target, x) {
    for (let i = 0; i < target.length; i++) target[i] = x;
  },
};
