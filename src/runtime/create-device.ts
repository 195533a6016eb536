/** @file One entry to all devices. */
import { UserError } from "../errors.js";
import { type Device, type DeviceKind, type DeviceOptions, deviceKinds } from "./device.js";

/**
 * Starts a device.
 *
 * @param kind "cpu" (ONNX Runtime in a worker thread), "webgpu" (the same on a graphics card) or "reference" (float64, slow, for checks)
 * @param options threads: how many share one operator (cpu only); default: the processors this process may use. communicator: the
 *   processes that train together; default: this one alone
 */
export async function createDevice(kind: DeviceKind, options: DeviceOptions = {}): Promise<Device> {
  switch (kind) {
    // Loaded on demand: the reference works where the native library does not.
    case "cpu":
    case "webgpu":
      return (await import("./onnx-device.js")).OnnxDevice.create(kind, options);
    case "reference":
      return new (await import("./reference-device.js")).ReferenceDevice(options.communicator);
    default:
      throw new UserError(`device: expected one of ${deviceKinds.join(", ")}, got "${kind as string}"`);
  }
}
