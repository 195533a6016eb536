import { describe, expect, it } from "vitest";
import { createDevice, type ParameterSpec } from "./index.js";
import { ParameterLayout, SCRATCH_FLOATS } from "./parameter-layout.js";

const specs: ParameterSpec[] = [
  { name: "a", shape: [3, 7], trainable: true },
  { name: "buffer", shape: [5], trainable: false },
  { name: "scalar", shape: [], trainable: true },
];

describe("parameter layout", () => {
  it("gives every array its own, aligned place", () => {
    const layout = new ParameterLayout(specs, { training: true, ema: true });
    const buffer = new ArrayBuffer(layout.byteLength);
    const taken: [number, number][] = [[0, 4 * SCRATCH_FLOATS]];
    for (const slot of layout.slots)
      for (const { name, trainable, shape } of specs) {
        if (!trainable && slot !== "value") continue;
        const view = layout.view(buffer, slot, name);
        expect(view.length).toBe(shape.reduce((a, b) => a * b, 1));
        expect(view.byteOffset % 64).toBe(0);
        taken.push([view.byteOffset, view.byteOffset + view.byteLength]);
      }
    taken.sort(([a], [b]) => a - b);
    for (let i = 1; i < taken.length; i++) expect(taken[i][0]).toBeGreaterThanOrEqual(taken[i - 1][1]);
    expect(layout.view(buffer, "ema", "buffer").byteOffset).toBe(
      layout.view(buffer, "value", "buffer").byteOffset,
    );
  });

  it("holds no more than the slots asked for", () => {
    const million: ParameterSpec[] = [
      { name: "w", shape: [1000, 1024], trainable: true },
      { name: "fixed", shape: [1000, 1024], trainable: false },
    ];
    const bytes = (options: object) => new ParameterLayout(million, options).byteLength - 4 * SCRATCH_FLOATS;
    expect(bytes({})).toBe(2 * 4_096_000);
    expect(bytes({ ema: true })).toBe(3 * 4_096_000);
    expect(bytes({ training: true })).toBe(5 * 4_096_000);
    expect(bytes({ training: true, ema: true })).toBe(6 * 4_096_000);
  });

  it("refuses what no WebAssembly memory can hold, before anything is allocated", async () => {
    const device = await createDevice("cpu", { threads: 1 });
    const large = [{ name: "w", shape: [300_000_000], trainable: true }];
    await expect(device.createParameters(large, { training: true })).rejects.toThrow(
      "expected at most 4.00 GB (the limit of WebAssembly memory), got 4.47 GB for 300.0 M parameters with " +
        "value, gradient, moment1, moment2; make the model smaller, or leave out training or ema",
    );
    await device.dispose();
  });
});
