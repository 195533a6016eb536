/** @file What the machine can do: square float32 matrix products through the same runtime and threads, 2 n^3 operations each. */
import { matmul, parameter, reduceSum } from "../graph/index.js";
import { createDevice, type Device } from "../runtime/index.js";

const SIZE = 1024;
const REPEATS = 8;

export class SgemmCeiling {
  /** GFLOP/s of every product measured so far. */
  readonly gflops: number[] = [];

  private constructor(
    private readonly device: Device,
    private readonly product: () => Promise<unknown>,
  ) {}

  static async create(threads: number): Promise<SgemmCeiling> {
    const device = await createDevice("cpu", { threads });
    const shape = [SIZE, SIZE];
    const specs = ["a", "b"].map((name) => ({ name, shape, trainable: false }));
    const parameters = await device.createParameters(specs);
    const values = Float32Array.from({ length: SIZE * SIZE }, (_, i) => Math.sin(i));
    await parameters.write("value", { a: values, b: values });
    const product = matmul(parameter("a", shape), parameter("b", shape));
    // One number comes back, not the product.
    const program = await device.compile({ name: "sgemm", outputs: { sum: reduceSum(product, [0, 1]) } });
    const run = () => program.run({}, { parameters });
    await run();
    return new SgemmCeiling(device, run);
  }

  /** A few products: call it between the rounds of what is measured. */
  async measure(): Promise<void> {
    for (let i = 0; i < REPEATS; i++) {
      const start = performance.now();
      await this.product();
      this.gflops.push((2 * SIZE ** 3) / (performance.now() - start) / 1e6);
    }
  }

  dispose(): Promise<void> {
    return this.device.dispose();
  }
}
