import { describe, expect, it } from "vitest";
import { alone, type Communicator } from "../distributed/index.js";
import { inProcessRanks } from "../distributed/testing/in-process.js";
import { CounterRandom } from "../random/index.js";
import type { ParameterSpec } from "./index.js";
import { referenceKernels } from "./kernels/reference.js";
import { BUCKET_FLOATS, ParameterLayout, SCRATCH_FLOATS } from "./parameter-layout.js";
import { ParameterMemory } from "./parameter-memory.js";
import { RankExchange } from "./rank-exchange.js";

const specs: ParameterSpec[] = [
  { name: "first", shape: [5, 7], trainable: true },
  { name: "buffer", shape: [3], trainable: false },
  { name: "scalar", shape: [], trainable: true },
  { name: "long", shape: [301], trainable: true },
];
const adamw = {
  learningRate: 0.1,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.5,
  maxGradNorm: 1,
  emaDecay: 0.5,
  noDecay: ["scalar", "long"],
};
const trainable = specs.filter((spec) => spec.trainable);
const slots = ["value", "moment1", "moment2", "ema"] as const;
const sizeOf = ({ shape }: ParameterSpec) => shape.reduce((a, b) => a * b, 1);

/** Bytes with room for the longest parameter with all its slots (and what sharding rounds up), not for all of them. */
const blockLimit = (sharded: boolean): number => 4 * (SCRATCH_FLOATS + (sharded ? 2000 : 1560));

/** Normal numbers, in quarters: sums of a few of them are exact in any order. */
function numbers(of: readonly ParameterSpec[], seed: number): Record<string, Float32Array> {
  const random = new CounterRandom(seed);
  return Object.fromEntries(
    of.map((spec, k) => {
      const array = new Float32Array(sizeOf(spec));
      random.fillNormal(array, 0, k, 0);
      return [spec.name, array.map((x) => Math.round(4 * x) / 4 + 0)];
    }),
  );
}
/** Memory of one rank, in several blocks where there are several ranks; with buckets of 64 floats, every operation cuts parameters in their middle. */
function memoryOf(sharded: boolean, communicator: Communicator = alone): ParameterMemory {
  const options = { training: true, ema: true, shardOptimizer: sharded };
  const limits = {
    bucketFloats: 64,
    ...(communicator === alone ? {} : { blockLimit: blockLimit(sharded && communicator.size > 1) }),
  };
  const layout = new ParameterLayout(specs, options, communicator, limits);
  if (communicator !== alone) expect(layout.blockBytes.length).toBeGreaterThan(1);
  const blocks = layout.blockBytes.map((bytes) => ({
    buffer: new ArrayBuffer(bytes),
    kernels: referenceKernels,
  }));
  const memory = new ParameterMemory(layout, blocks, communicator);
  memory.write("value", numbers(specs, 100));
  memory.write("ema", numbers(trainable, 101));
  return memory;
}

async function readAll(memory: ParameterMemory) {
  const all: Record<string, Record<string, Float32Array>> = {};
  for (const slot of slots) all[slot] = await memory.read(slot, memory.layout.namesOf(slot));
  return all;
}

/** What one process does that has all gradients. */
async function oracle(ranks: number, steps: number) {
  const memory = memoryOf(false);
  const results = [];
  for (let step = 1; step <= steps; step++) {
    const gradients = numbers(trainable, step);
    for (let rank = 1; rank < ranks; rank++)
      for (const [name, array] of Object.entries(numbers(trainable, 10 * rank + step)))
        for (let i = 0; i < array.length; i++) gradients[name][i] += array[i];
    memory.write("gradient", gradients);
    results.push(await memory.step({ ...adamw, step }));
  }
  return { results, state: await readAll(memory) };
}

