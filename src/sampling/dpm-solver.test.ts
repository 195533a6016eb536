import { describe, expect, it } from "vitest";
import type { DiffusionProcess, ProcessOptions } from "../diffusion/process.js";
import { UserError } from "../errors.js";
import { CounterRandom, Stream } from "../random/index.js";
import {
  createSolver,
  type Floats,
  halfLogSnr,
  MultistepSolver,
  multistepCoefficients,
  SinglestepSolver,
} from "./dpm-solver.js";
import { SamplingProcess, samplingTimes, type TimeGrid, withMidpoints } from "./sampling-times.js";
import { ddimCoefficients, type StepOptions, startState, stepGaussian } from "./steppers.js";
import {
  absorbing,
  DIMENSIONS,
  denoiseAll,
  drawMixture,
  marginalCdf,
  marginalMoments,
  referenceFlow,
} from "./testing/gaussian-mixture.js";

const random = new CounterRandom(2024);
const sqrt: ProcessOptions = { schedule: "sqrt", absorbRate: 0, gaussian: true, noiseScale: 3 };
const soft: ProcessOptions = { ...sqrt, absorbRate: 0.5 };

type Name = "ancestral" | "ddim" | "1" | "2M" | "3M" | "2S";

function optionsOf(name: Name): StepOptions {
  if (name === "ancestral" || name === "ddim") return { release: "random", sampler: name };
  const solver = createSolver(name === "2S" ? "singlestep" : "multistep", Number(name[0]));
  return { release: "random", sampler: "dpm-solver++", solver };
}

/** Times of a number of runs of the denoiser, from a grid of any number of steps. */
function timesOf(
  process: DiffusionProcess,
  name: Name,
  evaluations: number,
  grid: (steps: number) => Float64Array,
) {
  if (name !== "2S") return grid(evaluations);
  return withMidpoints(process, grid(Math.ceil(evaluations / 2)), evaluations);
}

/**
 * All positions along the times with the exact denoiser. z: [N, 2], changed in place; `after` may change it after each step, too.
 * @param absorbed [N], changed in place; released positions join at clean values of the mixture
 */
function solve(
  process: SamplingProcess,
  name: Name,
  times: Float64Array,
  z: Floats,
  after?: (step: number) => void,
  absorbed = new Uint8Array(z.length / DIMENSIONS),
): void {
  const options = optionsOf(name);
  const target = new Uint8Array(absorbed.length).fill(1);
  const m = Float64Array.from(absorbing);
  const drawn = drawMixture(absorbed.length);
  for (let step = 1; step < times.length; step++) {
    const [t, s] = [times[step - 1], times[step]];
    const x0 = denoiseAll(process, t, z);
    stepGaussian({ process, t, s, m, x0, drawn, z, absorbed, target, random, sequence: 3, step }, options);
    after?.(step);
  }
}

/** Least-squares slope of log error over log step size. */
function orderOf(errors: readonly number[], counts: readonly number[]): number {
  const x = counts.map((count) => -Math.log(count));
  const y = errors.map(Math.log);
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
  const [mx, my] = [mean(x), mean(y)];
  const covariance = x.reduce((sum, value, i) => sum + (value - mx) * (y[i] - my), 0);
  return covariance / x.reduce((sum, value) => sum + (value - mx) ** 2, 0);
}

