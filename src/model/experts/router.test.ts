/** @file The routers against plain loops, on the reference and on ONNX Runtime; gradients of the gates; capacity; padding; losses. */
import { describe, expect, it } from "vitest";
import {
  concat,
  constant,
  evaluate,
  mul,
  type NDArray,
  parameter,
  reshape,
  type Tensor,
} from "../../graph/index.js";
import { array, checkOperator, distance, runOnnx, wave } from "../../graph/testing/check.js";
import { type RoutingOptions, routeTokens } from "./router.js";
import { routerLosses } from "./router-losses.js";

const [B, N, E] = [3, 7, 5];
const T = B * N;
/** Sequence 0 is full, 1 has padding inside and behind, 2 is padding only. */
const validity = [
  [1, 1, 1, 1, 1, 1, 1],
  [1, 0, 1, 1, 1, 0, 0],
  [0, 0, 0, 0, 0, 0, 0],
].flat();
const logitValues = wave(T * E, 3).map((v) => 2 * v);
const biasValues = [0.7, -0.4, 0.1, -0.9, 0.5];

const options = (changes: Partial<RoutingOptions>): RoutingOptions => ({
  router: "top-k",
  topK: 3,
  topP: 0.8,
  capacityFactor: null,
  sequences: B,
  length: N,
  valid: constant(validity, [T]),
  selectionBias: null,
  ...changes,
});

const softmax = (values: number[]): number[] => {
  const top = Math.max(...values);
  const e = values.map((v) => Math.exp(v - top));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / total);
};
const rowOf = (values: number[], t: number) => values.slice(t * E, (t + 1) * E);
const byValue = (values: number[]) => [...values.keys()].sort((i, j) => values[j] - values[i] || i - j);

/** expert -> gate of every token, by definition. */
function expected(
  { router, topK, topP, capacityFactor }: RoutingOptions,
  bias: number[] | null,
): Map<number, number>[] {
  const chosen = Array.from({ length: T }, () => new Map<number, number>());
  const probabilities = Array.from({ length: T }, (_, t) => softmax(rowOf(logitValues, t)));
  for (let b = 0; b < B; b++) {
    const present = Array.from({ length: N }, (_, i) => b * N + i).filter((t) => validity[t] === 1);
    if (router === "expert-choice") {
      const capacity = Math.ceil((topK * present.length) / E);
      for (let e = 0; e < E; e++) {
        const best = [...present]
          .sort((s, t) => probabilities[t][e] - probabilities[s][e])
          .slice(0, capacity);
        for (const t of best) chosen[t].set(e, probabilities[t][e]);
      }
      continue;
    }
    const loads = new Array<number>(E).fill(0);
    const limit =
      capacityFactor === null ? Infinity : Math.ceil((capacityFactor * topK * present.length) / E);
    for (const t of present) {
      const scores = rowOf(logitValues, t).map((v, e) => v + (bias?.[e] ?? 0));
      let set = byValue(scores).slice(0, topK);
      if (router === "top-p") {
        let sum = 0;
        const p = softmax(scores);
        set = set.filter((e, i) => {
          const take = i === 0 || sum < topP;
          sum += p[e];
          return take;
        });
      }
      const gates =
        router === "top-k" && topK > 1
          ? softmax(set.map((e) => rowOf(logitValues, t)[e]))
          : set.map((e) => probabilities[t][e]);
      for (const [i, e] of set.entries()) if (loads[e]++ < limit) chosen[t].set(e, gates[i]);
    }
  }
  return chosen;
}

