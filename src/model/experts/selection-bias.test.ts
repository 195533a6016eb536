/** @file The loss-free update: its rule, and that it evens out the loads of a router that starts lopsided. */
import { expect, it } from "vitest";
import { constant, evaluate, parameter } from "../../graph/index.js";
import { array, wave } from "../../graph/testing/check.js";
import { routeTokens } from "./router.js";
import { updatedSelectionBias } from "./selection-bias.js";

it("moves against the load error, by the rate at most, and rests on an even load", () => {
  expect([...updatedSelectionBias([0, 1, -1, 0.5], [9, 3, 6, 6], 0.25)]).toEqual([-0.25, 1.25, -1, 0.5]);
  expect([...updatedSelectionBias([0, 0], [5, 3], 0.25)]).toEqual([-0.125, 0.125]);
  expect([...updatedSelectionBias([0.5, 0.25], [0, 0], 0.25)]).toEqual([0.5, 0.25]);
});

it("refuses loads of another number of experts", () => {
  expect(() => updatedSelectionBias([0, 0], [1, 2, 3], 0.1)).toThrow(
    "expected 2 loads, one an expert, got 3",
  );
});

it("evens out a lopsided router", () => {
  const [tokens, experts] = [60, 4];
  const logits = wave(tokens * experts, 4).map((v, i) => v + [1.5, 0, -0.5, -1][i % experts]);
  const { demand } = routeTokens(constant(logits, [tokens, experts]), {
    router: "top-k",
    topK: 2,
    topP: 0,
    capacityFactor: null,
    sequences: 1,
    length: tokens,
    valid: constant(new Array<number>(tokens).fill(1), [tokens]),
    selectionBias: parameter("bias", [1, experts]),
  });
  const module = { name: "balance", outputs: { demand } };
  let bias = new Float32Array(experts);
  const loads = () => [...evaluate(module, {}, { bias: array([1, experts], bias) }).demand.data];
  const first = loads();
  for (let step = 0; step < 80; step++) bias = new Float32Array(updatedSelectionBias(bias, loads(), 0.02));
  const mean = (tokens * 2) / experts;
  const worst = (list: number[]) => Math.max(...list.map((n) => Math.abs(n / mean - 1)));
  expect(worst(first)).toBeGreaterThan(0.5);
  expect(worst(loads())).toBeLessThan(0.15);
});
