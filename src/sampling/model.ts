/**
 * @file A trained model, ready to write: configuration, tokenizer, parameters on a device, and a compiled denoiser for each batch shape
 * that was asked for.
 *
 *     const model = await DiffusionModel.fromPretrained("runs/abstracts");
 *     const [{ text }] = await generate(model, { prompt: "We show that" }, { length: 256 });
 *     await model.dispose();
 */
import { type ModelDType, modelDTypes, type RunConfig } from "../config/index.js";
import { show } from "../config/layers.js";
import type { Tokenizer } from "../data/tokenizer.js";
import { codebookModule, evaluationModule } from "../diffusion/modules.js";
import { UserError } from "../errors.js";
import {
  freeze,
  type GraphModule,
  type Int8Memory,
  leavesOf,
  rootsOf,
  type TensorData,
} from "../graph/index.js";
import { denoiserParameters } from "../model/denoiser.js";
import { isInt8Weight } from "../model/int8-weights.js";
import type { BatchShape } from "../model/layout.js";
import {
  createDevice,
  createInt8Memory,
  type Device,
  type DeviceKind,
  deviceKinds,
  type HeldTensors,
  isHeld,
  type ParameterStore,
  type RunOptions,
  requireInt8,
} from "../runtime/index.js";
import { canvasGlobalSlots } from "./canvas.js";
import { nearestCodeModule } from "./nearest-code.js";
import { readPretrained } from "./pretrained.js";
import { idlePrograms, type Program, ProgramCache } from "./program-cache.js";
import { type ForbiddenTokens, headModule, type StepShape, samplingModule } from "./sampling-module.js";

export interface ModelOptions {
  /** Where the network runs: "cpu" (default), "webgpu", "reference" (slow, exact), or a device of your own, which outlives the model. */
  readonly device?: DeviceKind | Device | undefined;
  /** Threads that share one operator, when the device is made here. Default: the processors this process may use. */
  readonly threads?: number | undefined;
  /** "fp32" (default), or "q8": linear layers and the tables of the vocabulary in eight bits (see graph/freeze.ts). */
  readonly dtype?: ModelDType | undefined;
}

export interface ModelParts {
  readonly config: RunConfig;
  readonly tokenizer: Tokenizer;
  readonly device: Device;
  /** Values by the names of `denoiserParameters`, on that device. */
  readonly parameters: ParameterStore;
  /** Which values to compute with. Default: "value"; "ema": the averages of a model in training. */
  readonly slot?: "value" | "ema";
  /** Default "fp32". With "q8" the parameters must not change any more. */
  readonly dtype?: ModelDType;
  /** The parameters do not change any more: programs on a graphics card hold them, and they cross once. Default: false. */
  readonly fixed?: boolean;
}

/** What samplers need on the host: codebook float32 [V, D] and the absorbing state m float32 [D]. */
export interface HostCodes {
  readonly codebook: Float32Array;
  readonly absorbing: Float32Array;
}

type Outputs = Record<string, TensorData>;

/** Bytes of weights that a program for a graphics card holds at most; with more they are handed over at every run. */
const LARGEST_FROZEN = 2 ** 30;

export class DiffusionModel {
  readonly config: RunConfig;
  readonly tokenizer: Tokenizer;
  readonly device: Device;
  readonly #parts: ModelParts;
  readonly #programs: ProgramCache;
  #owned: readonly { dispose(): Promise<void> }[] = [];