const cases: [string, Partial<RoutingOptions>, boolean][] = [
  ["top-k", {}, false],
  ["top-k with a selection bias", {}, true],
  ["top-k, one expert", { topK: 1 }, false],
  ["top-k, one expert, with a selection bias", { topK: 1 }, true],
  ["top-k, all experts", { topK: E }, true],
  ["top-k with capacity", { capacityFactor: 1 }, false],
  ["top-k with a tight capacity", { capacityFactor: 0.45, topK: 2 }, true],
  ["top-p", { router: "top-p", topP: 0.6 }, false],
  ["top-p with a selection bias", { router: "top-p", topK: E }, true],
  ["top-p with capacity", { router: "top-p", topK: E, capacityFactor: 0.5 }, false],
  ["top-p, nothing to reach: the best expert alone", { router: "top-p", topP: 0 }, false],
  ["top-p, the best expert alone, with a selection bias", { router: "top-p", topP: 0 }, true],
  ["top-p, everything to reach: k experts", { router: "top-p", topP: 1 }, false],
  ["expert-choice", { router: "expert-choice", topK: 2 }, false],
  ["expert-choice, all tokens", { router: "expert-choice", topK: E }, false],
  ["expert-choice, one token in five", { router: "expert-choice", topK: 1 }, false],
];

describe("routeTokens", () => {
  it.each(cases)("%s: choices, gates and counts by definition", async (_name, changes, biased) => {
    const logits = parameter("logits", [T, E]);
    const settings = options({ ...changes, selectionBias: biased ? constant(biasValues, [1, E]) : null });
    const { probabilities: _, ...outputs } = routeTokens(logits, settings);
    const module = { name: "routing", outputs };
    const values = { logits: array([T, E], logitValues) };
    const bias = biased ? biasValues : null;
    const want = expected(settings, bias);
    const dropped = settings.router !== "expert-choice";
    const chosen = dropped ? expected({ ...settings, capacityFactor: null }, bias) : want;
    for (const got of [evaluate(module, {}, values), await runOnnx(module, {}, values)]) {
      const columns = got.experts.shape[1];
      for (let t = 0; t < T; t++) {
        const found = new Map<number, number>();
        for (let k = 0; k < columns; k++) {
          const [e, gate] = [got.experts.data[t * columns + k], got.gates.data[t * columns + k]];
          if (e === E) expect(gate, `gate without expert, token ${t}`).toBe(0);
          else found.set(e, gate);
        }
        expect([...found.keys()].sort(), `token ${t}`).toEqual([...want[t].keys()].sort());
        for (const [e, gate] of want[t]) expect(found.get(e)).toBeCloseTo(gate, 6);
      }
      const counts = Array.from(
        { length: B * E },
        (_, i) =>
          chosen.slice(Math.floor(i / E) * N, (Math.floor(i / E) + 1) * N).filter((m) => m.has(i % E)).length,
      );
      expect([...got.demand.data]).toEqual(counts);
    }
  });

  it.each(cases)("%s: gradients of the gates", async (_name, changes, biased) => {
    await checkOperator({ logits: array([T, E], logitValues), bias: array([1, E], biasValues) }, (p) => {
      // The bias has no path to the gates, so it must show a gradient of exactly zero too.
      const selectionBias = biased ? p.bias : null;
      return mul(routeTokens(p.logits, options({ ...changes, selectionBias })).gates, 3);
    });
  });

  it("accepts bool validity", () => {
    const logits = constant(logitValues, [T, E]);
    const [a, b] = ["float32", "bool"].map((dtype) => {
      const valid = constant(validity, [T], dtype as "bool");
      const { experts } = routeTokens(logits, options({ valid, router: "expert-choice" }));
      return evaluate({ name: "valid", outputs: { experts } }, {}).experts;
    });
    expect(a.data).toEqual(b.data);
  });

  it("demand counts what was chosen before the capacity dropped it", () => {
    const settings = options({ capacityFactor: 0.5 });
    const { demand, experts } = routeTokens(constant(logitValues, [T, E]), settings);
    const got = evaluate({ name: "demand", outputs: { demand, experts } }, {});
    const sum = (x: NDArray, b: number) => x.data.slice(b * E, (b + 1) * E).reduce((p, q) => p + q, 0);
    expect([sum(got.demand, 0), sum(got.demand, 1), sum(got.demand, 2)]).toEqual([21, 12, 0]);
    const { shape, data } = got.experts;
    const ofFirst = [...data.slice(0, N * shape[1])].filter((e) => e < E);
    expect(ofFirst.length).toBeLessThan(21);
    const loads = Array.from({ length: E }, (_, e) => ofFirst.filter((found) => found === e).length);
    expect(Math.max(...loads)).toBeLessThanOrEqual(Math.ceil((0.5 * 3 * 7) / 5));
  });

  it("says what it expected", () => {
    expect(() => routeTokens(parameter("a", [T + 1, E]), options({}))).toThrow(
      "expected logits [3 x 7, experts], got [22, 5]",
    );
    expect(() => routeTokens(parameter("b", [T, E]), options({ topK: 6 }))).toThrow(
      "between 1 and 5 experts, got 6",
    );
  });
});

