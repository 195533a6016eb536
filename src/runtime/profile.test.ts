/** @file The profile of a small program, and what the names of nodes say. */
import { expect, it } from "vitest";
import { add, input, matmul, withScope } from "../graph/index.js";
import { createDevice, groupTimes, leastTimes, type NodeTime, partOf, phaseOf, totalTime } from "./index.js";
import { float32 } from "./testing/devices.js";

const node = (name: string, more: Partial<NodeTime> = {}): NodeTime => ({
  name,
  operator: "Add",
  shapes: "",
  microseconds: 1,
  flops: 0,
  ...more,
});

it("tells phase and part by a node's name", () => {
  const cases = [
    ["layers.3/feed_forward/experts/gemm_12", "forward", "layers/feed_forward/experts"],
    ["recompute/layers.0/attention/matmul_7/MatMulScaleFusion", "recompute", "layers/attention"],
    ["backward/recompute/layers.0/attention/mul_7", "backward", "layers/attention"],
    ["backward/loss/splitByCounts_9.1", "backward", "loss"],
    ["backward//slice_4", "backward", "other"],
    ["Transpose_token_11", "forward", "other"],
  ];
  for (const [name, phase, part] of cases)
    expect([phaseOf(node(name)), partOf(node(name))]).toEqual([phase, part]);
});

it("sums groups, the largest first, and takes the least of several runs", () => {
  const runs = [
    [node("a", { microseconds: 5 }), node("b", { microseconds: 9, flops: 100 })],
    [node("a", { microseconds: 7 }), node("b", { microseconds: 8, flops: 100 })],
  ];
  const least = leastTimes(runs);
  expect(totalTime(least)).toBe(13);
  expect(groupTimes([...least, node("a")], ({ name }) => name)).toEqual([
    { name: "b", count: 1, microseconds: 8, productMicroseconds: 8, flops: 100 },
    { name: "a", count: 2, microseconds: 6, productMicroseconds: 0, flops: 0 },
  ]);
});

it("profiles a program on the cpu device, and says that the reference has no profiler", async () => {
  const x = input("x", "float32", [3, 4]);
  const y = withScope("part", () => add(matmul(x, input("w", "float32", [4, 5])), 1));
  const module = { name: "small", outputs: { y } };
  const feeds = { x: float32([3, 4], new Array(12).fill(1)), w: float32([4, 5], new Array(20).fill(1)) };
  const device = await createDevice("cpu", { threads: 1 });
  const runs = await device.profile(module, feeds, { runs: 2 });
  await device.dispose();
  expect(runs).toHaveLength(2);
  expect(runs[0].map(({ operator, flops }) => [operator, flops])).toEqual([
    ["MatMul", 2 * 3 * 4 * 5],
    ["Add", 0],
  ]);
  expect(runs[0].map(partOf)).toEqual(["part", "part"]);
  const reference = await createDevice("reference");
  await expect(reference.profile(module, feeds, { runs: 1 })).rejects.toThrow("has no profiler");
});
