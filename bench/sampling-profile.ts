/**
 * @file Where the time of one step of writing goes: ONNX Runtime's own profile of the network's run, at the sizes of `bench-small`.
 *
 *   npx tsx bench/sampling-profile.ts [--preset moe-diffuseq] [--dtype fp32] [--step 10] [--steps 20] [--length 2048]
 *                                     [--cache-interval 1] [--runs 5] [--threads 1] [--rows 20]
 *
 * Weights are those training starts from. Every node counts with its least time over the runs, so that other work on the machine shows
 * little on one thread. A step that computes some rows (--cache-interval) is profiled with the keys and values that stand then.
 */
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import type { ModelDType } from "../src/config/index.js";
import { embeddedCorpus, Tokenizer } from "../src/data/index.js";
import { freeze, type GraphModule, type TensorData } from "../src/graph/index.js";
import { denoiserParameters } from "../src/model/denoiser.js";
import { isInt8Weight } from "../src/model/int8-weights.js";
import {
  createDevice,
  createInt8Memory,
  type HeldTensors,
  leastTimes,
  type RunOptions,
  totalTime,
} from "../src/runtime/index.js";
import { DiffusionModel, generate } from "../src/sampling/index.js";
import type { Program } from "../src/sampling/program-cache.js";
import { type StepShape, samplingModule } from "../src/sampling/sampling-module.js";
import { printProfile } from "./profile-tables.js";
import { referenceStep } from "./reference-step.js";

const { values: flags } = parseArgs({
  options: {
    preset: { type: "string", default: "moe-diffuseq" },
    dtype: { type: "string", default: "fp32" },
    step: { type: "string", default: "10" },
    steps: { type: "string", default: "20" },
    length: { type: "string", default: "2048" },
    "cache-interval": { type: "string", default: "1" },
    runs: { type: "string", default: "5" },
    threads: { type: "string", default: "1" },
    rows: { type: "string", default: "20" },
  },
});
const wanted = Number(flags.step);

interface StepRun {
  readonly module: GraphModule;
  readonly feeds: Record<string, TensorData>;
  readonly kept: Pick<RunOptions, "held" | "heldRows"> | undefined;
}

/** A model that remembers what step number `wanted` ran. */
class WatchedModel extends DiffusionModel {
  found: StepRun | null = null;
  readonly #modules = new Map<Program["executable"], GraphModule>();
  #steps = 0;

  override async denoiser(batchSize: number, length: number, step: StepShape): Promise<Program> {
    const program = await super.denoiser(batchSize, length, step);
    const shape = { batchSize, length, globalSlots: this.globalSlots };
    this.#modules.set(program.executable, samplingModule(this.config, shape, this.forbidden, step));
    return program;
  }

  override async hold(): Promise<HeldTensors> {
    // They outlive the text here.
    return Object.assign(await super.hold(), { dispose: async () => {} });
  }

  override async run(
    program: Program,
    feeds: Readonly<Record<string, TensorData>>,
    kept?: Pick<RunOptions, "held" | "heldRows">,
  ): Promise<Record<string, TensorData>> {
    const module = this.#modules.get(program.executable);
    if (module && ++this.#steps === wanted) {
      const known = program.executable.program.inputs.filter(({ name }) => Object.hasOwn(feeds, name));
      const copies = known.map(({ name }) => [name, structuredClone(feeds[name])]);
      this.found = { module, feeds: Object.fromEntries(copies), kept };
    }
    return super.run(program, feeds, kept);
  }
}

const { config, values } = referenceStep({ preset: flags.preset, documents: 1 });
const texts = embeddedCorpus("train").map(({ text }) => text!);
const tokenizer = await Tokenizer.train(texts, { vocabSize: config.model.vocabSize });
const device = await createDevice("cpu", { threads: Number(flags.threads) });
const parameters = await device.createParameters(denoiserParameters(config.model));
await parameters.write("value", values);
const dtype = flags.dtype as ModelDType;
const model = new WatchedModel({ config, tokenizer, device, parameters, dtype });
await generate(
  model,
  {},
  {
    length: Number(flags.length),
    steps: Number(flags.steps),
    sampler: config.diffusion.gaussian ? "dpm-solver++" : "auto",
    cacheInterval: Number(flags["cache-interval"]),
    earlyStop: "off",
  },
);
if (!model.found) throw new Error(`--step ${wanted}: there were fewer steps`);
const { module, feeds, kept } = model.found;
const int8 = dtype === "q8" ? { int8: isInt8Weight, memory: await createInt8Memory(device) } : null;
const own = int8 ? freeze(module, values, int8) : module;
const runs = await device.profile(own, feeds, {
  parameters: int8 ? undefined : parameters,
  ...kept,
  runs: Number(flags.runs),
});
await device.dispose();
const nodes = leastTimes(runs);
console.log(
  `${flags.preset}, ${flags.dtype}, step ${wanted} of ${flags.steps}, ${flags.threads} threads: ${nodes.length} nodes, ` +
    `${(totalTime(nodes) / 1000).toFixed(0)} ms, load ${loadavg()[0].toFixed(1)}\n`,
);
printProfile(nodes, Number(flags.rows));
