import { describe, expect, it } from "vitest";
import { gradient, mul, parameter, reduceSum, sizeOf, sumOf } from "../graph/index.js";
import type { ParameterSpec } from "./index.js";
import { OnnxDevice } from "./onnx-device.js";
import { ParameterLayout, SCRATCH_FLOATS } from "./parameter-layout.js";

const specs: ParameterSpec[] = [
  { name: "a", shape: [3, 7], trainable: true },
  { name: "buffer", shape: [5], trainable: false },
  { name: "bias", shape: [20], trainable: false, averaged: true },
  { name: "scalar", shape: [], trainable: true },
];

describe("parameter layout", () => {
  it("gives every array its own, aligned place", () => {
    const layout = new ParameterLayout(specs, { training: true, ema: true });
    const buffer = [new ArrayBuffer(layout.byteLength)];
    const taken: [number, number][] = [[0, 4 * SCRATCH_FLOATS]];
    for (const slot of layout.slots)
      for (const { name, trainable, shape } of specs) {
        const own = trainable || slot === "value" || (slot === "ema" && name === "bias");
        if (!own) continue;
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
    expect(layout.namesOf("gradient")).toEqual(["a", "scalar"]);
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

  it("takes several blocks where one is too small, each parameter in one with all its slots", () => {
    const many = Array.from({ length: 7 }, (_, i) => ({
      name: `w${i}`,
      shape: [10 * (i + 1), 16],
      trainable: i % 3 > 0,
    }));
    const limit = 4 * (SCRATCH_FLOATS + 6000);
    const layout = new ParameterLayout(many, { training: true, ema: true }, undefined, { blockLimit: limit });
    expect(layout.blockBytes.length).toBeGreaterThan(2);
    for (const bytes of layout.blockBytes) expect(bytes).toBeLessThanOrEqual(limit);
    const buffers = layout.blockBytes.map((bytes) => new ArrayBuffer(bytes));
    const taken: Uint8Array[] = buffers.map(({ byteLength }) => new Uint8Array(byteLength));
    for (const slot of layout.slots)
      for (const { name, trainable } of many) {
        if (!trainable && slot !== "value") continue;
        const { buffer, byteOffset, byteLength } = layout.view(buffers, slot, name);
        expect(buffer).toBe(buffers[layout.blockOf(name)]);
        const places = taken[layout.blockOf(name)].subarray(byteOffset, byteOffset + byteLength);
        expect(places.every((x) => x === 0)).toBe(true);
        places.fill(1);
      }
  });

  it("refuses a parameter that no block holds, and more than there is memory for, before anything is allocated", async () => {
    const device = await OnnxDevice.create("cpu", { threads: 1 }, { available: () => 5e9 });
    const spec = (size: number, name = "w") => ({ name, shape: [size], trainable: true });
    await expect(device.createParameters([spec(300_000_000)], { training: true })).rejects.toThrow(
      'parameter "w": expected at most 4.29 GB with value, gradient, moment1, moment2 (one WebAssembly memory), got 4.80 GB for ' +
        "[300000000]; make it smaller, or leave out training or ema",
    );
    const two = [spec(200_000_000), spec(200_000_000, "v")];
    await expect(device.createParameters(two, { training: true })).rejects.toThrow(
      "expected at most 5.00 GB (the memory that is free), got 6.40 GB for 400.0 M parameters with " +
        "value, gradient, moment1, moment2; free memory, make the model smaller, or leave out training or ema",
    );
    await device.dispose();
  });

  it("trains to the same bits in several memories as in one", async () => {
    const names = ["a", "b", "c", "d"];
    const specs = names.map((name, i) => ({ name, shape: [50 + i, 3], trainable: name !== "b" }));
    const run = async (blockLimit?: number) => {
      const device = await OnnxDevice.create("cpu", { threads: 1 }, { blockLimit });
      const store = await device.createParameters(specs, { training: true, ema: true });
      const values = Object.fromEntries(
        specs.map(({ name, shape }) => [
          name,
          Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i + shape[0])),
        ]),
      );
      await store.write("value", values);
      const p = Object.fromEntries(specs.map(({ name, shape }) => [name, parameter(name, shape)]));
      const loss = sumOf(names.map((n) => reduceSum(mul(mul(p[n], p[n]), p[n]), [0, 1])));
      const trained = names.filter((n) => n !== "b");
      const gradients = gradient(
        loss,
        trained.map((n) => p[n]),
      );
      const program = await device.compile({
        name: "cubes",
        outputs: { loss },
        gradients: Object.fromEntries(trained.map((n, i) => [n, gradients[i]])),
      });
      const results: unknown[] = [];
      for (let step = 1; step <= 3; step++) {
        await store.zeroGradients();
        for (let batch = 0; batch < 2; batch++)
          results.push((await program.run({}, { parameters: store })).loss.data[0]);
        results.push(await store.step({ ...adamw, step, gradientScale: 0.5 }));
      }
      for (const slot of ["value", "gradient", "moment1", "moment2", "ema"] as const)
        results.push(await store.read(slot));
      await device.dispose();
      return results;
    };
    const small = 4 * SCRATCH_FLOATS + 4 * 5 * 160 + 4 * 160; // room for one trained parameter, and a buffer
    expect(
      new ParameterLayout(specs, { training: true, ema: true }, undefined, { blockLimit: small }).blockBytes,
    ).toHaveLength(3);
    expect(await run(small)).toEqual(await run());
  });
});

const adamw = {
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
  emaDecay: 0.9,
};
