/**
 * @file One step of the reverse process, from t to s, for one sequence. On the positions in the Gaussian branch
 * samplers are linear in the predicted x0, the state and fresh noise xi:
 *
 *     z_s = m + A (x0 - m) + B (z_t - m) + S xi
 *
 *     ancestral (DDPM, arXiv 2006.11239)   A, B, S^2 = the posterior q(z_s | z_t, x0)
 *     DDIM (2010.02502)                    S = eta * posterior deviation, B = sqrt(sigma_s^2 - S^2) / sigma_t, A = a_s - B a_t
 *     DPM-Solver++                         S = 0, earlier predictions count too: dpm-solver.ts
 *
 * eta = 1 is ancestral, eta = 0 deterministic. Released positions join at level s: z_s = m + a_s (x0 - m) + sigma_s xi.
 *
 * What x0 is, the caller says. With the mean of the prediction, ancestral and DDIM are exact as steps get small; with the
 * code of a drawn token, ancestral is exact for any number of steps as far as a single position goes. A released position
 * always wants a drawn one (`drawn`): around a mean of many tokens it would stand where no text stands.
 */
import type { DiffusionProcess } from "../diffusion/process.js";
import { UserError } from "../errors.js";
import { type CounterRandom, Stream } from "../random/index.js";
import type { Floats, Solver } from "./dpm-solver.js";
import { type ReleaseContext, type ReleasePolicy, releaseAbsorbed } from "./steppers-release.js";

/** One sequence of N positions with codes of width D on its way from t to s. */
export interface StepContext extends ReleaseContext {
  /** m: [D]. */
  readonly m: Floats;
  /** The prediction at t: [N, D]. */
  readonly x0: Floats;
  /** Codes of drawn tokens, for released positions: [N, D]. Default: x0. */
  readonly drawn?: Floats;
  /** The state: [N, D], changed in place on targets. */
  readonly z: Floats;
}

export interface StepOptions extends ReleasePolicy {
  /** "absorbing" moves the positions in the Gaussian branch as "ancestral" does. */
  readonly sampler: "ancestral" | "ddim" | "dpm-solver++" | "absorbing";
  /** DDIM: share of fresh noise, in [0, 1]. Default 0. */
  readonly eta?: number;
  /** Fresh noise is so many times as large as the process has it. Default 1. */
  readonly noiseTemperature?: number;
  /** "dpm-solver++": the sequence's own, as it remembers. */
  readonly solver?: Solver;
}

/** A, B, S of one step of the Gaussian branch. */
export interface StepCoefficients {
  readonly x0Coefficient: number;
  readonly zCoefficient: number;
  readonly deviation: number;
}

/** Coefficients of q(z_s | z_t, x0). */
export function ancestralCoefficients(process: DiffusionProcess, s: number, t: number): StepCoefficients {
  const { x0Coefficient, zCoefficient, variance } = process.posterior(s, t);
  return { x0Coefficient, zCoefficient, deviation: Math.sqrt(variance) };
}

/** Coefficients of DDIM with a share `eta` of fresh noise. */
export function ddimCoefficients(process: DiffusionProcess, s: number, t: number, eta = 0): StepCoefficients {
  const from = process.level(t);
  const to = process.level(s);
  const variance = eta * eta * process.posterior(s, t).variance;
  const zCoefficient = from.sigma === 0 ? 0 : Math.sqrt(Math.max(0, to.sigma ** 2 - variance)) / from.sigma;
  return {
    x0Coefficient: to.signal - zCoefficient * from.signal,
    zCoefficient,
    deviation: Math.sqrt(variance),
  };
}

/** What the state of a sequence starts from. Arrays are filled in place, on targets. */
export interface StartContext {
  readonly process: DiffusionProcess;
  /** [N, D], m at absorbed positions. */
  readonly z: Floats;
  /** [N] */
  readonly absorbed: Uint8Array;
  /** [N] 1: to be generated. */
  readonly target: Uint8Array;
  /** [D] */
  readonly m: Floats;
  readonly random: CounterRandom;
  readonly sequence: number;
  /** Step its random numbers belong to. Default 0. */
  readonly step?: number;
  /** The noise is so many times as large as the process has it. Default 1. */
  readonly noiseTemperature?: number;
}

