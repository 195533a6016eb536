/**
 * @file One test body on every device:
 *
 *     onEveryDevice((device) => {
 *       it("adds", async () => {
 *         const program = await device().compile({ name: "sum", outputs: { y: add(x, x) } });
 *         ...
 *       });
 *     });
 */
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { TensorData } from "../../graph/index.js";
import { createDevice, type Device, type DeviceKind } from "../index.js";

/** With MOE_DIFFUSEQ_TEST_WEBGPU=1 also a graphics card, or what the Vulkan loader offers in its place. */
export const testedKinds: readonly DeviceKind[] =
  process.env.MOE_DIFFUSEQ_TEST_WEBGPU === "1" ? ["reference", "cpu", "webgpu"] : ["reference", "cpu"];

/** Runs `suite` once for each device. The device is made before the first test of the suite and disposed after the last. */
export function onEveryDevice(suite: (device: () => Device, kind: DeviceKind) => void): void {
  describe.each(testedKinds)("on device %s", (kind) => {
    let device: Device;
    beforeAll(async () => {
      device = await createDevice(kind, { threads: 2 });
    });
    afterAll(() => device?.dispose());
    suite(() => device, kind);
  });
}

/** A float32 tensor for a feed. */
export const float32 = (shape: readonly number[], values: ArrayLike<number>): TensorData => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});

/** An int64 tensor for a feed. */
export const int64 = (shape: readonly number[], values: readonly number[]): TensorData => ({
  dtype: "int64",
  shape,
  data: BigInt64Array.from(values, BigInt),
});

/** The values of an output as numbers. */
export const numbersOf = ({ data }: TensorData): number[] => Array.from(data as ArrayLike<number>, Number);

export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++)
    expect(Math.abs(actual[i] - expected[i])).toBeLessThanOrEqual(tolerance * (1 + Math.abs(expected[i])));
}
