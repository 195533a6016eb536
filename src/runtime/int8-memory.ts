/**
 * @file Which int8 weights a device multiplies without overflow. On x86 without VNNI, ONNX Runtime's kernel adds two products of an
 * unsigned and a signed byte in 16 bits and cuts what does not fit (255 * 127 * 2 does not, 255 * 64 * 2 does): seven bits must do there.
 */
import { UserError } from "../errors.js";
import { Int8Memory, input, int8Range, linearInt8, packInt8, quantizeRows } from "../graph/index.js";
import type { Device, DeviceKind } from "./device.js";

const WIDTH = 64;

/** An empty memory for matrices in as many bits as this device's products are right with: found out by the largest product there is. */
export async function createInt8Memory(device: Device): Promise<Int8Memory> {
  const ones = new Float32Array(WIDTH).fill(1);
  const x = input("x", "float32", [1, WIDTH]);
  const y = linearInt8(quantizeRows(x), packInt8(ones, 1, WIDTH));
  const probe = await device.compile({ name: "largest int8 product", outputs: { y } });
  try {
    const result = await probe.run({ x: { dtype: "float32", shape: [1, WIDTH], data: ones } });
    const right = Math.abs(Number(result.y.data[0]) / WIDTH - 1) < 1e-3;
    return new Int8Memory(right ? int8Range.full : int8Range.safe);
  } finally {
    await probe.dispose();
  }
}

/** @throws UserError when the device has no products in eight bits */
export function requireInt8(kind: DeviceKind): void {
  if (kind === "webgpu")
    throw new UserError(
      "dtype: expected fp32 on the device webgpu, got q8; leave out the dtype, or compute on the processor: device cpu",
    );
}
