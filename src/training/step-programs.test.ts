/** @file A step cut into pieces is the step: gradients to the bit, and over ranks the update of one process. */
import { describe, expect, it } from "vitest";
import type { PresetName } from "../config/index.js";
import { trainingModule, trainingPieces } from "../diffusion/modules.js";
import { makeRow, tinyBatch, tinyConfig, tinyParameters } from "../diffusion/testing/tiny.js";
import { inProcessRanks } from "../distributed/testing/in-process.js";
import type { GraphModule, TensorData } from "../graph/index.js";
import { denoiserParameters } from "../model/denoiser.js";
import { createDevice, type Device, type Executable } from "../runtime/index.js";
import { StepPrograms } from "./step-programs.js";

const adamw = {
  learningRate: 1e-2,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
  emaDecay: null,
};

/** A batch of two rows and its module, layers checkpointed. */
function step(preset: PresetName, backwardPieces: number) {
  const config = tinyConfig(preset, {
    model: { numLayers: 3 },
    training: { activationCheckpointing: "layers", backwardPieces },
  });
  const { feeds, shape } = tinyBatch(config, [makeRow(config, 0, [9], 13), makeRow(config, 1, [4, 3], 13)]);
  const module = trainingModule(config, shape, "layers");
  const values = Object.fromEntries(
    Object.entries(tinyParameters(config)).map(([name, { data }]) => [name, data as Float32Array]),
  );
  return { config, feeds, module, values };
}

async function storeOf(device: Device, { config, values }: ReturnType<typeof step>) {
  const store = await device.createParameters(denoiserParameters(config.model), { training: true });
  await store.write("value", values);
  return store;
}
const only = (feeds: Record<string, TensorData>, names: readonly string[]) =>
  Object.fromEntries(names.filter((name) => name in feeds).map((name) => [name, feeds[name]]));

describe.each(["masked", "moe-diffuseq", "diffuseq"] as const)("%s", (preset) => {
  it("three pieces give the gradients of one program, to the bit", async () => {
    const own = step(preset, 3);
    const device = await createDevice("cpu", { threads: 1 });
    const found = [];
    for (const pieces of [1, 3]) {
      const store = await storeOf(device, own);
      const held = await device.createHeld();
      const results = [];
      await store.zeroGradients();
      for (const one of trainingPieces(own.module, own.config.model, { pieces, prefix: "held:" })) {
        const program = await device.compile(one);
        const names = program.program.inputs.map(({ name }) => name);
        results.push(await program.run(only(own.feeds, names), { parameters: store, held }));
      }
      found.push({ outputs: Object.assign({}, ...results), gradients: await store.read("gradient") });
    }
    expect(Object.keys(found[0].gradients).length).toBeGreaterThan(20);
    expect(found[1]).toEqual(found[0]);
    await device.dispose();
  });
});

/** The device, but the second program that it compiles fails when it first runs. */
function failingOnce(device: Device): Device {
  let compiled = 0;
  let failed = false;
  return new Proxy(device, {
    get(target, key) {
      const value = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      if (key !== "compile") return value.bind(target);
      return async (module: GraphModule): Promise<Executable> => {
        const whole = await target.compile(module);
        if (++compiled !== 2) return whole;
        return {
          program: whole.program,
          dispose: () => whole.dispose(),
          run: async (...given) => {
            if (failed) return whole.run(...given);
            failed = true;
            throw new Error("this piece fails");
          },
        };
      };
    },
  });
}

it("a step of which a piece failed can be begun anew", async () => {
  const own = step("moe-diffuseq", 3);
  const run = (fails: boolean) =>
    Promise.all(
      inProcessRanks(2).map(async (communicator) => {
        const device = await createDevice("reference", { communicator });
        const store = await storeOf(device, own);
        const programs = await StepPrograms.create(
          own.module,
          own.config,
          fails ? failingOnce(device) : device,
        );
        const feeds = only(
          own.feeds,
          programs.inputs.map(({ name }) => name),
        );
        if (fails) {
          await store.zeroGradients();
          await expect(programs.run(feeds, store, true)).rejects.toThrow("this piece fails");
        }
        await store.zeroGradients();
        await programs.run(feeds, store, true);
        const result = await store.step({ ...adamw, step: 1 });
        return { result, values: await store.read("value") };
      }),
    );
  expect(await run(true)).toEqual(await run(false));
});

it("ranks that sum the gradients of one piece while the next runs update as one process does", async () => {
  const own = step("moe-diffuseq", 3);
  const run = async (device: Device, scale: number) => {
    const store = await storeOf(device, own);
    const programs = await StepPrograms.create(own.module, own.config, device);
    const feeds = only(
      own.feeds,
      programs.inputs.map(({ name }) => name),
    );
    const results = [];
    for (let k = 1; k <= 2; k++) {
      await store.zeroGradients();
      for (const last of [false, true]) results.push((await programs.run({ ...feeds }, store, last)).loss);
      results.push(await store.step({ ...adamw, step: k, gradientScale: scale / 2 }));
    }
    return { results, values: await store.read("value") };
  };
  const alone = await run(await createDevice("reference"), 1);
  // Each rank has the whole batch: sums over three ranks are three times the gradients.
  const ranks = inProcessRanks(3);
  const all = await Promise.all(
    ranks.map(async (communicator) => run(await createDevice("reference", { communicator }), 1 / 3)),
  );
  for (const { results, values } of all) {
    expect(JSON.stringify(results)).toBe(JSON.stringify(all[0].results));
    for (const [name, value] of Object.entries(alone.values))
      for (const [i, x] of value.entries()) expect(Math.abs(values[name][i] - x), name).toBeLessThan(1e-6);
  }
});
