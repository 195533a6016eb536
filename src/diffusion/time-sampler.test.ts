import { describe, expect, it } from "vitest";
import { CounterRandom } from "../random/index.js";
import { createTimeSampler, LossAwareTimeSampler } from "./time-sampler.js";

const random = new CounterRandom(11);
const kinds = ["uniform", "low-discrepancy", "loss-aware"] as const;
const sequences = (n: number, first = 0) => Array.from({ length: n }, (_, i) => first + i);

describe.each(kinds)("%s", (timeSampler) => {
  const sampler = createTimeSampler({ timeSampler, minTime: 0.1 }, random);

  it("spreads times evenly over [minTime, 1)", () => {
    const counts = new Array(9).fill(0);
    for (const sequence of sequences(9000)) {
      const { time, weight } = sampler.draw(sequence);
      if (time < 0.1 || time >= 1 || Math.abs(weight - 1) > 1e-12)
        throw new Error(`time ${time}, weight ${weight}`);
      counts[Math.floor((time - 0.1) * 10)]++;
    }
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(5 * Math.sqrt(1000));
  });

  it("depends on seed and sequence only", () => {
    const times = sequences(20, 1000).map((sequence) => sampler.draw(sequence).time);
    const again = createTimeSampler({ timeSampler, minTime: 0.1 }, new CounterRandom(11));
    const backwards = sequences(20, 1000)
      .reverse()
      .map((sequence) => again.draw(sequence).time);
    expect(backwards.reverse()).toEqual(times);
    const other = createTimeSampler({ timeSampler, minTime: 0.1 }, new CounterRandom(12));
    expect(other.draw(1000).time).not.toBe(times[0]);
  });
});

it("low-discrepancy: every run of B sequences puts about one time into each of B/2 equal strata", () => {
  const sampler = createTimeSampler({ timeSampler: "low-discrepancy", minTime: 0 }, random);
  for (const size of [4, 16, 100]) {
    for (const first of [0, 3, 12_345, 4_000_000_000]) {
      const strata = new Array(size / 2).fill(0);
      for (const sequence of sequences(size, first)) {
        strata[Math.floor((sampler.draw(sequence).time * size) / 2)]++;
      }
      expect(Math.min(...strata)).toBeGreaterThanOrEqual(1);
      expect(Math.max(...strata)).toBeLessThanOrEqual(4);
    }
  }
});

describe("loss-aware", () => {
  const loss = (t: number) => 0.2 + t * t;
  const warm = () => {
    const sampler = new LossAwareTimeSampler(random, 0, { bins: 8, history: 5 });
    const times = sequences(400).map((sequence) => sampler.draw(sequence).time);
    sampler.observe(times, times.map(loss));
    return sampler;
  };

  it("draws in proportion to the loss, with weights that leave means unbiased", () => {
    const sampler = warm();
    const n = 40_000;
    let weights = 0;
    let weighted = 0;
    let high = 0;
    for (const sequence of sequences(n)) {
      const { time, weight } = sampler.draw(sequence);
      weights += weight / n;
      weighted += (weight * loss(time)) / n;
      if (time >= 0.5) high++;
    }
    expect(weights).toBeCloseTo(1, 1.7);
    expect(weighted).toBeCloseTo(0.2 + 1 / 3, 2);
    expect(high / n).toBeGreaterThan(0.65);
  });

  it("is uniform until every bin has its history", () => {
    const sampler = new LossAwareTimeSampler(random, 0, { bins: 4, history: 2 });
    sampler.observe([0.1, 0.1, 0.3, 0.3, 0.6, 0.6, 0.9], [9, 9, 1, 1, 1, 1, 1]);
    expect(sampler.draw(3).weight).toBe(1);
    sampler.observe([0.9], [1]);
    expect(sampler.draw(3).weight).not.toBe(1);
  });

  it("resumes from its JSON state and ignores losses that are not finite", () => {
    const sampler = warm();
    sampler.observe([0.5, 0.2], [Number.NaN, Infinity]);
    const copy = new LossAwareTimeSampler(random, 0, { bins: 8, history: 5 });
    copy.restore(JSON.parse(JSON.stringify(sampler.state())));
    for (const sequence of sequences(50)) expect(copy.draw(sequence)).toEqual(sampler.draw(sequence));
    expect(() => copy.restore(null)).toThrow("state of 8 bins, got none");
  });
});

it("a loss-aware sampler refuses sizes that make none", () => {
  const make = (options: object) => () => new LossAwareTimeSampler(random, 0, options);
  expect(make({ bins: 0 })).toThrow("bins: expected an integer from 1 on, got 0");
  expect(make({ history: 1.5 })).toThrow("history: expected an integer from 1 on, got 1.5");
  expect(make({ uniformShare: Number.NaN })).toThrow("uniformShare: expected a number from 0 to 1, got NaN");
});