  /** A model around parameters that live already: those of a run in training, say. `dispose` leaves them and the device alone. */
  constructor(parts: ModelParts) {
    const { config, tokenizer, device, parameters, slot = "value", dtype = "fp32", fixed = false } = parts;
    if (!modelDTypes.includes(dtype))
      throw new UserError(`dtype: expected ${modelDTypes.join(" or ")}, got "${dtype}"`);
    if (tokenizer.vocabSize !== config.model.vocabSize)
      throw new UserError(
        `model: expected a tokenizer of ${config.model.vocabSize} tokens (model.vocabSize), got one of ${tokenizer.vocabSize}; ` +
          "use the tokenizer the model was trained with",
      );
    this.config = config;
    this.tokenizer = tokenizer;
    this.device = device;
    this.#parts = parts;
    const { target } = device;
    if (dtype === "q8") requireInt8(device.kind);
    let memory: Promise<Int8Memory> | undefined;
    const int8 = async () => {
      memory ??= createInt8Memory(device);
      return { int8: isInt8Weight, memory: await memory };
    };
    const frozen = async (module: GraphModule): Promise<GraphModule> => {
      const own = dtype === "q8" ? await int8() : {};
      const names = [...leavesOf(rootsOf(module), "parameter").keys()];
      return freeze(module, await parameters.read(slot, names), { ...own, target });
    };
    const bytes = (dtype === "q8" ? 1 : 4) * parameters.totalParameters;
    const freezes = dtype === "q8" || (fixed && device.kind === "webgpu" && bytes < LARGEST_FROZEN);
    this.#programs = new ProgramCache(
      async (module) => device.compile(freezes ? await frozen(module) : module),
      idlePrograms(freezes ? bytes : 0),
    );
  }

  /**
   * The model in a run's directory.
   * @throws UserError when a file is missing or broken, or weights, tokenizer and configuration do not belong together
   */
  static async fromPretrained(folder: string, options: ModelOptions = {}): Promise<DiffusionModel> {
    const { config, tokenizer, weights } = await readPretrained(folder);
    return DiffusionModel.fromWeights(config, tokenizer, weights, options);
  }

  /**
   * A model with these weights, float32 by the names of `denoiserParameters`. They are copied.
   * @throws UserError when one is missing, or the tokenizer is not the model's
   */
  static async fromWeights(
    config: RunConfig,
    tokenizer: Tokenizer,
    weights: Readonly<Record<string, Float32Array>>,
    { device: wanted = "cpu", threads, dtype }: ModelOptions = {},
  ): Promise<DiffusionModel> {
    const ownsDevice = typeof wanted === "string";
    if (!ownsDevice && typeof wanted?.createParameters !== "function")
      throw new UserError(
        `device: expected one of ${deviceKinds.join(", ")}, or what createDevice gives, got ${show(wanted)}`,
      );
    const device = ownsDevice ? await createDevice(wanted, { threads }) : wanted;
    let parameters: ParameterStore | undefined;
    try {
      const definitions = denoiserParameters(config.model);
      const missing = definitions.find(({ name }) => !Object.hasOwn(weights, name));
      if (missing) throw new UserError(`weights: expected "${missing.name}" (${missing.shape}), found none`);
      parameters = await device.createParameters(definitions);
      await parameters.write("value", weights);
      const model = new DiffusionModel({ config, tokenizer, device, parameters, dtype, fixed: true });
      model.#owned = ownsDevice ? [parameters, device] : [parameters];
      return model;
    } catch (error) {
      await parameters?.dispose();
      if (ownsDevice) await device.dispose();
      throw error;
    }
  }

  /** Slots for global tokens in every row this model writes. */
  get globalSlots(): number {
    return canvasGlobalSlots(this.config.model);
  }

  /** Tokens that are never written: [PAD] only where training made it a target; what stands behind [SEP] is cut off anyway. */
  get forbidden(): ForbiddenTokens {
    const { pad, cls, sep } = this.tokenizer.special;
    return {
      inside: [pad, cls, sep],
      ending: this.config.data.padTargets === null ? [pad, cls] : [cls],
    };
  }

  /** The denoiser with its rounding for B rows of N positions (see `samplingModule`). Any length will do. */
  denoiser(batchSize: number, length: number, step: StepShape): Promise<Program> {
    const shape: BatchShape = { batchSize, length, globalSlots: this.globalSlots };
    const name = `denoiser ${batchSize}x${length} ${JSON.stringify(step)}`;
    return this.#programs.use(name, () =>
      samplingModule(this.config, shape, this.forbidden, step, this.device.target),
    );
  }

  /** Whether a run may leave keys and values for the next ones. */
  get keeps(): boolean {
    return true;
  }

  /** Keys and values that runs leave on the device. */
  hold(): Promise<HeldTensors> {
    return this.device.createHeld();
  }

  /** The program that makes logits of rows which a denoiser hands over (see `headModule`). */
  head(): Promise<Program> {
    return this.#programs.use("head", () => headModule(this.config, this.forbidden));
  }

  /** The program that moves x0 float32 [R, D] to the nearest codebook vectors. */
  nearestCode(): Promise<Program> {
    return this.#programs.use("nearest", () => nearestCodeModule(this.config.model));
  }

  /** The loss of B written rows of N positions (see `evaluationModule`). */
  loss(batchSize: number, length: number): Promise<Program> {
    const shape: BatchShape = { batchSize, length, globalSlots: this.globalSlots };
    return this.#programs.use(`loss ${batchSize}x${length}`, () => evaluationModule(this.config, shape));
  }

  /**
   * Runs a program with the model's parameters. Feeds the program does not know are left out.
   * @param kept what the program leaves on the device or takes from there
   */
  run(
    { executable }: Program,
    feeds: Readonly<Record<string, TensorData>>,
    kept: Pick<RunOptions, "held" | "heldRows"> = {},
  ): Promise<Outputs> {
    const { parameters, slot } = this.#parts;
    const wanted = executable.program.inputs.filter(({ name }) => !isHeld(name));
    const own = Object.fromEntries(wanted.map(({ name }) => [name, feeds[name]]));
    return executable.run(own, { parameters, slot, ...kept });
  }

  /** Codebook and absorbing state as they are now. */
  async hostCodes(): Promise<HostCodes> {
    const module = (): GraphModule => codebookModule(this.config);
    const program = await this.#programs.use("codebook", module);
    try {
      const { codebook, absorbing } = await this.run(program, {});
      return { codebook: codebook.data as Float32Array, absorbing: absorbing.data as Float32Array };
    } finally {
      await program.release();
    }
  }

  /** Frees the programs, and with a model from `fromPretrained` or `fromWeights` its parameters and the device made for it. */
  async dispose(): Promise<void> {
    await this.#programs.dispose();
    for (const owned of this.#owned) await owned.dispose();
  }
}
