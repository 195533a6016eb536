import { describe, expect, it } from "vitest";
import { diffusionConfigSchema } from "../config/diffusion-config.js";
import { lossWeights } from "./loss-weights.js";
import { DiffusionProcess } from "./process.js";
import type { ScheduleName } from "./schedule.js";

const gaussian = diffusionConfigSchema.parse({ ceWeight: 2, mseWeight: 3, priorWeight: 5 });
const maskedConfig = (schedule: ScheduleName, minTime = 0.004) =>
  diffusionConfigSchema.parse({ gaussian: false, absorbRate: 1, schedule, minTime });

it("Gaussian: all targets count alike, importance weighs all but the prior", () => {
  const process = new DiffusionProcess(gaussian);
  const weights = lossWeights(gaussian, process, { time: 0.3, importance: 0.5 });
  expect(weights).toEqual({ absorbedOnly: false, ce: 1, mse: 1.5, prior: 5 * 1e-4, level: 1 });
});

describe.each(["linear", "cosine", "sqrt"] as const)("masked limit, %s", (schedule) => {
  it.each(["unweighted", "elbo"] as const)("%s weights of a row sum to 1 on average over t", (weighting) => {
    const config = maskedConfig(schedule, 0.05);
    const process = new DiffusionProcess(config);
    const n = 2000;
    let mean = 0;
    for (let i = 0; i < n; i++) {
      const time = 0.05 + (0.95 * (i + 0.5)) / n;
      mean += (process.absorbed(time) * lossWeights(config, process, { time, weighting }).ce) / n;
    }
    expect(mean).toBeCloseTo(1, 4);
  });
});

describe("masked limit", () => {
  const config = maskedConfig("linear");
  const process = new DiffusionProcess(config);
  const options = { time: 0.25, fixedTime: true };

  it("elbo is 1/t, and has no prior term", () => {
    const weights = lossWeights(config, process, { ...options, weighting: "elbo", importance: 3 });
    const four = expect.closeTo(4, 12);
    expect(weights).toEqual({
      absorbedOnly: true,
      ce: expect.closeTo(12, 12),
      mse: 0,
      prior: 0,
      level: four,
    });
  });

  it("unweighted at a set time is the mean over absorbed positions", () => {
    expect(lossWeights(config, process, options).ce).toBeCloseTo(4, 12);
    expect(lossWeights(config, process, { ...options, absorbProbability: 1 }).ce).toBe(1);
    expect(lossWeights(config, process, { ...options, absorbProbability: 0 }).ce).toBe(0);
  });

  it("refuses a bound with another absorption", () => {
    const wrong = { ...options, weighting: "elbo", absorbProbability: 1 } as const;
    expect(() => lossWeights(config, process, wrong)).toThrow("belongs to g(t)");
  });
});