describe.each([false, true])("AdamW over ranks, sharded: %s", (sharded) => {
  it.each([1, 2, 3, 5])("%i ranks do what one does with the sum of their gradients", async (ranks) => {
    const one = await oracle(ranks, 3);
    const memories = inProcessRanks(ranks).map((communicator) => memoryOf(sharded, communicator));
    if (ranks > 1) expect(memories[0].layout.buckets.length).toBeGreaterThan(2);
    for (let step = 1; step <= 3; step++) {
      for (const [rank, memory] of memories.entries())
        memory.write("gradient", numbers(trainable, 10 * rank + step));
      const results = await Promise.all(memories.map((memory) => memory.step({ ...adamw, step })));
      for (const { gradNorm, applied } of results) {
        expect(applied).toBe(true);
        expect(gradNorm).toBeCloseTo(one.results[step - 1].gradNorm, 10);
        expect(gradNorm).toBe(results[0].gradNorm);
      }
    }
    const states = await Promise.all(memories.map(readAll));
    for (const state of states) {
      expect(state).toEqual(states[0]);
      for (const slot of slots)
        for (const [name, array] of Object.entries(one.state[slot]))
          for (let i = 0; i < array.length; i++)
            expect(Math.abs(state[slot][name][i] - array[i])).toBeLessThanOrEqual(1e-6);
    }
  });

  it("sums that begin before the step are its own, once", async () => {
    const one = await oracle(3, 1);
    const memories = inProcessRanks(3).map((communicator) => memoryOf(sharded, communicator));
    const results = await Promise.all(
      memories.map(async (memory, rank) => {
        await memory.zeroGradients();
        const { first, ...others } = numbers(trainable, 10 * rank + 1);
        memory.addGradient("long", others.long);
        const sums = memory.gradientsComplete(["long"]);
        memory.addGradient("first", first);
        memory.addGradient("scalar", others.scalar);
        await sums;
        await expect(memory.zeroGradients()).rejects.toThrow("step comes before");
        return memory.step({ ...adamw, step: 1 });
      }),
    );
    for (const { gradNorm } of results) expect(gradNorm).toBeCloseTo(one.results[0].gradNorm, 10);
    for (const state of await Promise.all(memories.map(readAll)))
      for (const slot of slots)
        for (const [name, array] of Object.entries(one.state[slot]))
          for (let i = 0; i < array.length; i++)
            expect(Math.abs(state[slot][name][i] - array[i])).toBeLessThanOrEqual(1e-6);
  });

  it("sums of a step that is abandoned are waited for and dropped", async () => {
    const one = await oracle(2, 1);
    const memories = inProcessRanks(2).map((communicator) => memoryOf(sharded, communicator));
    const zeroed: number[] = [];
    const begin = (rank: number) => {
      const memory = memories[rank];
      memory.write("gradient", numbers(trainable, 50 + rank));
      void memory.gradientsComplete(["long"]);
      memory.abandonStep();
      return memory.zeroGradients().then(() => zeroed.push(rank));
    };
    const first = begin(0);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(zeroed).toEqual([]);
    await Promise.all([first, begin(1)]);
    for (const memory of memories)
      for (const gradient of Object.values(
        await memory.read(
          "gradient",
          trainable.map(({ name }) => name),
        ),
      ))
        expect(gradient.every((x) => x === 0)).toBe(true);
    await Promise.all(
      memories.map((memory, rank) => {
        memory.write("gradient", numbers(trainable, 10 * rank + 1));
        return memory.step({ ...adamw, step: 1 });
      }),
    );
    for (const state of await Promise.all(memories.map(readAll)))
      for (const slot of slots)
        for (const [name, array] of Object.entries(one.state[slot]))
          for (let i = 0; i < array.length; i++)
            expect(Math.abs(state[slot][name][i] - array[i])).toBeLessThanOrEqual(1e-6);
    await memories[0].zeroGradients(); // of the next step
  });

  it("sums that begin while others are to come are as few as can be, and the same", async () => {
    const [early, late] = [0, 1].map(() =>
      inProcessRanks(3).map((communicator) => {
        const sums: number[] = [];
        const counted: Communicator = {
          ...communicator,
          allReduce: (values) => {
            sums.push(values.length);
            return communicator.allReduce(values);
          },
          reduceScatter: (values, own) => {
            sums.push(values.length);
            return communicator.reduceScatter(values, own);
          },
        };
        return { memory: memoryOf(sharded, counted), sums };
      }),
    );
    const results = await Promise.all(
      [early, late].map((ranks, k) =>
        Promise.all(
          ranks.map(async ({ memory, sums }, rank) => {
            for (const [name, values] of Object.entries(numbers(trainable, 10 * rank + 1)))
              memory.write("gradient", { [name]: values.map((x) => x / 3) });
            if (k === 0) await memory.gradientsComplete(["long"]);
            const begun = sums.slice();
            await memory.step({ ...adamw, step: 1 });
            return { begun, values: await memory.read("value", ["first", "scalar", "long"]) };
          }),
        ),
      ),
    );
    const whole = early[0].memory.layout.buckets
      .filter((bucket) => early[0].memory.layout.namesIn(bucket).join() === "long")
      .map(({ start, end }) => end - start);
    expect(whole.length).toBeGreaterThan(2);
    const expected = sharded ? whole : [whole.reduce((a, b) => a + b, 0)];
    for (const { begun, values } of results[0]) {
      expect(begun).toEqual(expected);
      expect(values).toEqual(results[1][0].values);
    }
    // Nothing is summed twice, and what `step` sums goes bucket by bucket.
    const floats = (sums: number[]) => sums.filter((length) => length > 1).reduce((a, b) => a + b, 0);
    expect(floats(early[0].sums)).toBe(floats(late[0].sums));
    const { length } = late[0].memory.layout.buckets;
    expect(late[0].sums.filter((size) => size > 1)).toHaveLength(length);
  });

  it("sums at once end with their block", async () => {
    const lengths = await Promise.all(
      inProcessRanks(2).map(async (communicator) => {
        const sums: number[] = [];
        const allReduce: Communicator["allReduce"] = (values) => {
          sums.push(values.length);
          return communicator.allReduce(values);
        };
        const { layout, buffers } = memoryOf(false, communicator);
        await new RankExchange({ ...communicator, allReduce }, layout, buffers).sumGradientsAtOnce(
          layout.buckets,
        );
        return { sums, blocks: layout.blockBytes.length };
      }),
    );
    for (const { sums, blocks } of lengths) expect(sums).toHaveLength(blocks);
  });

  it("whole buckets alone are summed early", async () => {
    const memories = inProcessRanks(2).map((communicator) => memoryOf(false, communicator));
    await Promise.all(
      memories.map((memory) => {
        memory.write("gradient", {
          first: new Float32Array(35).fill(1),
          long: new Float32Array(301).fill(1),
        });
        return memory.gradientsComplete(["long"]);
      }),
    );
    const { first, long } = await memories[0].read("gradient", ["first", "long"]);
    expect(new Set(first)).toEqual(new Set([1]));
    // What stands in one bucket with another parameter waits for it.
    expect(long.at(-1)).toBe(2);
    expect(long.filter((x) => x === 1).length).toBeLessThan(64);
  });

  it("what some ranks hold can be read, and written into another number of ranks", async () => {
    const two = inProcessRanks(2).map((communicator) => memoryOf(sharded, communicator));
    for (const memory of two) memory.write("moment2", numbers(trainable, 7));
    const names = trainable.map(({ name }) => name);
    for (const values of await Promise.all(two.map((memory) => memory.read("moment2", names)))) {
      const three = inProcessRanks(3).map((communicator) => memoryOf(sharded, communicator));
      for (const memory of three) memory.write("moment2", values);
      for (const again of await Promise.all(three.map((memory) => memory.read("moment2", names))))
        expect(again).toEqual(numbers(trainable, 7));
    }
  });

  it("a gradient that is not finite on one rank stops all of them before the update", async () => {
    const memories = inProcessRanks(2).map((communicator) => memoryOf(sharded, communicator));
    memories[1].write("gradient", { scalar: Float32Array.of(Number.NaN) });
    const results = await Promise.all(memories.map((memory) => memory.step({ ...adamw, step: 1 })));
    for (const { applied } of results) expect(applied).toBe(false);
    for (const memory of memories)
      expect(await memory.read("value", Object.keys(numbers(specs, 100)))).toEqual(numbers(specs, 100));
  });
});

it("a sharded optimiser keeps a part of both moments, and every float of them once", () => {
  const options = { training: true, ema: true, shardOptimizer: true };
  const million: ParameterSpec[] = [{ name: "w", shape: [4, 2 ** 20], trainable: true }];
  const size = 4;
  const layouts = Array.from(
    { length: size },
    (_, rank) => new ParameterLayout(million, options, { rank, size }),
  );
  const whole = new ParameterLayout(million, { training: true, ema: true });
  // 2 * 4 M floats shrink to a quarter; the inbox takes a quarter of a bucket.
  expect(whole.byteLength - layouts[0].byteLength).toBe(4 * (6 * 2 ** 20 - BUCKET_FLOATS / size));
  const parts = layouts.flatMap(({ buckets }) => buckets.flatMap((bucket) => bucket.parts));
  const ranges = parts.map(({ start, end }) => [start, end]).sort(([a], [b]) => a - b);
  expect(ranges[0][0]).toBe(0);
  for (let i = 1; i < ranges.length; i++) expect(ranges[i][0]).toBe(ranges[i - 1][1]);
  expect(ranges.at(-1)![1]).toBe(4 * 2 ** 20);
});
