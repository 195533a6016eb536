/** @file The plumbing of the benchmark: that sides run, that the report says what ran, and that figures are what they are called. */
import { describe, expect, it } from "vitest";
import { configFromLayers, presets } from "../config/index.js";
import { seededRandom } from "../evaluation/statistics.js";
import { costOf } from "../model/cost.js";
import { runBench } from "./bench.js";
import { formatBench } from "./format.js";
import { findPeer, solverLevels } from "./peers.js";
import { ratioOfRounds, spreadOf } from "./statistics.js";
import { workload } from "./workload.js";

const base = configFromLayers([
  { name: "preset", config: presets["moe-diffuseq"] },
  {
    name: "tiny",
    config: {
      model: {
        vocabSize: 300,
        embeddingSize: 8,
        hiddenSize: 16,
        numLayers: 1,
        numHeads: 2,
        attention: { window: 8, globalTokens: 2 },
        experts: { numExperts: 3, topK: 1, intermediateSize: 12 },
      },
    },
  },
]);

describe("runBench", () => {
  it("runs every task, and relates all to the first twin", async () => {
    const report = await runBench({
      base,
      twins: ["moe-diffuseq", "dense-active"],
      lengths: [32],
      tokens: 64,
      rounds: 2,
      samplingSteps: 2,
      threads: 1,
      peer: { python: null, missing: "none here" },
      variants: ["eager"],
    });
    const { rows, ratios, leftOut, record, ceiling } = report;
    expect(rows.map(({ task, length, twin, side }) => `${task} ${length} ${twin} ${side}`)).toEqual(
      ["training", "sampling"].flatMap((task) =>
        [32].flatMap((length) =>
          ["moe-diffuseq", "dense-active"].map((twin) => `${task} ${length} ${twin} ours`),
        ),
      ),
    );
    for (const { milliseconds, tokens, spread, tokensPerSecond, peakBytes, shareOfCeiling, flops } of rows) {
      expect(milliseconds.map((round) => round.length)).toEqual([1, 1]);
      expect(tokensPerSecond).toBeCloseTo((1000 * tokens) / spread.median, 6);
      expect(peakBytes).toBeGreaterThan(1e7);
      expect(shareOfCeiling).toBeCloseTo(flops / spread.median / 1e6 / ceiling.median, 9);
    }
    expect(rows[0].tokens).toBe(64);
    expect(rows[0].flops).toBe(costOf(base.model, { batchSize: 2, length: 32, ema: false }).flops.training);
    expect(ratios).toHaveLength(2);
    expect(ratios[0]).toMatchObject({
      faster: "moe-diffuseq, ours",
      slower: "dense-active, ours",
      length: 32,
    });
    expect(leftOut).toEqual(["PyTorch: none here"]);
    expect(record.versions).toMatchObject({ node: process.versions.node, "onnxruntime-node": "1.30.0" });
    expect(record.load).toHaveLength(2);
    expect(formatBench(report)).toContain("Left out: PyTorch: none here");
  }, 180_000);
});

describe("what is measured", () => {
  it("is the same whoever asks", () => {
    const [a, b] = [workload(base, 2), workload(base, 2)];
    expect(a.feeds).toEqual(b.feeds);
    expect(a.values).toEqual(b.values);
    expect(new Set(Array.from(a.feeds.segment.data, Number))).toEqual(new Set([0, 1, -1]));
  });

  it("says why there is no peer", async () => {
    expect(await findPeer("no-such-python")).toEqual({ python: null, missing: "there is no no-such-python" });
  });

  it("gives the solver's levels from noise to text", () => {
    const { time, sigma } = solverLevels(base, 4)!;
    expect(time).toHaveLength(5);
    for (let k = 1; k < 5; k++)
      expect([time[k] < time[k - 1], sigma[k] < sigma[k - 1]]).toEqual([true, true]);
    expect(solverLevels({ ...base, diffusion: { ...base.diffusion, gaussian: false } }, 4)).toBeNull();
  });
});

describe("ratios of rounds", () => {
  it("cancel what a round had in common", () => {
    const rounds = [1, 5, 2, 9, 3];
    const { mean, low, high } = ratioOfRounds(
      rounds.map((busy) => [10 * busy, 11 * busy, 40 * busy]),
      rounds.map((busy) => [22 * busy]),
    );
    for (const value of [mean, low, high]) expect(value).toBeCloseTo(2, 9);
  });

  it("are as uncertain as the rounds differ, and the same every time", () => {
    const first = [[10], [10], [10], [10]];
    const second = [[10], [20], [15], [40]];
    const ratio = ratioOfRounds(first, second);
    expect(ratio.mean).toBeCloseTo((2 * 1.5 * 4) ** 0.25, 9);
    expect(ratio.low).toBeGreaterThan(1);
    expect(ratio.low).toBeLessThan(ratio.mean);
    expect(ratio.high).toBeLessThan(4);
    expect(ratioOfRounds(first, second)).toEqual(ratio);
    expect(spreadOf([4, 1, 2, 3, 5])).toEqual({ median: 3, lowerQuartile: 2, upperQuartile: 4 });
    const [a, b] = [seededRandom(1), seededRandom(1)];
    expect([a(), a(), a()]).toEqual([b(), b(), b()]);
  });
});
