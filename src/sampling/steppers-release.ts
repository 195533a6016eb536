/**
 * @file The absorbing update: which of the positions still absorbed at t are released on the way to s.
 *
 *     P(released | absorbed at t) = (g(t) - g(s)) / g(t)
 *
 * Drawing every position by itself is the reverse of the forward process. Releasing the surest positions first is not,
 * and repeats itself; random numbers added to the confidence lie between the two.
 */
import type { DiffusionProcess } from "../diffusion/process.js";
import { UserError } from "../errors.js";
import { type CounterRandom, Stream } from "../random/index.js";

/** One sequence of N positions on its way from t to s. */
export interface ReleaseContext {
  readonly process: DiffusionProcess;
  /** Time the state is at. */
  readonly t: number;
  /** Time the state goes to, s <= t. */
  readonly s: number;
  /** [N] 1: in the absorbing state. Changed in place. */
  readonly absorbed: Uint8Array;
  /** [N] 1: to be generated, 0: given. Only targets are released. */
  readonly target: Uint8Array;
  readonly random: CounterRandom;
  /** Number of the sample: the identity of its random numbers. */
  readonly sequence: number;
  /** Number of the update, from 1; 0 belongs to the initial state. */
  readonly step: number;
}

export interface ReleasePolicy {
  /** "random": every position by itself. "confidence": as many as expected, those with the highest confidence. */
  readonly release: "random" | "confidence";
  /** [N] log probability of the token each position would take; needed by "confidence". */
  readonly confidence?: Float32Array;
  /** "confidence": scale of the Gumbel noise added to it; 1 draws in proportion to the probabilities. Default 0. */
  readonly confidenceNoise?: number;
}

/**
 * Releases positions: clears their `absorbed` flag and returns them, ascending. In the masked limit they take their
 * drawn token now; in the Gaussian branch `stepGaussian` places them.
 */
export function releaseAbsorbed(
  context: ReleaseContext,
  policy: ReleasePolicy = { release: "random" },
): number[] {
  const { process, t, s, absorbed, target, random, sequence, step } = context;
  const probability = process.releaseProbability(s, t);
  const uniforms = new Float32Array(target.length + 1);
  random.fillUniform(uniforms, Stream.Release, sequence, step);
  const candidates: number[] = [];
  for (let p = 0; p < target.length; p++) if (target[p] === 1 && absorbed[p] === 1) candidates.push(p);
  const released =
    policy.release === "random"
      ? candidates.filter((p) => uniforms[p] < probability)
      : surest(candidates, probability, uniforms, policy);
  for (const p of released) absorbed[p] = 0;
  return released;
}

/** The expected number of candidates, rounded up or down at random (last uniform number), with the highest scores. */
function surest(
  candidates: number[],
  probability: number,
  uniforms: Float32Array,
  { confidence, confidenceNoise = 0 }: ReleasePolicy,
): number[] {
  if (!confidence) {
    throw new UserError(
      'Release by "confidence" needs the confidence of every position; pass it, or release "random".',
    );
  }
  const count = Math.floor(candidates.length * probability + uniforms[uniforms.length - 1]);
  const score = (p: number) =>
    confidence[p] + (confidenceNoise > 0 ? confidenceNoise * gumbel(uniforms[p]) : 0);
  const scored = candidates.map((p) => ({ p, score: score(p) }));
  // Equal scores: the earlier position first, so that the order never depends on the sort.
  scored.sort((a, b) => b.score - a.score || a.p - b.p);
  return scored
    .slice(0, count)
    .map(({ p }) => p)
    .sort((a, b) => a - b);
}

/** A standard Gumbel number from a uniform one on the grid of 2^-24. */
const gumbel = (uniform: number): number => -Math.log(-Math.log(uniform + 2 ** -25));
