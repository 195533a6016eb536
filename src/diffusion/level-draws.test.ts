/** @file The levels of rows that are noised several times. */
import { expect, it } from "vitest";
import { CounterRandom } from "../random/index.js";
import { levelsOfDraw } from "./level-draws.js";
import { createTimeSampler, LossAwareTimeSampler } from "./time-sampler.js";

const random = new CounterRandom(11);
const sequences = (n: number) => Array.from({ length: n }, (_, i) => i);

it("of a sampler that weighs nothing stand at equal distances from its own", () => {
  const minTime = 0.1;
  const sampler = createTimeSampler({ timeSampler: "low-discrepancy", minTime }, random);
  expect(levelsOfDraw(sampler, minTime, 0, 4)).toBe(sampler);
  for (const draw of [1, 2, 3]) {
    const shifted = levelsOfDraw(sampler, minTime, draw, 4);
    for (const sequence of sequences(50)) {
      const first = (sampler.draw(sequence).time - minTime) / (1 - minTime);
      const time = minTime + (1 - minTime) * Math.max((first + draw / 4) % 1, 2 ** -33);
      expect(shifted.draw(sequence)).toEqual({ time, weight: 1 });
    }
  }
});

it("of a loss-aware sampler have its weights, so that the mean of a draw is unbiased", () => {
  const loss = (t: number) => 0.2 + t * t;
  const sampler = new LossAwareTimeSampler(random, 0, { bins: 8, history: 5 });
  const times = sequences(400).map((sequence) => sampler.draw(sequence).time);
  sampler.observe(times, times.map(loss));
  const n = 10_000;
  const shifted = levelsOfDraw(sampler, 0, 2, 4);
  const draws = sequences(n).map((sequence) => shifted.draw(sequence));
  const weighted = draws.reduce((sum, { time, weight }) => sum + (weight * loss(time)) / n, 0);
  expect(Math.abs(weighted - (0.2 + 1 / 3))).toBeLessThan(0.015);
  expect(draws.reduce((sum, { time }) => sum + loss(time) / n, 0)).toBeLessThan(0.48);
});
