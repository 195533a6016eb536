/**
 * @file A mixture of Gaussians in the plane as the clean data, whose denoiser is known in closed form. With y = (z - m) / sigma and
 * mu = a / sigma, the state is y = mu (x0 - m) + eps and the probability flow is dy / dmu = E[x0 | y] - m, whatever the schedule.
 *
 *     x0 ~ sum_k w_k N(c_k, v I)   =>   E[x0 | z, k] = c_k + a v / (a^2 v + sigma^2) (z - m - a (c_k - m))
 */
import type { DiffusionProcess } from "../../diffusion/process.js";
import { CounterRandom, Stream } from "../../random/index.js";
import type { Floats } from "../dpm-solver.js";

export const DIMENSIONS = 2;
export const centres = [
  [1.2, 0.4],
  [-0.9, 1.1],
  [-0.3, -1.3],
];
export const weights = [0.5, 0.3, 0.2];
/** v: variance of each component. */
export const variance = 0.09;
/** An absorbing state off the origin and off the data's mean. */
export const absorbing = [0.7, -0.6];

/** E[x0 | z] into `out` at position p. z, out: [N, 2] */
export function denoisePosition(z: Floats, p: number, signal: number, sigma: number, out: Floats): void {
  const spread = signal * signal * variance + sigma * sigma;
  const likelihoods = centres.map((centre, k) => {
    let square = 0;
    for (let d = 0; d < DIMENSIONS; d++)
      square += (z[p * DIMENSIONS + d] - absorbing[d] - signal * (centre[d] - absorbing[d])) ** 2;
    return Math.log(weights[k]) - square / (2 * spread);
  });
  const top = Math.max(...likelihoods);
  const masses = likelihoods.map((value) => Math.exp(value - top));
  const total = masses.reduce((a, b) => a + b);
  for (let d = 0; d < DIMENSIONS; d++) {
    const at = p * DIMENSIONS + d;
    out[at] = 0;
    for (const [k, centre] of centres.entries()) {
      const free = z[at] - absorbing[d] - signal * (centre[d] - absorbing[d]);
      out[at] += (masses[k] / total) * (centre[d] + ((signal * variance) / spread) * free);
    }
  }
}

/** E[x0 | z_t] at every position. z: [N, 2] */
export function denoiseAll<T extends Floats>(process: DiffusionProcess, t: number, z: T): T {
  const out = z.slice() as T;
  const { signal, sigma } = process.level(t);
  for (let p = 0; p < z.length / DIMENSIONS; p++) denoisePosition(z, p, signal, sigma, out);
  return out;
}

/** The flow from mu0 to mu1 by the classical Runge-Kutta method in log mu, order 4. y: [N, 2], changed in place. */
export function referenceFlow(y: Float64Array, mu0: number, mu1: number, steps: number): Float64Array {
  const derivative = (state: Float64Array, logMu: number) => {
    const mu = Math.exp(logMu);
    const z = state.map((value, i) => value + absorbing[i % DIMENSIONS]);
    const x0 = z.slice();
    for (let p = 0; p < z.length / DIMENSIONS; p++) denoisePosition(z, p, mu, 1, x0);
    return x0.map((value, i) => mu * (value - absorbing[i % DIMENSIONS]));
  };
  const h = Math.log(mu1 / mu0) / steps;
  const along = (k: Float64Array, by: number) => y.map((value, i) => value + by * k[i]);
  for (let i = 0; i < steps; i++) {
    const at = Math.log(mu0) + i * h;
    const k1 = derivative(y, at);
    const k2 = derivative(along(k1, h / 2), at + h / 2);
    const k3 = derivative(along(k2, h / 2), at + h / 2);
    const k4 = derivative(along(k3, h), at + h);
    for (let j = 0; j < y.length; j++) y[j] += (h / 6) * (k1[j] + 2 * k2[j] + 2 * k3[j] + k4[j]);
  }
  return y;
}

/** P(dimension d of z_t <= x), the marginal distribution of the process at t. */
export function marginalCdf(process: DiffusionProcess, t: number, d: number, x: number): number {
  const { signal, sigma } = process.level(t);
  const deviation = Math.sqrt(signal * signal * variance + sigma * sigma);
  return centres.reduce((sum, centre, k) => {
    const mean = absorbing[d] + signal * (centre[d] - absorbing[d]);
    return sum + weights[k] * normalCdf((x - mean) / deviation);
  }, 0);
}

/** Mean and deviation of dimension d of z_t. */
export function marginalMoments(process: DiffusionProcess, t: number, d: number) {
  const { signal, sigma } = process.level(t);
  const mean = centres.reduce((sum, centre, k) => sum + weights[k] * centre[d], 0);
  const between = centres.reduce((sum, centre, k) => sum + weights[k] * (centre[d] - mean) ** 2, 0);
  const deviation = Math.sqrt(signal * signal * (variance + between) + sigma * sigma);
  return { mean: absorbing[d] + signal * (mean - absorbing[d]), deviation };
}

/** Clean values drawn from the mixture: [N, 2]. */
export function drawMixture(positions: number): Float32Array {
  const random = new CounterRandom(99);
  const out = new Float32Array(DIMENSIONS * positions);
  const uniforms = new Float32Array(positions);
  random.fillNormal(out, Stream.Synthetic, 0, 0);
  random.fillUniform(uniforms, Stream.Synthetic, 1, 0);
  return out.map((eps, i) => {
    const u = uniforms[Math.floor(i / DIMENSIONS)];
    const k = u < weights[0] ? 0 : u < weights[0] + weights[1] ? 1 : 2;
    return centres[k][i % DIMENSIONS] + Math.sqrt(variance) * eps;
  });
}

/** Abramowitz and Stegun 7.1.26; error below 1e-7. */
function normalCdf(x: number): number {
  const u = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2);
  const poly =
    u * (0.254829592 + u * (-0.284496736 + u * (1.421413741 + u * (-1.453152027 + u * 1.061405429))));
  const tail = 0.5 * poly * Math.exp((-x * x) / 2);
  return x < 0 ? tail : 1 - tail;
}
