import { describe, expect, it } from "vitest";
import type { DiffusionProcess, ProcessOptions } from "../diffusion/process.js";
import { CounterRandom, Stream } from "../random/index.js";
import { SamplingProcess, samplingTimes } from "./sampling-times.js";
import {
  ancestralCoefficients,
  ddimCoefficients,
  type StepOptions,
  startAbsorbed,
  startState,
  stepGaussian,
} from "./steppers.js";
import { releaseAbsorbed, releaseScores } from "./steppers-release.js";

const random = new CounterRandom(2024);

/** Four tokens in the plane, unequally likely: the denoiser is known in closed form. */
const codes = [
  Float32Array.of(1.2, 0.4),
  Float32Array.of(-0.9, 1.1),
  Float32Array.of(-0.5, -1.3),
  Float32Array.of(1.0, -0.8),
];
const prior = [0.4, 0.3, 0.2, 0.1];

/** p(token | z) of one position: [4]. */
function posterior(
  process: DiffusionProcess,
  t: number,
  z: Float32Array,
  m: Float32Array,
  absorbed: number,
): number[] {
  if (absorbed === 1) return prior;
  const { signal, sigma } = process.level(t);
  const weights = codes.map((code, k) => {
    const dx = z[0] - m[0] - signal * (code[0] - m[0]);
    const dy = z[1] - m[1] - signal * (code[1] - m[1]);
    return prior[k] * Math.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma));
  });
  const total = weights[0] + weights[1] + weights[2] + weights[3];
  // Far out every weight underflows; the nearest code is then as good as certain, and never met by these states.
  if (total === 0) throw new Error("state too far from every code");
  return weights.map((w) => w / total);
}

function draw(probabilities: number[], uniform: number): number {
  let k = 0;
  for (let rest = uniform; k < probabilities.length - 1 && rest >= probabilities[k]; k++)
    rest -= probabilities[k];
  return k;
}

interface Experiment extends StepOptions {
  process: SamplingProcess;
  steps: number;
  m: Float32Array;
  /** What the sampler takes for x0. */
  prediction: "mean" | "drawn";
  positions: number;
}

/** Samples independent positions; gives the tokens and calls `look` with the state after each step. */
function sample(
  { process, steps, m, prediction, positions, ...options }: Experiment,
  look?: (time: number, z: Float32Array, absorbed: Uint8Array) => void,
): number[] {
  const target = new Uint8Array(positions).fill(1);
  const absorbed = new Uint8Array(positions);
  const z = new Float32Array(2 * positions);
  const shared = { process, z, m, absorbed, target, random, sequence: 3 };
  startState({ ...shared, noiseTemperature: options.noiseTemperature });
  const grid = samplingTimes(process, steps, "uniform");
  const uniforms = new Float32Array(positions);
  const drawn = new Float32Array(2 * positions);
  const mean = new Float32Array(2 * positions);
  let tokens: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const t = grid[step - 1];
    random.fillUniform(uniforms, Stream.Draw, 3, step);
    tokens = Array.from(uniforms, (uniform, p) => {
      const weights = posterior(process, t, z.subarray(2 * p, 2 * p + 2), m, absorbed[p]);
      for (let d = 0; d < 2; d++) mean[2 * p + d] = weights.reduce((sum, w, k) => sum + w * codes[k][d], 0);
      const token = draw(weights, uniform);
      drawn.set(codes[token], 2 * p);
      return token;
    });
    const x0 = prediction === "mean" ? mean : drawn;
    stepGaussian({ ...shared, t, s: grid[step], x0, drawn, step }, options);
    look?.(grid[step], z, absorbed);
  }
  return tokens;
}

/** Pearson's statistic of token counts; 16.3 is exceeded once in a thousand times (3 degrees of freedom). */
function chiSquare(tokens: number[], expected = prior): number {
  const counts = expected.map((_, k) => tokens.filter((token) => token === k).length);
  return expected.reduce((sum, p, k) => sum + (counts[k] - p * tokens.length) ** 2 / (p * tokens.length), 0);
}

