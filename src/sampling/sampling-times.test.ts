import { describe, expect, it } from "vitest";
import type { ProcessOptions } from "../diffusion/process.js";
import { SamplingProcess, samplingTimes } from "./sampling-times.js";

const soft: ProcessOptions = { schedule: "sqrt", absorbRate: 0.5, gaussian: true, noiseScale: 3 };
const masked: ProcessOptions = { schedule: "linear", absorbRate: 1, gaussian: false, noiseScale: 1 };
const timesOf = (options: ProcessOptions, steps: number) =>
  Array.from(samplingTimes(new SamplingProcess(options), steps));

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

  it("a single step goes all the way", () => {
    expect(timesOf(soft, 1)).toEqual([1, 0]);
    expect(new SamplingProcess(soft).releaseProbability(0, 1)).toBe(1);
    expect(new SamplingProcess({ ...soft, absorbRate: 0 }).releaseProbability(0, 1)).toBe(0);
  });
});