/** Normal numbers for all of z, of this deviation. */
function samplerNoise(
  { z, random, sequence, step = 0 }: Pick<StartContext, "z" | "random" | "sequence" | "step">,
  deviation = 1,
): Float32Array {
  const noise = new Float32Array(z.length);
  random.fillNormal(noise, Stream.SamplerNoise, sequence, step);
  return deviation === 1 ? noise : noise.map((x) => deviation * x);
}

/** Draws a state of the Gaussian branch at t = 1, m and noise; `startAbsorbed` alone is enough in the masked limit. */
export function startState(context: StartContext): void {
  const { process, z, absorbed, target, m } = context;
  startAbsorbed(context);
  const { sigma } = process.level(1);
  const width = m.length;
  const noise = samplerNoise(context, context.noiseTemperature);
  for (let p = 0; p < target.length; p++) {
    if (target[p] === 0) continue;
    for (let d = 0; d < width; d++) {
      const at = p * width + d;
      z[at] = absorbed[p] === 1 ? m[d] : m[d] + sigma * noise[at];
    }
  }
}

/** Draws which targets are absorbed at the start: `absorbed` [N] is filled in place. */
export function startAbsorbed(
  context: Pick<StartContext, "process" | "absorbed" | "target" | "random" | "sequence" | "step">,
): void {
  const { process, absorbed, target, random, sequence, step = 0 } = context;
  const probability = process.absorbed(1);
  const uniforms = new Float32Array(target.length);
  random.fillUniform(uniforms, Stream.Absorb, sequence, step);
  for (let p = 0; p < target.length; p++) absorbed[p] = target[p] === 1 && uniforms[p] < probability ? 1 : 0;
}

/**
 * One step of a Gaussian process: moves the positions in the Gaussian branch, then releases absorbed ones into it.
 * (In the masked limit there is nothing to move: use `releaseAbsorbed`.) Returns the released positions.
 */
export function stepGaussian(context: StepContext, options: StepOptions): number[] {
  const { process, s, m, x0, z, absorbed, target } = context;
  const width = m.length;
  const free: number[] = [];
  for (let p = 0; p < target.length; p++) if (target[p] === 1 && absorbed[p] === 0) free.push(p);
  const released = releaseAbsorbed(context, options);

  const coefficients = options.sampler === "dpm-solver++" ? null : linearCoefficients(context, options);
  const noisy = (coefficients && coefficients.deviation > 0) || released.length > 0;
  const noise = noisy ? samplerNoise(context, options.noiseTemperature) : new Float32Array(z.length);
  if (coefficients) {
    const { x0Coefficient, zCoefficient, deviation } = coefficients;
    for (const p of free) {
      for (let d = 0, at = p * width; d < width; d++, at++) {
        z[at] =
          m[d] + x0Coefficient * (x0[at] - m[d]) + zCoefficient * (z[at] - m[d]) + deviation * noise[at];
      }
    }
  } else {
    if (!options.solver)
      throw new UserError('The sampler "dpm-solver++" needs a solver; pass createSolver(...).');
    options.solver.move(context, free);
  }
  const { signal, sigma } = process.level(s);
  const drawn = context.drawn ?? x0;
  for (const p of released) {
    for (let d = 0, at = p * width; d < width; d++, at++) {
      z[at] = m[d] + signal * (drawn[at] - m[d]) + sigma * noise[at];
    }
  }
  return released;
}

function linearCoefficients({ process, s, t }: StepContext, { sampler, eta }: StepOptions): StepCoefficients {
  return sampler === "ddim" ? ddimCoefficients(process, s, t, eta) : ancestralCoefficients(process, s, t);
}
