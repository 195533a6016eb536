/** @file What the graph tests share: small random tensors, a direct ONNX Runtime call, closeness, and the gradient check. */
import * as ort from "onnxruntime-node";
import { expect } from "vitest";
import { evaluate } from "../evaluate.js";
import { gradient } from "../gradient.js";
import { NDArray } from "../ndarray.js";
import { writeOnnx } from "../onnx.js";
import { mul } from "../operators/elementwise.js";
import { reduceSum } from "../operators/reduce.js";
import { cpuTarget, type Target, webgpuTarget } from "../target.js";
import { constant, parameter, type Tensor } from "../tensor.js";
import { type IoSpec, sizeOf, type TensorData } from "../types.js";

/** A deterministic sequence in (-1, 1), irregular enough for tests. */
export function wave(count: number, seed = 1): number[] {
  return Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed) * 0.97);
}

export const array = (shape: readonly number[], values: ArrayLike<number> = wave(sizeOf(shape))): NDArray =>
  new NDArray("float32", shape, Float64Array.from(values));

const targets = { cpu: cpuTarget, webgpu: webgpuTarget };

type Values = Record<string, NDArray | TensorData>;

/** Set: programs lowered for a graphics card run on one, or on what the Vulkan loader offers in its place. */
export const onGraphicsCard = process.env.MOE_DIFFUSEQ_TEST_WEBGPU === "1";

/** Runs a module's ONNX form once on two threads. */
export async function runOnnx(
  module: Parameters<typeof writeOnnx>[0],
  feeds: Values,
  parameters: Values = {},
  target: Target = cpuTarget,
): Promise<Record<string, NDArray>> {
  const program = writeOnnx(module, target);
  const session = await ort.InferenceSession.create(program.bytes, {
    executionProviders: [target === webgpuTarget && onGraphicsCard ? "webgpu" : "cpu"],
    intraOpNumThreads: 2,
    logSeverityLevel: 3,
  });
  const all = { ...parameters, ...feeds };
  const given = (name: string): TensorData => {
    const value = all[name];
    return value instanceof NDArray ? value.toTensorData() : value;
  };
  const { packs } = program;
  const named = packs ? program.inputs : [...program.inputs, ...program.parameters];
  const tensors = Object.fromEntries(
    named.map(({ name }: IoSpec) => {
      const { dtype, shape, data } = given(name);
      return [name, new ort.Tensor(dtype, data as Float32Array, shape)];
    }),
  );
  for (const { name, size, parts } of packs?.parameters ?? []) {
    const joined = new Float32Array(size);
    for (const part of parts) joined.set(given(part.name).data as Float32Array, part.start);
    tensors[name] = new ort.Tensor("float32", joined, [size]);
  }
  const results = await session.run(tensors);
  await session.release();
  const arrays = Object.entries(results).map(([name, t]): [string, NDArray] => [
    name,
    NDArray.from({ dtype: t.type, shape: t.dims, data: t.data } as TensorData),
  ]);
  const shapes = new Map(program.gradients.map(({ name, shape }) => [name, shape as readonly number[]]));
  const unpacked = (packs?.gradients ?? []).flatMap(({ name, parts }) => {
    const { data } = results[name];
    return parts.map((part): [string, NDArray] => [
      part.name,
      new NDArray(
        "float32",
        shapes.get(part.name)!,
        Float64Array.from((data as Float32Array).subarray(part.start, part.start + part.size)),
      ),
    ]);
  });
  return Object.fromEntries([...arrays, ...unpacked]);
}

/** Largest difference, relative to the largest expected value (at least 1e-6). */
export function distance(actual: NDArray, expected: NDArray): number {
  expect(actual.shape).toEqual(expected.shape);
  let scale = 1e-6;
  let worst = 0;
  for (let i = 0; i < expected.data.length; i++) {
    scale = Math.max(scale, Math.abs(expected.data[i]));
    const difference = Math.abs(actual.data[i] - expected.data[i]);
    worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(worst, difference);
  }
  return worst / scale;
}