const soft: ProcessOptions = { schedule: "sqrt", absorbRate: 0.5, gaussian: true, noiseScale: 2 };
const plain: ProcessOptions = { schedule: "sqrt", absorbRate: 0, gaussian: true, noiseScale: 1 };
const off = Float32Array.of(0.7, -0.6);
const origin = new Float32Array(2);
const base = { release: "random", positions: 3000 } as const;

describe("with the exact denoiser, samples follow the known distribution", () => {
  it.each([
    [
      "ancestral, soft absorbing, mean",
      { process: soft, m: off, sampler: "ancestral", prediction: "mean", steps: 80 },
    ],
    [
      "ancestral, soft absorbing, drawn, few steps",
      { process: soft, m: off, sampler: "ancestral", prediction: "drawn", steps: 6 },
    ],
    [
      "ancestral, DiffuSeq",
      { process: plain, m: origin, sampler: "ancestral", prediction: "mean", steps: 80 },
    ],
    ["DDIM, soft absorbing", { process: soft, m: off, sampler: "ddim", prediction: "mean", steps: 80 }],
    [
      "DDIM eta 0.5, soft absorbing",
      { process: soft, m: off, sampler: "ddim", eta: 0.5, prediction: "mean", steps: 80 },
    ],
    [
      "DDIM, cosine",
      { process: { ...plain, schedule: "cosine" }, m: off, sampler: "ddim", prediction: "mean", steps: 80 },
    ],
  ] as const)("%s", (_, { process, ...settings }) => {
    const tokens = sample({ ...base, ...settings, process: new SamplingProcess(process) });
    expect(chiSquare(tokens)).toBeLessThan(16.3);
  });

  it("and the test would notice a process taken for zero-mean", () => {
    // What DiffuSeq-v2's code does: the denoiser knows m, the update does not.
    const process = new SamplingProcess({ ...soft, absorbRate: 0 });
    const grid = samplingTimes(process, 50, "uniform");
    const positions = 2000;
    const z = new Float32Array(2 * positions);
    const absorbed = new Uint8Array(positions);
    const target = new Uint8Array(positions).fill(1);
    const m = Float32Array.of(3, -3);
    startState({ process, z, absorbed, target, m, random, sequence: 3 });
    let tokens: number[] = [];
    for (let step = 1; step <= 50; step++) {
      const x0 = new Float32Array(2 * positions);
      tokens = Array.from(target, (_, p) => {
        const weights = posterior(process, grid[step - 1], z.subarray(2 * p, 2 * p + 2), m, 0);
        for (let d = 0; d < 2; d++) x0[2 * p + d] = weights.reduce((sum, w, k) => sum + w * codes[k][d], 0);
        return weights.indexOf(Math.max(...weights));
      });
      const context = {
        process,
        t: grid[step - 1],
        s: grid[step],
        m: origin,
        x0,
        z,
        absorbed,
        target,
        random,
        sequence: 3,
        step,
      };
      stepGaussian(context, { sampler: "ancestral", release: "random" });
    }
    expect(chiSquare(tokens)).toBeGreaterThan(100);
  });

  it("and with less noise, the token that is written without any takes over", () => {
    const settings = {
      ...base,
      process: new SamplingProcess(plain),
      m: origin,
      prediction: "mean",
      steps: 40,
    } as const;
    const write = (sampler: "ancestral" | "ddim", noiseTemperature: number) =>
      sample({ ...settings, sampler, noiseTemperature });
    for (const sampler of ["ancestral", "ddim"] as const) {
      const [alone] = write(sampler, 0);
      const shares = [1.5, 1, 0.6, 0].map((temperature) => {
        const tokens = write(sampler, temperature);
        return tokens.filter((token) => token === alone).length / tokens.length;
      });
      expect(shares.every((own, i) => i === 0 || own > shares[i - 1])).toBe(true);
      expect(shares[3]).toBeGreaterThan(0.95);
    }
  });

  it("and the state has the process's marginals on the way", () => {
    const process = new SamplingProcess(soft);
    const mean = [0, 1].map((d) => prior.reduce((sum, w, k) => sum + w * codes[k][d], 0));
    const settings = {
      ...base,
      process,
      m: off,
      sampler: "ancestral",
      prediction: "drawn",
      steps: 4,
    } as const;
    sample(settings, (time, z, absorbed) => {
      const { signal, sigma, absorbed: left } = process.level(time);
      // The sampler releases what the clean text has absorbed along with the rest.
      const [all, rest] = [process.absorbed(1), process.absorbed(0)];
      const g = (all * (left - rest)) / (all - rest);
      const share = absorbed.reduce((a, b) => a + b) / absorbed.length;
      expect(Math.abs(share - g)).toBeLessThan(4 * Math.sqrt((g * (1 - g)) / absorbed.length) + 1e-9);
      for (let d = 0; d < 2; d++) {
        const values = Array.from(absorbed.keys()).flatMap((p) => (absorbed[p] ? [] : [z[2 * p + d]]));
        const average = values.reduce((a, b) => a + b) / values.length;
        const spread = Math.sqrt(values.reduce((a, b) => a + (b - average) ** 2, 0) / values.length);
        const codeVariance = prior.reduce((sum, w, k) => sum + w * (codes[k][d] - mean[d]) ** 2, 0);
        const expected = Math.sqrt(signal ** 2 * codeVariance + sigma ** 2);
        expect(Math.abs(average - (off[d] + signal * (mean[d] - off[d])))).toBeLessThan(
          (4 * expected) / Math.sqrt(values.length),
        );
        expect(spread / expected).toBeCloseTo(1, 1);
      }
    });
  });
});

