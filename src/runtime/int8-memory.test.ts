/** @file Int8 weights have as many bits as the device multiplies without overflow. */
import { expect, it, vi } from "vitest";
import { input, int8Range, linearInt8, packInt8, quantizeRows } from "../graph/index.js";
import type { Device } from "./device.js";
import { createInt8Memory } from "./int8-memory.js";
import { float32, numbersOf, onEveryDevice } from "./testing/devices.js";

/** A device that cuts sums as a 16-bit kernel does. */
const overflowing = {
  compile: async () => ({
    run: async () => ({ y: float32([1, 1], [64 * 0.51]) }),
    dispose: async () => {},
  }),
} as unknown as Device;

it("keeps to seven bits where products overflow", async () => {
  expect((await createInt8Memory(overflowing)).largest).toBe(int8Range.safe);
});

it("lets go of its program when that fails", async () => {
  const dispose = vi.fn(async () => {});
  const run = () => Promise.reject(new Error("no such kernel"));
  const failing = { compile: async () => ({ run, dispose }) } as unknown as Device;
  await expect(createInt8Memory(failing)).rejects.toThrow("no such kernel");
  expect(dispose).toHaveBeenCalledOnce();
});

onEveryDevice((device, kind) => {
  it("yields a range in which the largest sums are right", async () => {
    const { largest } = await createInt8Memory(device());
    if (kind === "reference") expect(largest).toBe(int8Range.full);
    const width = 96;
    const weight = packInt8(new Float32Array(2 * width).fill(-1, width).fill(1, 0, width), 2, width, largest);
    const y = linearInt8(quantizeRows(input("x", "float32", [2, width])), weight);
    const program = await device().compile({ name: "largest", outputs: { y } });
    const x = float32([2, width], [...Array(width).fill(1), ...Array(width).fill(-1)]);
    const sums = numbersOf((await program.run({ x })).y);
    for (const [i, sum] of [width, -width, -width, width].entries()) expect(sums[i]).toBeCloseTo(sum, 3);
  });
});
