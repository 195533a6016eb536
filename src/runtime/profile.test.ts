/** @file The profile of a small program, and what the names of nodes say. */
import type { Remote } from "comlink";
import { expect, it, vi } from "vitest";
import { add, input, matmul, withScope } from "../graph/index.js";
import { createDevice, groupTimes, leastTimes, type NodeTime, partOf, phaseOf, totalTime } from "./index.js";
import { OnnxDevice } from "./onnx-device.js";
import type { OnnxHost } from "./onnx-host.js";
import { readProfile } from "./profile.js";
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

it("counts what a graphics card computes, and the processor in its place", () => {
  const event = (cat: string, name: string, ts: number, dur: number, args = {}) => ({
    cat,
    name,
    ts,
    dur,
    args,
  });
  const shapes = {
    op_name: "MatMul",
    provider: "WebGpuExecutionProvider",
    input_type_shape: [{ float: [2, 3] }, { float: [3, 4] }],
    output_type_shape: [{ float: [2, 4] }],
  };
  const cpu = { op_name: "Min", provider: "CPUExecutionProvider" };
  const run = (ts: number, slower: number) => [
    event("Session", "model_run", ts, 900),
    event("Node", "part/matmul_1_kernel_time", ts + 10, 5, shapes),
    event("Node", "Memcpy_token_3_kernel_time", ts + 20, 300, { ...shapes, op_name: "MemcpyToHost" }),
    event("Node", "part/minimum_2_kernel_time", ts + 330, 7, cpu),
    event("Api", "part/matmul_1&MatMul&Transpose", ts + 100, 40 + slower),
    event("Api", "part/matmul_1&MatMul&MatMul", ts + 150, 60),
  ];
  const runs = readProfile(JSON.stringify([...run(0, 0), ...run(1000, 8)]));
  const seen = runs.map((nodes) => nodes.map(({ name, microseconds, flops }) => [name, microseconds, flops]));
  expect(seen).toEqual(
    [100, 108].map((product) => [
      ["part/matmul_1", product, 48],
      ["Memcpy_token_3", 0, 0],
      ["part/minimum_2", 7, 0],
    ]),
  );
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

it("lets go of a program whose run fails, and refuses to run it no times", async () => {
  const module = { name: "small", outputs: { y: add(input("x", "float32", [2]), 1) } };
  const device = await OnnxDevice.create("cpu", { threads: 1 });
  const calls = vi.spyOn(device.thread, "call");
  for (const runs of [0, 1.5, Number.NaN])
    await expect(device.profile(module, { x: float32([2], [1, 2]) }, { runs })).rejects.toThrow(
      `profile: expected runs to be an integer from 1 on, got ${runs}`,
    );
  expect(calls).not.toHaveBeenCalled();
  await expect(device.profile(module, { x: float32([3], [1, 2, 3]) }, { runs: 1 })).rejects.toThrow(
    'input "x": expected float32[2], got float32[3]',
  );
  const asked: string[] = [];
  const recorder = new Proxy({}, { get: (_, name) => async () => void asked.push(String(name)) });
  for (const [operation] of calls.mock.calls) await operation(recorder as Remote<OnnxHost>);
  expect(asked).toEqual(["load", "unload"]);
  await device.dispose();
});
