/**
 * @file The absorbing update: which of the positions still absorbed at t are released on the way to s.
 *
 *     P(released | absorbed at t) = (g(t) - g(s)) / (g(t) - g(0))
 *
 *     random                  every position by itself: the reverse of the forward process
 *     confidence              as many as expected, those with the largest p(token) first (MaskGIT, arXiv 2202.04200)
 *     margin                  ... with the largest p(likeliest) - p(second) (2502.06768)
 *     entropy                 ... with the smallest entropy of p (2508.15487)
 *     left-to-right           ... standing furthest left
 *     confidence-threshold    all with p(token) from a threshold on, and at least as many as "confidence" would (2505.22618)
 *
 * All but the first are no reverse of the forward process, and repeat themselves.
 * As the expected number is a share of those still absorbed, and at the last step all of them, everything is released in time.
 */
import type { GenerationConfig } from "../config/index.js";
import { UserError } from "../errors.js";
import { type CounterRandom, Stream } from "../random/index.js";
import type { SamplingProcess } from "./sampling-times.js";

/** One sequence of N positions on its way from t to s. */
export interface ReleaseContext {
  readonly process: SamplingProcess;
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
  readonly release: GenerationConfig["release"];
  /** Release so many (as far as there are), whatever is expected. Autoregressive models: 1. Not for "random". */
  readonly count?: number;
  /** [N] how sure every position is of the token it would take, larger first; needed where a policy asks for it. See `releaseScores`. */
  readonly score?: Float32Array;
  /** "confidence-threshold": positions whose score reaches this are all released. */
  readonly threshold?: number;
  /** Positions to release beyond the expected number. Default 0. */
  readonly extra?: number;
}

/** What is known of tokens drawn at R positions: [R] each. */
export interface DrawnScores {
  readonly confidence: Float32Array;
  readonly margin: Float32Array;
  readonly entropy: Float32Array;
}

/** The scores that a policy ranks drawn tokens by: [R], log p(token) where the policy is about confidence. */
export function releaseScores(release: GenerationConfig["release"], drawn: DrawnScores): Float32Array {
  switch (release) {
    case "margin":
      return drawn.margin;
    case "entropy":
      return drawn.entropy.map((nats) => -nats);
    default:
      return drawn.confidence.map(Math.log);
  }
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
  const candidates: number[] = [];
  for (let p = 0; p < target.length; p++) if (target[p] === 1 && absorbed[p] === 1) candidates.push(p);
  if (candidates.length === 0) return [];
  const uniforms = new Float32Array(target.length + 1);
  random.fillUniform(uniforms, Stream.Release, sequence, step);
  const share = process.releaseProbability(s, t) + (policy.extra ?? 0) / candidates.length;
  const released =
    policy.release === "random"
      ? candidates.filter((p) => uniforms[p] < share)
      : surest(candidates, Math.min(1, share), uniforms, policy);
  for (const p of released) absorbed[p] = 0;
  return released;
}

/** The expected number of candidates, rounded up or down at random (last uniform number), with the highest scores. */
function surest(
  candidates: number[],
  share: number,
  uniforms: Float32Array,
  { release, score, threshold = Number.POSITIVE_INFINITY, count: wanted }: ReleasePolicy,
): number[] {
  if (!score && release !== "left-to-right") {
    throw new UserError(
      `Release by "${release}" needs the score of every position; pass it, or release "random".`,
    );
  }
  let count = wanted ?? Math.floor(candidates.length * share + uniforms[uniforms.length - 1]);
  if (release === "left-to-right" || !score) return candidates.slice(0, count);
  if (release === "confidence-threshold") {
    // At least one: a step that releases nothing would leave the next one the same work.
    count = Math.max(count, 1, candidates.filter((p) => score[p] >= threshold).length);
  }
  // Equal scores: the earlier position first, so that the order never depends on the sort.
  return candidates
    .sort((a, b) => score[b] - score[a] || a - b)
    .slice(0, count)
    .sort((a, b) => a - b);
}
