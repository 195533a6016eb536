/** @file What programs for a graphics card ask of a device, as far as it can be tried without one. */
import { describe, expect, it } from "vitest";
import {
  gradient,
  input,
  matmul,
  mul,
  parameter,
  reduceSum,
  webgpuTarget,
  writeOnnx,
} from "../graph/index.js";
import { createDevice, requireInt8 } from "./index.js";
import { OnnxDevice } from "./onnx-device.js";
import { float32, numbersOf } from "./testing/devices.js";

describe("programs for a graphics card", () => {
  it("are fed and read through packs, over several runs, with values and averages", async () => {
    // loss = sum_c scale_c (x . w_c)^2, so dw_c = 2 scale_c (x . w_c) x and dscale_c = (x . w_c)^2.
    const w = parameter("w", [3, 2]);
    const scale = parameter("scale", [2]);
    const y = matmul(input("x", "float32", [1, 3]), w);
    const loss = reduceSum(mul(mul(y, y), scale), [0, 1]);
    const [dw, dscale] = gradient(loss, [w, scale]);
    const module = { name: "squares", outputs: { loss }, gradients: { w: dw, scale: dscale } };
    const x = float32([1, 3], [1, -2, 0.5]);

    const device = await OnnxDevice.create("cpu", { threads: 1 });
    const specs = [
      { name: "scale", shape: [2], trainable: true },
      { name: "w", shape: [3, 2], trainable: true },
    ];
    const parameters = await device.createParameters(specs, { training: true, ema: true });
    await parameters.write("value", { w: Float32Array.of(1, 2, 3, 4, 5, 6), scale: Float32Array.of(1, -1) });
    await parameters.write("ema", { w: Float32Array.of(1, 0, 0, 0, 0, 0), scale: Float32Array.of(3, 3) });
    const program = await device.load(writeOnnx(module, webgpuTarget));
    expect(program.program.packs).not.toBeNull();
    await parameters.zeroGradients();
    // x . w = [-2.5, -3]
    for (const times of [1, 2]) {
      const outputs = await program.run({ x }, { parameters });
      expect(numbersOf(outputs.loss)).toEqual([6.25 - 9]);
      const found = await parameters.read("gradient");
      expect([...found.scale]).toEqual([6.25 * times, 9 * times]);
      expect([...found.w]).toEqual([-5, 6, 10, -12, -2.5, 3].map((v) => v * times));
    }
    const average = await program.run({ x }, { parameters, slot: "ema" });
    expect(numbersOf(average.loss)).toEqual([3]);
    await device.dispose();
  });

  it.runIf(process.platform === "linux")("say so where there is none", async () => {
    const before = process.env.VK_ICD_FILENAMES;
    process.env.VK_ICD_FILENAMES = "/there/is/none.json";
    try {
      await expect(createDevice("webgpu")).rejects.toThrow(
        /^device webgpu: expected a graphics card .*, found none .*device cpu$/,
      );
    } finally {
      if (before === undefined) delete process.env.VK_ICD_FILENAMES;
      else process.env.VK_ICD_FILENAMES = before;
    }
  });

  it("are not made for weights in eight bits", () => {
    expect(() => requireInt8("webgpu")).toThrow("expected fp32 on the device webgpu, got q8");
    for (const kind of ["cpu", "reference"] as const) expect(() => requireInt8(kind)).not.toThrow();
  });
});