describe("order of convergence to the exact flow of a Gaussian mixture around m", () => {
  const points = 40;
  const noise = new Float32Array(DIMENSIONS * points);
  random.fillNormal(noise, Stream.SamplerNoise, 1, 0);
  const counts = [32, 64, 128, 256, 512];

  describe.each([
    // Step-0 noise and noise scale as in the presets, and steps whose ratio changes all the way.
    { schedule: "sqrt", noiseScale: 3, startDeviation: 0.3, from: 1, grid: "log-snr" },
    { schedule: "linear", noiseScale: 1, startDeviation: 0.6, from: 0.9, grid: "even in t" },
  ] as const)("$schedule schedule, $grid", ({ from, grid, ...options }) => {
    const process = new SamplingProcess({ ...sqrt, ...options });
    const start = process.level(from);
    const muOf = ({ signal, sigma }: typeof start) => signal / sigma;
    const exact = (t: number, steps: number) =>
      referenceFlow(Float64Array.from(noise), muOf(start), muOf(process.level(t)), steps).map(
        (y, i) => absorbing[i % DIMENSIONS] + process.level(t).sigma * y,
      );
    const end = exact(0, 2000);
    const gridOf = (steps: number) =>
      samplingTimes(process, steps, grid === "log-snr" ? grid : "uniform").map((t) => from * t);

    it.for([
      ["ddim", 1],
      ["1", 1],
      ["2M", 2],
      ["2S", 2],
      ["3M", 3],
    ] as const)("%s: %d", async ([name, order], { annotate }) => {
      const errors = counts.map((evaluations) => {
        const z = Float64Array.from(noise, (eps, i) => absorbing[i % DIMENSIONS] + start.sigma * eps);
        const times = timesOf(process, name, evaluations, gridOf);
        // At full noise the prediction hardly changes and the low orders of the first steps cost nothing; elsewhere they would cost one
        // order of three, so there 3M gets its first two steps for free.
        const free = name === "3M" && from < 1 ? 2 : 0;
        solve(process, name, times, z, (step) => {
          if (step <= free) z.set(exact(times[step], 200));
        });
        return Math.sqrt(z.reduce((sum, value, i) => sum + (value - end[i]) ** 2, 0) / points);
      });
      const measured = orderOf(errors, counts);
      await annotate(
        `${measured.toFixed(3)}; errors ${errors.map((error) => error.toExponential(2)).join(" ")}`,
      );
      expect(Math.abs(measured - order)).toBeLessThan(0.2);
    });
  });
});

it("with the sqrt schedule, even steps in t show no order: alpha_bar falls too steeply at 0", async ({
  annotate,
}) => {
  const process = new SamplingProcess(sqrt);
  const start = Float64Array.from(drawMixture(40), (x) => x * process.level(1).sigma);
  const ends = (grid: TimeGrid) =>
    [32, 64, 128, 256, 2048].map((steps) => {
      const z = start.slice();
      solve(process, "2M", samplingTimes(process, steps, grid), z);
      return z;
    });
  const exact = ends("log-snr")[4];
  const errorsOf = (grid: TimeGrid) =>
    ends(grid)
      .slice(0, 4)
      .map((z) => Math.sqrt(z.reduce((sum, value, i) => sum + (value - exact[i]) ** 2, 0) / 40));
  const [even, logSnr] = [errorsOf("uniform"), errorsOf("log-snr")];
  const orders = [even, logSnr].map((errors) => orderOf(errors, [32, 64, 128, 256]));
  await annotate(
    `uniform ${orders[0].toFixed(3)}, log-snr ${orders[1].toFixed(3)}; errors at 32: ${even[0]}, ${logSnr[0]}`,
  );
  expect(orders[0]).toBeLessThan(1);
  expect(orders[1]).toBeGreaterThan(1.8);
  expect(logSnr[0]).toBeLessThan(even[0] / 5);
});

