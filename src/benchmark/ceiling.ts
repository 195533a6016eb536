/** @file What the machine can do: square float32 matrix products through the same runtime and threads, as `train --profile` measures them. */
import { createDevice, type Device } from "../runtime/index.js";
import { measureCeiling } from "../training/profile.js";

export class SgemmCeiling {
  /** GFLOP/s, a number each time it was measured. */
  readonly gflops: number[] = [];

  private constructor(
    private readonly device: Device,
    private readonly size?: number,
  ) {}

  /** @param size rows and columns; default: those of `train --profile` */
  static async create(threads: number, size?: number): Promise<SgemmCeiling> {
    return new SgemmCeiling(await createDevice("cpu", { threads }), size);
  }

  /** A few products: call it between the rounds of what is measured. */
  async measure(): Promise<void> {
    this.gflops.push(await measureCeiling(this.device, this.size));
  }

  dispose(): Promise<void> {
    return this.device.dispose();
  }
}
