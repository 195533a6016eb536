/** @file What the benchmark measures with: equal workloads, peers, levels of the solver, ratios of rounds. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../evaluation/statistics.js";
import { tinyBase } from "../evaluation/suite/testing/tiny-base.js";
import type { BenchTask } from "./bench.js";
import { bytesOf, errorLine } from "./measure-part.js";
import { compareGradients } from "./parity.js";
import { findPeer, solverLevels } from "./peers.js";
import { ratioOfParts, ratioOfRounds, spreadOf } from "./statistics.js";
import { workload } from "./workload.js";

const base = tinyBase();

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

  it("names the card that PyTorch sees, or says that it sees none", async () => {
    const folder = mkdtempSync(join(tmpdir(), "peer-"));
    try {
      const python = (says: string) => {
        const path = join(folder, "python");
        writeFileSync(path, `#!/bin/sh\necho "${says}"\n`, { mode: 0o755 });
        return path;
      };
      const path = python("2.11.0+cu130 NVIDIA H200");
      expect(await findPeer(path)).toEqual({ python: path, torch: "2.11.0+cu130" });
      expect(await findPeer(path, "webgpu")).toEqual({
        python: path,
        torch: "2.11.0+cu130 on NVIDIA H200",
      });
      const missing = `PyTorch 2.13.0+cpu of ${python("2.13.0+cpu ")} sees no card that speaks CUDA`;
      expect(await findPeer(path, "webgpu")).toEqual({ python: null, missing });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("gives the solver's levels from noise to text", () => {
    const { time, sigma } = solverLevels(base, 4)!;
    expect(time).toHaveLength(5);
    for (let k = 1; k < 5; k++)
      expect([time[k] < time[k - 1], sigma[k] < sigma[k - 1]]).toEqual([true, true]);
    expect(solverLevels({ ...base, diffusion: { ...base.diffusion, gaussian: false } }, 4)).toBeNull();
  });
});

describe("why a side is left out", () => {
  it("is the memory it would take, less where layers are recomputed, which the peer does not do", () => {
    const bytes = (activationCheckpointing: "none" | "layers", side: "ours" | "eager", task: BenchTask) => {
      const training = { ...base.training, activationCheckpointing };
      return bytesOf({ twin: "moe-diffuseq", side, config: { ...base, training } }, task);
    };
    const whole = bytes("none", "ours", "training");
    expect(bytes("layers", "ours", "training")).toBeLessThan(whole);
    expect(bytes("layers", "eager", "training")).toBe(whole);
    expect(bytes("layers", "ours", "sampling")).toBe(bytes("none", "ours", "sampling"));
  });

  it("is its exception, whatever hints come after it", () => {
    const traceback =
      'PyTorch ended early:\nTraceback (most recent call last):\n  File "denoiser.py", line 1\ntorch._inductor.exc.InductorError: no compiler\n\nSet TORCH_LOGS="+dynamo"\n';
    expect(errorLine(new Error(traceback))).toBe("torch._inductor.exc.InductorError: no compiler");
    expect(errorLine(new Error("PyTorch ended early:\ndenoiser.py: this peer does not know dropout"))).toBe(
      "denoiser.py: this peer does not know dropout",
    );
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

  it("of sides that did not take turns have the uncertainty of both", () => {
    const rounds = [1, 2, 4].map((busy) => [10 * busy]);
    const twice = rounds.map(([ms]) => [2 * ms]);
    expect(ratioOfRounds(rounds, twice)).toMatchObject({ low: 2, high: 2 });
    const { mean, low, high } = ratioOfParts(rounds, twice);
    expect(mean).toBeCloseTo(2, 9);
    // Of three rounds the means of both go from the least to the most.
    expect(low).toBeGreaterThanOrEqual(0.5);
    expect(low).toBeLessThan(1.2);
    expect(high).toBeGreaterThan(3.3);
    expect(high).toBeLessThanOrEqual(8);
    expect(ratioOfParts([[10], [10]], [[30], [30]])).toEqual({
      mean: expect.closeTo(3),
      low: expect.closeTo(3),
      high: expect.closeTo(3),
    });
    expect(ratioOfParts(rounds, twice)).toEqual(ratioOfParts(rounds, twice));
  });
});

it("programs whose gradients differ, or are no numbers, do not compute the same", () => {
  const step = (...values: number[]) => ({
    loss: 2,
    gradients: { a: Float32Array.of(1, 2), b: Float32Array.from(values), c: Float32Array.of(5) },
  });
  const known = step(3, 4);
  expect(compareGradients(step(3, 4), known).holds).toBe(true);
  expect(compareGradients(step(3, 4.001), known)).toMatchObject({
    holds: true,
    gradientErrors: [{ name: "b" }, {}, {}],
  });
  expect(compareGradients(step(3, 4.1), known).holds).toBe(false);
  for (const [ours, peer] of [
    [step(Number.NaN, 4), known],
    [known, step(3, Number.NaN)],
  ])
    expect(compareGradients(ours, peer)).toMatchObject({
      holds: false,
      gradientErrors: [{ name: "b", error: null }, {}, {}],
    });
  expect(compareGradients({ ...known, loss: Number.NaN }, known)).toMatchObject({
    holds: false,
    loss: [null, 2],
    lossError: null,
  });
});