describe("samples follow the known distribution, around m and out of the absorbing state", () => {
  const positions = 2000;
  // A clean end with noise left in it, and one without: infinitely far in log-SNR.
  it.each([
    ["ancestral", soft, 200],
    ["ddim", soft, 200],
    ["2M", soft, 40],
    ["2S", soft, 80],
    ["3M", soft, 40],
    ["ancestral", { ...soft, schedule: "linear" }, 200],
    ["ddim", { ...soft, schedule: "linear" }, 200],
    ["2M", { ...soft, schedule: "linear" }, 60],
    ["2S", { ...soft, schedule: "linear" }, 80],
    ["3M", { ...soft, schedule: "cosine" }, 60],
  ] as const)("%s, %j, %d runs", (name, options, evaluations) => {
    const process = new SamplingProcess(options);
    const times = timesOf(process, name, evaluations, (steps) => samplingTimes(process, steps, "log-snr"));
    expect(times.length).toBe(evaluations + 1);
    const m = Float32Array.from(absorbing);
    const z = new Float32Array(DIMENSIONS * positions);
    const absorbed = new Uint8Array(positions);
    startState({ process, z, absorbed, target: absorbed.map(() => 1), m, random, sequence: 3 });
    expect(absorbed.reduce((a, b) => a + b)).toBeGreaterThan(positions / 3);
    solve(process, name, times, z, undefined, absorbed);
    expect(absorbed.every((flag) => flag === 0)).toBe(true);
    for (let d = 0; d < DIMENSIONS; d++) {
      const values = Array.from(absorbed.keys(), (p) => z[p * DIMENSIONS + d]).sort((a, b) => a - b);
      const { mean, deviation } = marginalMoments(process, 0, d);
      const average = values.reduce((a, b) => a + b) / positions;
      const spread = Math.sqrt(values.reduce((a, b) => a + (b - average) ** 2, 0) / positions);
      expect(Math.abs(average - mean)).toBeLessThan((4 * deviation) / Math.sqrt(positions));
      expect(Math.abs(spread / deviation - 1)).toBeLessThan(4 / Math.sqrt(2 * positions));
      // Kolmogorov-Smirnov: 1.95 / sqrt(N) is exceeded once in a thousand times.
      const distances = values.map((x, i) => {
        const cdf = marginalCdf(process, 0, d, x);
        return Math.max(Math.abs(cdf - i / positions), Math.abs(cdf - (i + 1) / positions));
      });
      expect(Math.max(...distances)).toBeLessThan(1.95 / Math.sqrt(positions));
    }
  });
});

