/** @file A training step under the profiler, beside the fastest matrix product of the same machine in the same minute. */
import { type GraphModule, input, matmul, type TensorData } from "../graph/index.js";
import {
  type Device,
  groupTimes,
  leastTimes,
  type NodeTime,
  type ParameterStore,
  partOf,
  phaseOf,
  totalTime,
} from "../runtime/index.js";

/** Nodes that belong together. Times in milliseconds a step. */
export interface ProfileGroup {
  readonly name: string;
  readonly count: number;
  readonly milliseconds: number;
  /** Of these, in matrix products. */
  readonly productMilliseconds: number;
  /** Floating-point operations of those. */
  readonly flops: number;
}

/** Plain JSON. Every node counts with its least time over the runs; the optimiser is not part of it. */
export interface StepProfile {
  readonly milliseconds: number;
  /** GFLOP/s of a product of 1,024 cubed. */
  readonly ceiling: number;
  /** Forward, recompute, backward. */
  readonly byPhase: readonly ProfileGroup[];
  /** By part of the model, all layers together, most time first; so are the others. */
  readonly byPart: readonly ProfileGroup[];
  /** By ONNX operator. */
  readonly byOperator: readonly ProfileGroup[];
}

const RUNS = 3;
/** Rows and columns of the matrices that a machine is measured with. */
export const CEILING_SIZE = 1024;
const CEILING_RUNS = 10;

/** GFLOP/s of the best of ten products of `size` cubed. */
export async function measureCeiling(device: Device, size = CEILING_SIZE): Promise<number> {
  const shape = [size, size];
  const product = matmul(input("a", "float32", shape), input("b", "float32", shape));
  const operand: TensorData = {
    dtype: "float32",
    shape,
    data: Float32Array.from({ length: size ** 2 }, (_, i) => Math.sin(i)),
  };
  const feeds = { a: operand, b: operand };
  const runs = await device.profile({ name: "ceiling", outputs: { product } }, feeds, { runs: CEILING_RUNS });
  return (2 * size ** 3) / totalTime(leastTimes(runs)) / 1000;
}

/** Profiles loss and gradients. Gradients in the store are not zero afterwards. @throws UserError on the reference device */
export async function profileStep(
  module: GraphModule,
  feeds: Readonly<Record<string, TensorData>>,
  device: Device,
  parameters: ParameterStore,
): Promise<StepProfile> {
  const ceiling = await measureCeiling(device);
  const nodes = leastTimes(await device.profile(module, feeds, { parameters, runs: RUNS }));
  const by = (keyOf: (node: NodeTime) => string): ProfileGroup[] =>
    groupTimes(nodes, keyOf).map(({ name, count, microseconds, productMicroseconds, flops }) => ({
      name,
      count,
      milliseconds: microseconds / 1000,
      productMilliseconds: productMicroseconds / 1000,
      flops,
    }));
  return {
    milliseconds: totalTime(nodes) / 1000,
    ceiling,
    byPhase: by(phaseOf),
    byPart: by(partOf),
    byOperator: by(({ operator }) => operator),
  };
}