describe("routerLosses", () => {
  const build = (logits: Tensor, changes: Partial<RoutingOptions>) => {
    const settings = options(changes);
    return routerLosses(logits, routeTokens(logits, settings), settings);
  };
  const routers: Partial<RoutingOptions>[] = [
    { router: "top-k" },
    { router: "top-k", capacityFactor: 0.5 },
    { router: "top-p" },
    { router: "expert-choice", topK: 2 },
  ];

  it.each(routers)("%j: values by definition, row by row", async (changes) => {
    const { losses, statistics } = build(parameter("logits", [T, E]), changes);
    const module = { name: "losses", outputs: { ...losses, ...statistics } };
    const values = { logits: array([T, E], logitValues) };
    const chosen = expected(options({ ...changes, capacityFactor: null }), null);
    for (const got of [evaluate(module, {}, values), await runOnnx(module, {}, values)])
      for (let b = 0; b < B; b++) {
        const present = Array.from({ length: N }, (_, i) => b * N + i).filter((t) => validity[t] === 1);
        const mean = (f: (t: number) => number) =>
          present.reduce((sum, t) => sum + f(t), 0) / Math.max(1, present.length);
        const p = (t: number) => softmax(rowOf(logitValues, t));
        const assigned = present.reduce((n, t) => n + chosen[t].size, 0);
        let balance = 0;
        for (let e = 0; e < E; e++)
          balance +=
            (present.filter((t) => chosen[t].has(e)).length / Math.max(1, assigned)) * mean((t) => p(t)[e]);
        expect(got.balance.data[b]).toBeCloseTo(E * balance, 5);
        const lse = (t: number) => Math.log(rowOf(logitValues, t).reduce((s, v) => s + Math.exp(v), 0));
        expect(got.z.data[b]).toBeCloseTo(
          mean((t) => lse(t) ** 2),
          5,
        );
        const entropy = (t: number) => -p(t).reduce((s, v) => s + v * Math.log(v), 0);
        expect(got.entropy.data[b]).toBeCloseTo(mean(entropy), 5);
      }
  });

  it.each(routers)("%j: gradients", async (changes) => {
    await checkOperator({ logits: array([T, E], logitValues) }, ({ logits }) => {
      const { balance, z } = build(logits, changes).losses;
      return concat([balance, z], 0);
    });
  });

  it("is 1 when loads and probabilities are even", () => {
    const even = constant(
      Array.from({ length: 4 * 4 }, (_, i) => (i % 4 === Math.floor(i / 4) ? 1 : 0)),
      [4, 4],
    );
    const settings = options({ topK: 1, sequences: 1, length: 4, valid: constant([1, 1, 1, 1], [4]) });
    const { losses } = routerLosses(even, routeTokens(even, settings), settings);
    expect(evaluate({ name: "even", outputs: { ...losses } }, {}).balance.data[0]).toBeCloseTo(1, 12);
  });

  it("does not overflow on large logits", async () => {
    const logits = mul(reshape(parameter("logits", [T, E]), [T, E]), 400);
    const { losses, statistics } = build(logits, {});
    const module = { name: "large", outputs: { z: losses.z, entropy: statistics.entropy } };
    const values = { logits: array([T, E], logitValues) };
    const [slow, fast] = [evaluate(module, {}, values), await runOnnx(module, {}, values)];
    expect(distance(fast.z, slow.z)).toBeLessThan(1e-5);
    expect([...fast.entropy.data].every((v) => Number.isFinite(v) && v > -1e-3)).toBe(true);
  });
});