type Build = (p: Record<string, Tensor>) => Tensor;

/**
 * The three checks every operator must pass, lowered for each target: ONNX Runtime agrees with the oracle; the lowered graph agrees with
 * the oracle in float64 (to 1e-7: constants in a graph are float32); gradients (float64, lowered) agree with central differences of the
 * oracle, and ONNX Runtime's with those.
 * @param builds forms of one operator: the first one's oracle is held against all
 */
export async function checkOperator(
  parameters: Record<string, NDArray>,
  builds: Build | readonly Build[],
  options: { tolerance?: number; differentiable?: readonly string[]; step?: number } = {},
): Promise<void> {
  const { tolerance = 2e-6, step = 1e-5 } = options;
  const leaves = Object.fromEntries(Object.entries(parameters).map(([n, v]) => [n, parameter(n, v.shape)]));
  const outs = [builds].flat().map((build) => build(leaves));
  const [oracle, ...others] = outs.map(
    (out) => evaluate(moduleOf(out), {}, parameters, { lowered: false }).out,
  );
  for (const other of others) expect(distance(other, oracle)).toBeLessThan(1e-9);
  for (const [form, out] of outs.entries())
    for (const [name, target] of Object.entries(targets)) {
      const what = `${name}, form ${form}`;
      const module = moduleOf(out);
      const lowered = evaluate(module, {}, parameters, { lowered: true, target }).out;
      expect(distance(lowered, oracle), what).toBeLessThan(1e-7);
      const bound = onGraphicsCard && target === webgpuTarget ? 5 * tolerance : tolerance;
      expect(distance((await runOnnx(module, {}, parameters, target)).out, oracle), what).toBeLessThan(bound);
    }

  const names = options.differentiable ?? Object.keys(parameters);
  if (names.length === 0) return;
  const weights = constant(wave(sizeOf(oracle.shape), 7), oracle.shape);
  const losses = outs.map((out) => lossOf(out, weights));
  const numeric = Object.fromEntries(
    names.map((name) => [name, centralDifferences(losses[0], parameters, name, step)]),
  );
  for (const [form, loss] of losses.entries()) {
    const gradients = gradient(
      loss,
      names.map((n) => leaves[n]),
    );
    const both = {
      name: "gradients",
      outputs: { loss },
      gradients: Object.fromEntries(names.map((n, i) => [n, gradients[i]])),
    };
    for (const [targetName, target] of Object.entries(targets)) {
      const exact = evaluate(both, {}, parameters, { target });
      const fast = await runOnnx(both, {}, parameters, target);
      for (const name of names) {
        const [key, what] = [`gradient:${name}`, `${name}, ${targetName}, form ${form}`];
        expect(distance(exact[key], numeric[name]), `gradient of ${what}`).toBeLessThan(1e-6);
        expect(distance(fast[key], exact[key]), `ONNX ${what}`).toBeLessThan(1e-5);
      }
    }
  }
}

const moduleOf = (out: Tensor) => ({ name: "operator", outputs: { out } });

const lossOf = (out: Tensor, weights: Tensor): Tensor =>
  reduceSum(
    mul(out, weights),
    out.shape.map((_, i) => i),
  );

/** Of the oracle's loss, at every entry of the parameter. */
function centralDifferences(
  loss: Tensor,
  parameters: Record<string, NDArray>,
  name: string,
  step: number,
): NDArray {
  const { shape, data: start } = parameters[name];
  const shifted = (i: number, delta: number) => {
    const data = start.slice();
    data[i] += delta;
    const at = { ...parameters, [name]: new NDArray("float32", shape, data) };
    return evaluate({ name: "loss", outputs: { loss } }, {}, at, { lowered: false }).loss.data[0];
  };
  const numeric = NDArray.zeros(shape);
  for (let i = 0; i < start.length; i++)
    numeric.data[i] = (shifted(i, step) - shifted(i, -step)) / (2 * step);
  return numeric;
}
