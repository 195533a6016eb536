import { expect, it } from "vitest";
import { Reabsorption } from "./reabsorption.js";

const target = Uint8Array.of(0, 1, 1, 1, 1, 1, 1, 1, 1);
const absorbed = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1);
const probability = Float32Array.of(0, 0.5, 0.2, 0.2, 0.1, 0.95, 0.3, 0.4, 0);
const tokens = { target, absorbed, probability };

it("takes the least sure of the written tokens, as many as the share allows", () => {
  const unsure = new Reabsorption(0.5, 0.9, 9);
  expect(unsure.choose(tokens)).toEqual([]);
  unsure.record([], 7);
  expect(unsure.choose(tokens)).toEqual([2, 3, 4]);
  unsure.record([2, 3, 4], 1);
  // 8 / 2 - 3 is left; who has been back stays.
  expect(unsure.choose(tokens)).toEqual([6]);
  unsure.record([6], 40);
  expect(unsure.choose(tokens)).toEqual([1, 7]);
});

it("takes none that was sure, and none once everything is written", () => {
  const unsure = new Reabsorption(1, 0.25, 9);
  unsure.record([], 100);
  expect(unsure.choose(tokens)).toEqual([2, 3, 4]);
  expect(unsure.choose({ ...tokens, absorbed: new Uint8Array(9) })).toEqual([]);
});