describe("a solver", () => {
  const process = new SamplingProcess(sqrt);
  const m = Float64Array.from(absorbing);

  it("of order 1 is DDIM", () => {
    for (const [s, t] of [
      [0, 0.1],
      [0.5, 1],
    ]) {
      const { zCoefficient, x0Coefficients } = multistepCoefficients(process, s, [t]);
      const ddim = ddimCoefficients(process, s, t);
      expect(zCoefficient).toBeCloseTo(ddim.zCoefficient, 12);
      expect(x0Coefficients).toEqual([expect.closeTo(ddim.x0Coefficient, 12)]);
    }
  });

  it("lands on x0 at a clean end, with order 1 there", () => {
    for (const schedule of ["cosine", "linear"] as const) {
      const clean = new SamplingProcess({ ...sqrt, schedule });
      expect(halfLogSnr(clean.level(0))).toBe(Infinity);
      expect(multistepCoefficients(clean, 0, [0.1, 0.2, 0.3])).toEqual({
        zCoefficient: 0,
        x0Coefficients: [1],
      });
      expect(multistepCoefficients(clean, 0, [0])).toEqual({ zCoefficient: 1, x0Coefficients: [0] });
    }
  });

  it("has no use for predictions at the same noise level", () => {
    // alpha_bar of the cosine schedule stands at its least close to t = 1.
    const flat = new SamplingProcess({ ...sqrt, schedule: "cosine" });
    expect(multistepCoefficients(flat, 0.5, [0.999, 1])).toEqual(multistepCoefficients(flat, 0.5, [0.999]));
    expect(multistepCoefficients(flat, 0.5, [0.9, 0.999, 1])).toEqual(
      multistepCoefficients(flat, 0.5, [0.9, 0.999]),
    );
    const standing = multistepCoefficients(flat, 0.999, [1]);
    expect([standing.zCoefficient, ...standing.x0Coefficients]).toEqual([1, expect.closeTo(0, 12)]);
  });

  it("is exact for predictions that are polynomials in lambda", () => {
    const times = [0.5, 0.6, 0.8];
    const { zCoefficient, x0Coefficients } = multistepCoefficients(process, 0.3, times);
    const lambdas = times.map((t) => halfLogSnr(process.level(t)));
    const x0 = (lambda: number) => 0.4 - 0.7 * lambda + 0.3 * lambda * lambda;
    const [from, to] = [process.level(0.5), process.level(0.3)];
    // sigma_s times the integral of e^lambda x0(lambda), by the midpoint rule.
    const [n, h] = [20000, halfLogSnr(to) - lambdas[0]];
    let integral = 0;
    for (let i = 0; i < n; i++) {
      const lambda = lambdas[0] + ((i + 0.5) * h) / n;
      integral += (Math.exp(lambda) * x0(lambda) * h) / n;
    }
    const moved = x0Coefficients.reduce((sum, a, j) => sum + a * x0(lambdas[j]), 0);
    expect(moved).toBeCloseTo(to.sigma * integral, 7);
    expect(zCoefficient).toBeCloseTo(to.sigma / from.sigma, 12);
  });

  it.each([
    ["2M", () => new MultistepSolver(2)],
    ["3M", () => new MultistepSolver(3)],
    ["2S", () => new SinglestepSolver()],
  ] as const)("%s: a position has the past it has, whoever else is there", (name, create) => {
    const times = [1, 0.9, 0.8, 0.65, 0.5, 0.4, 0.25];
    const start = [0.3, -0.2, 1.1, 0.4];
    const x0At = (step: number) => Float64Array.from({ length: 4 }, (_, i) => Math.sin(3 * i + step));
    /** z after the last step; position 1 joins before step number `joins`. */
    const run = (positions: readonly number[], joins: number) => {
      const solver = create();
      const z = Float64Array.from(start);
      for (let step = 1; step < times.length; step++) {
        const there = positions.filter((p) => p === 0 || step >= joins);
        // Alone, a position that joins later meets a multistep solver that knows nothing yet; 2S counts its halves.
        if (there.length === 0 && name !== "2S") continue;
        solver.move({ process, t: times[step - 1], s: times[step], m, x0: x0At(step), z }, there);
      }
      return Array.from(z);
    };
    for (const joins of [1, 2, 3, 4]) {
      const both = run([0, 1], joins);
      expect(both.slice(0, 2)).toEqual(run([0], joins).slice(0, 2));
      expect(both.slice(2)).toEqual(run([1], joins).slice(2));
    }
    expect(run([0, 1], 1).slice(2)).not.toEqual(run([0, 1], 2).slice(2));
  });

  it("2S: who joins in the middle goes on with order 1", () => {
    const solver = new SinglestepSolver();
    const z = Float64Array.of(1, 2, 3, 4);
    const x0 = Float64Array.of(0.5, 0.5, -0.5, -0.5);
    solver.move({ process, t: 1, s: 0.8, m, x0, z }, [0]);
    solver.move({ process, t: 0.8, s: 0.6, m, x0, z }, [0, 1]);
    const one = multistepCoefficients(process, 0.6, [0.8]);
    const whole = multistepCoefficients(process, 0.6, [1]);
    const step = ({ zCoefficient, x0Coefficients }: typeof one, from: number, x: number, d: number) =>
      m[d] + zCoefficient * (from - m[d]) + x0Coefficients[0] * (x - m[d]);
    expect(z[1]).toBeCloseTo(step(whole, 2, 0.5, 1), 12);
    expect(z[2]).toBeCloseTo(step(one, 3, -0.5, 0), 12);
  });

  it("says which orders there are", () => {
    expect(() => createSolver("singlestep", 3)).toThrow(UserError);
    expect(() => createSolver("singlestep", 3)).toThrow("generation.order: expected 1 or 2");
    expect(() => createSolver("multistep", 4)).toThrow("generation.order: expected 1 or 2 or 3");
  });
});