describe("coefficients", () => {
  const process = new SamplingProcess(soft);
  it("DDIM with eta 1 is ancestral", () => {
    for (const [s, t] of [
      [0, 0.1],
      [0.3, 0.31],
      [0.5, 1],
    ]) {
      const ancestral = ancestralCoefficients(process, s, t);
      const ddim = ddimCoefficients(process, s, t, 1);
      expect(ddim.x0Coefficient).toBeCloseTo(ancestral.x0Coefficient, 12);
      expect(ddim.zCoefficient).toBeCloseTo(ancestral.zCoefficient, 12);
      expect(ddim.deviation).toBeCloseTo(ancestral.deviation, 12);
    }
  });
  it("DDIM keeps the marginal for any eta", () => {
    const [s, t] = [0.4, 0.6];
    for (const eta of [0, 0.3, 1]) {
      const { x0Coefficient, zCoefficient, deviation } = ddimCoefficients(process, s, t, eta);
      const variance = (zCoefficient * process.level(t).sigma) ** 2 + deviation ** 2;
      expect(x0Coefficient + zCoefficient * process.level(t).signal).toBeCloseTo(process.level(s).signal, 12);
      expect(variance).toBeCloseTo(process.level(s).sigma ** 2, 12);
    }
  });
});

describe("release", () => {
  const process = new SamplingProcess({ schedule: "linear", absorbRate: 1, gaussian: false, noiseScale: 1 });
  const start = (n: number) => {
    const target = Uint8Array.from({ length: n }, (_, p) => (p % 5 === 0 ? 0 : 1));
    const absorbed = new Uint8Array(n);
    startAbsorbed({ process, absorbed, target, random, sequence: 1 });
    return { process, target, absorbed, random, sequence: 1 };
  };

  it("masked limit: every target is released once, evenly over the steps", () => {
    const steps = 8;
    const grid = samplingTimes(process, steps, "uniform");
    const state = start(5000);
    expect(state.absorbed).toEqual(state.target);
    const counts: number[] = [];
    for (let step = 1; step <= steps; step++) {
      counts.push(releaseAbsorbed({ ...state, t: grid[step - 1], s: grid[step], step }).length);
    }
    expect(counts.reduce((a, b) => a + b)).toBe(4000);
    expect(state.absorbed.every((flag) => flag === 0)).toBe(true);
    const statistic = counts.reduce((sum, n) => sum + (n - 500) ** 2 / 500, 0);
    expect(statistic).toBeLessThan(24.3); // 7 degrees of freedom, one in a thousand
  });

  it.each(["confidence", "margin", "entropy", "confidence-threshold"] as const)(
    "by %s: the highest scores, as many as expected",
    (release) => {
      const state = start(100);
      const score = Float32Array.from({ length: 100 }, (_, p) => -Math.abs(p - 41.6));
      const released = releaseAbsorbed({ ...state, t: 1, s: 0.9, step: 1 }, { release, score });
      expect(released).toEqual([37, 38, 39, 41, 42, 43, 44, 46]);
      expect(() => releaseAbsorbed({ ...state, t: 1, s: 0.9, step: 1 }, { release })).toThrow(
        `Release by "${release}" needs the score`,
      );
    },
  );

  it("scores: log probability, margin, entropy the other way round", () => {
    const drawn = {
      confidence: Float32Array.of(0.5, 0.25),
      margin: Float32Array.of(0.125, 0.5),
      entropy: Float32Array.of(2, 1),
    };
    const scores = (release: "confidence" | "margin" | "entropy") =>
      Array.from(releaseScores(release, drawn));
    expect(scores("confidence")).toEqual([Math.fround(Math.log(0.5)), Math.fround(Math.log(0.25))]);
    expect(scores("margin")).toEqual([0.125, 0.5]);
    expect(scores("entropy")).toEqual([-2, -1]);
  });

  it("by a threshold: all that reach it, one at least, and everything in time", () => {
    const sure = Float32Array.from({ length: 100 }, (_, p) => (p < 30 ? -0.01 : -3));
    const policy = { release: "confidence-threshold", score: sure, threshold: Math.log(0.9) } as const;
    const state = start(100);
    const first = releaseAbsorbed({ ...state, t: 1, s: 0.9, step: 1 }, policy);
    expect(first).toEqual(Array.from({ length: 30 }, (_, p) => p).filter((p) => p % 5 > 0));
    // Nothing more is sure: what the schedule asks of the 56 that are left, an equal share of them in each of 14 steps.
    const counts: number[] = [];
    for (let k = 14; k > 0; k--)
      counts.push(releaseAbsorbed({ ...state, t: k / 14, s: (k - 1) / 14, step: 15 - k }, policy).length);
    expect(counts.reduce((a, b) => a + b)).toBe(56);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(3);
    expect(Math.max(...counts)).toBeLessThanOrEqual(5);
    const two = start(3);
    const least = releaseAbsorbed({ ...two, t: 1, s: 0.999, step: 1 }, { ...policy, threshold: 1 });
    expect(least).toEqual([1]);
    expect(releaseAbsorbed({ ...two, t: 0.5, s: 0, step: 2 }, policy)).toEqual([2]);
    expect(releaseAbsorbed({ ...two, t: 0.5, s: 0, step: 3 }, policy)).toEqual([]);
  });

  it("releases more when asked for", () => {
    const score = new Float32Array(100);
    const state = start(100);
    expect(
      releaseAbsorbed({ ...state, t: 1, s: 0.9, step: 1 }, { release: "margin", score, extra: 5 }).length,
    ).toBe(13);
    const all = releaseAbsorbed({ ...state, t: 0.9, s: 0.8, step: 2 }, { release: "random", extra: 1000 });
    expect(all.length).toBe(80 - 13);
  });
});

it("leaves given positions alone and depends on the sequence only", () => {
  const process = new SamplingProcess(soft);
  const run = (length: number) => {
    const z = new Float32Array(2 * length).fill(9);
    const target = Uint8Array.from({ length }, (_, p) => (p === 2 ? 0 : 1));
    const absorbed = new Uint8Array(length);
    const state = { process, z, absorbed, target, m: off, random, sequence: 5 };
    startState(state);
    const x0 = new Float32Array(2 * length).fill(0.5);
    stepGaussian({ ...state, x0, t: 1, s: 0.5, step: 1 }, { sampler: "ancestral", release: "random" });
    return { z, absorbed };
  };
  const short = run(7);
  expect([short.z[4], short.z[5], short.absorbed[2]]).toEqual([9, 9, 0]);
  const long = run(12);
  expect(long.z.subarray(0, 14)).toEqual(short.z);
  expect(long.absorbed.subarray(0, 7)).toEqual(short.absorbed);
});
