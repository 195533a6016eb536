import { describe, expect, it } from "vitest";
import type { ProcessOptions } from "../diffusion/process.js";
import { UserError } from "../errors.js";
import { halfLogSnr } from "./dpm-solver.js";
import { SamplingProcess, samplingTimes, type TimeGrid, withMidpoints } from "./sampling-times.js";

const soft: ProcessOptions = { schedule: "sqrt", absorbRate: 0.5, gaussian: true, noiseScale: 3 };
const masked: ProcessOptions = { schedule: "linear", absorbRate: 1, gaussian: false, noiseScale: 1 };
const timesOf = (options: ProcessOptions, steps: number, grid?: TimeGrid) =>
  Array.from(samplingTimes(new SamplingProcess(options), steps, grid));
const lambdasOf = (options: ProcessOptions, times: readonly number[]) => {
  const process = new SamplingProcess(options);
  return times.map((t) => halfLogSnr(process.level(t)));
};

describe("the times of a sampler", () => {
  it("are even where nothing is absorbed, and where absorption is linear", () => {
    const even = [1, 0.75, 0.5, 0.25, 0].map((t) => expect.closeTo(t, 12));
    expect(timesOf({ ...soft, absorbRate: 0 }, 4)).toEqual(even);
    expect(timesOf(masked, 4)).toEqual(even);
  });

  it.each([masked, { ...masked, schedule: "cosine" }, { ...masked, schedule: "sqrt" }] as const)(
    "masked limit, $schedule: every step releases as many",
    (options) => {
      const process = new SamplingProcess(options);
      const levels = timesOf(options, 5).map((t) => process.absorbed(t));
      expect(levels).toEqual([1, 0.8, 0.6, 0.4, 0.2, 0].map((g) => expect.closeTo(g, 9)));
    },
  );

  it("soft absorbing: no step releases more than twice its share", () => {
    const process = new SamplingProcess(soft);
    const times = timesOf(soft, 64);
    expect([times[0], times[64]]).toEqual([1, 0]);
    let absorbed = 1;
    for (let k = 1; k <= 64; k++) {
      expect(times[k]).toBeLessThan(times[k - 1]);
      const released = absorbed * process.releaseProbability(times[k], times[k - 1]);
      expect(released).toBeLessThan(2 / 64);
      absorbed -= released;
    }
    // The forward process leaves a tenth of the absorbed positions so even at t = 0.
    expect(absorbed).toBeCloseTo(0, 12);
    expect(process.absorbed(0) / process.absorbed(1)).toBeCloseTo(0.1, 3);
  });

  it.each([
    ["work", 0.29, 0.031],
    ["uniform", 0.18, 0.282],
    ["quadratic", 0.33, 0.04],
    ["log-snr", 0.04, 0.023],
  ] as const)(
    "soft absorbing, %s: 64 steps release %d in the first half, %d in the last",
    (grid, half, last) => {
      const process = new SamplingProcess(soft);
      const times = samplingTimes(process, 64, grid);
      const left = (k: number) =>
        Array.from({ length: k }, (_, i) => 1 - process.releaseProbability(times[i + 1], times[i])).reduce(
          (product, kept) => product * kept,
          1,
        );
      expect(1 - left(32)).toBeCloseTo(half, 1.7);
      expect(left(63)).toBeCloseTo(last, 2);
    },
  );

  it("a single step goes all the way", () => {
    expect(timesOf(soft, 1)).toEqual([1, 0]);
    expect(new SamplingProcess(soft).releaseProbability(0, 1)).toBe(1);
    expect(new SamplingProcess({ ...soft, absorbRate: 0 }).releaseProbability(0, 1)).toBe(0);
  });

  it("release what the process has less at an earlier time, and all at the last", () => {
    for (const options of [
      soft,
      { ...soft, startDeviation: 0 },
      { ...masked, schedule: "cosine" } as const,
    ]) {
      const process = new SamplingProcess(options);
      const left = (t: number) => process.absorbed(t) - process.absorbed(0);
      for (const [s, t] of [
        [0, 0.1],
        [0.25, 0.5],
        [0.9, 1],
        [0.7, 0.7],
      ]) {
        const released = process.releaseProbability(s, t);
        expect(released).toBeGreaterThanOrEqual(0);
        expect(left(t) * (1 - released)).toBeCloseTo(left(s), 14);
      }
    }
    expect(new SamplingProcess(masked).releaseProbability(0.25, 0.5)).toBeCloseTo(0.5, 15);
    expect(new SamplingProcess(masked).releaseProbability(0, 0.1)).toBe(1);
  });

  it("are even in t, or quadratic, by setting", () => {
    expect(timesOf(soft, 4, "uniform")).toEqual([1, 0.75, 0.5, 0.25, 0]);
    expect(timesOf(masked, 4, "quadratic")).toEqual([1, 0.5625, 0.25, 0.0625, 0]);
  });

  it("are even in log-SNR by setting", () => {
    const lambdas = lambdasOf(soft, timesOf(soft, 5, "log-snr"));
    for (let k = 0; k <= 5; k++)
      expect(lambdas[k]).toBeCloseTo(lambdas[0] + (k / 5) * (lambdas[5] - lambdas[0]), 9);
    // Without noise in clean text, the last of the equal steps goes all the way.
    const clean: ProcessOptions = { ...soft, schedule: "linear" };
    const times = timesOf(clean, 5, "log-snr");
    const [first, second, , , fifth, last] = lambdasOf(clean, times);
    const [goal] = lambdasOf(clean, [0.004]);
    expect([times[0], times[5], last]).toEqual([1, 0, Infinity]);
    expect(second - first).toBeCloseTo((goal - first) / 5, 9);
    expect(goal - fifth).toBeCloseTo((goal - first) / 5, 9);
    expect(timesOf(clean, 1, "log-snr")).toEqual([1, 0]);
    const process = new SamplingProcess(clean);
    expect(samplingTimes(process, 8, "log-snr", 0).every((t) => t >= 0)).toBe(true);
  });

  it("need Gaussian noise for a log-SNR", () => {
    expect(() => timesOf(masked, 4, "log-snr")).toThrow(UserError);
    expect(() => timesOf(masked, 4, "log-snr")).toThrow("generation.timeGrid: expected");
  });

  it.each(["sqrt", "linear", "cosine"] as const)("have middles half-way in log-SNR: %s", (schedule) => {
    const process = new SamplingProcess({ ...soft, schedule });
    const grid = samplingTimes(process, 4, "uniform");
    const even = Array.from(withMidpoints(process, grid, 8));
    expect(even.filter((_, k) => k % 2 === 0)).toEqual(Array.from(grid));
    const lambdas = lambdasOf({ ...soft, schedule }, even);
    for (const k of [1, 3, 5]) expect(lambdas[k]).toBeCloseTo((lambdas[k - 1] + lambdas[k + 1]) / 2, 9);
    if (schedule === "sqrt") expect(lambdas[7]).toBeCloseTo((lambdas[6] + lambdas[8]) / 2, 9);
    else expect(even[7]).toBe(0.125);
    expect(Array.from(withMidpoints(process, grid, 7))).toEqual([...even.slice(0, 7), 0]);
  });
});
