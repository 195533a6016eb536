/**
 * @file Where graphs run and parameters live: the interfaces every device implements.
 *
 *     const device = await createDevice("cpu");
 *     const parameters = await device.createParameters(specs, { training: true });
 *     await parameters.write("value", initialValues);
 *     const step = await device.compile({ name: "step", outputs: { loss }, gradients });
 *     const { loss } = await step.run(feeds, { parameters });
 *     await parameters.step({ learningRate: 1e-3, step: 1, ... });
 *     await device.dispose();
 *
 * Calls on one device take effect in the order they are made, also when they are not awaited one by one.
 */
import type { Communicator } from "../distributed/index.js";
import type { GraphModule, OnnxProgram, Target, TensorData } from "../graph/index.js";
import type { NodeTime } from "./profile.js";

/**
 * `reference`: float64 evaluation in this thread, slow, the oracle. `cpu`: ONNX Runtime in a worker thread. `webgpu`: the same with the
 * programs on a graphics card; parameters, their update and indices stay on the processor.
 */
export type DeviceKind = (typeof deviceKinds)[number];
export const deviceKinds = ["cpu", "webgpu", "reference"] as const;

/** One parameter, float32. A parameter that is not trainable is a buffer: fed and saved, never touched by the optimiser. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly trainable: boolean;
  /** Of a buffer: it has an average of its own, which whoever writes its value writes too. Default: its average is its value. */
  readonly averaged?: boolean;
}

/** The arrays kept for a trainable parameter. A buffer has "value" only (and "ema" when it is `averaged`); its "ema" is its value. */
export type Slot = "value" | "gradient" | "moment1" | "moment2" | "ema";

export interface ParameterOptions {
  /** Keep gradients and both moments. Default: false (values only). */
  readonly training?: boolean;
  /** Keep an exponential moving average of the values. Default: false. */
  readonly ema?: boolean;
  /** With several ranks: every rank keeps the moments of a part of the parameters alone (ZeRO stage 1). Default: false. */
  readonly shardOptimizer?: boolean;
}

export interface AdamWOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled: value -= learningRate * weightDecay * value. */
  readonly weightDecay: number;
  /** The norm over all gradients is cut to this; null: never. */
  readonly maxGradNorm: number | null;
  /** Number of this update, from 1: corrects the bias of the moments. */
  readonly step: number;
  /** ema = emaDecay * ema + (1 - emaDecay) * value after the update; null: the average stays as it is. */
  readonly emaDecay: number | null;
  /** Parameters without weight decay. Default: none. */
  readonly noDecay?: readonly string[];
  /** Gradients count times this, in the norm too: 1 / the number of runs (over all ranks) makes sums means. Default: 1. */
  readonly gradientScale?: number;
}

export interface StepResult {
  /** L2 norm over all gradients, scaled but not clipped. */
  readonly gradNorm: number;
  /** false when the norm is not finite: then no value, moment or average was touched. */
  readonly applied: boolean;
}

/**
 * Parameters and their optimiser state. All slots start at zero.
 *
 * With several ranks each has a store; they are kept equal by equal writes and by `step`. `step`, and `read` of moments that are
 * sharded, are collective: all ranks call them in the same order, with the same arguments.
 */
export interface ParameterStore {
  readonly specs: readonly ParameterSpec[];
  /** Elements of all parameters, buffers included. */
  readonly totalParameters: number;
  /** Replaces the given arrays, float32 with as many elements as the parameter has. The arrays are copied. */
  write(slot: Slot, values: Readonly<Record<string, Float32Array>>): Promise<void>;
  /** Copies of the named arrays. Default: every parameter that has the slot. */
  read(slot: Slot, names?: readonly string[]): Promise<Record<string, Float32Array>>;
  /** Sets all gradients to zero. */
  zeroGradients(): Promise<void>;
  /**
   * Says that nothing more is added to these gradients before `step`: with several ranks the sum of those that fill whole buckets
   * begins. While the next program runs one sum goes on, as the device's thread can begin no other: that of buckets side by side, or
   * sharded, of a single bucket. The others follow between programs and in `step`. Resolves at once. Collective; without it `step` does
   * all sums.
   */
  gradientsComplete(names: readonly string[]): Promise<void>;
  /**
   * Says that a program failed and `step` will not come: `zeroGradients`, which is to come next, waits for the sums that have begun and
   * drops them. Without it that is an error. All ranks do so, or none.
   */
  abandonStep(): Promise<void>;
  /**
   * One AdamW update from the accumulated gradients, which stay as they are.
   *
   * With several ranks: from the sum of all ranks' gradients, bucket by bucket. The gradients are the sums afterwards; sharded, what
   * they are afterwards is undefined.
   */
  step(options: AdamWOptions): Promise<StepResult>;
  /** Frees the memory. A second call does nothing. */
  dispose(): Promise<void>;
}

/**
 * Tensors that stay on the device between runs: a program's outputs named "held:..." are left here, in place of what was here by that
 * name, and its inputs named so are taken from here. Outputs named "held-rows:..." take the place of some rows of what is here as
 * "held:..." (`RunOptions.heldRows`). Nothing of them crosses to the caller. (webgpu: they lie in the processor's memory, and go to the
 * card and back at every run.)
 */
export interface HeldTensors {
  /** Frees the memory. A second call does nothing. */
  dispose(): Promise<void>;
}

export const HELD_PREFIX = "held:";
export const HELD_ROWS_PREFIX = "held-rows:";
export const isHeldRows = (name: string): boolean => name.startsWith(HELD_ROWS_PREFIX);
export const isHeld = (name: string): boolean => name.startsWith(HELD_PREFIX) || isHeldRows(name);
/** Name of the held tensor that an output of rows belongs to. */
export const heldOfRows = (name: string): string => HELD_PREFIX + name.slice(HELD_ROWS_PREFIX.length);

export interface RunOptions {
  /** Values for the program's parameters, from the same device. Needed when the program has any. */
  readonly parameters?: ParameterStore;
  /** Which values to compute with. Default: "value". */
  readonly slot?: "value" | "ema";
  /** Where the program's held tensors are left and found, from the same device. Needed when the program has any. */
  readonly held?: HeldTensors;
  /**
   * int32 [R]: row of the held tensor that each row of an output "held-rows:..." [R, ...] takes the place of; -1: none. Nothing is
   * copied but these rows. Needed when the program has such outputs.
   */
  readonly heldRows?: Int32Array;
  /** Hand the feeds' memory over instead of copying it: the arrays may be empty afterwards. Default: false. */
  readonly transferFeeds?: boolean;
}

/** Names, element types and shapes of a compiled program. */
export type ProgramInfo = Omit<OnnxProgram, "bytes">;

/** Feeds serve every run, so they are not handed over. */
export interface ProfileOptions extends Omit<RunOptions, "transferFeeds"> {
  /** From 1 on. */
  readonly runs: number;
  /** Where to keep ONNX Runtime's own file, for chrome://tracing. Default: nowhere. */
  readonly keep?: string;
}

export interface Executable {
  readonly program: ProgramInfo;
  /**
   * Computes the outputs. Gradients, if the module has any, are added to the parameter store and not returned; held tensors
   * (`HeldTensors`) stay on the device.
   *
   * @param feeds a value for every input of the program that is not held
   * @throws UserError when a feed is missing, unknown or of another dtype or shape than the program's, or a held tensor is
   */
  run(feeds: Readonly<Record<string, TensorData>>, options?: RunOptions): Promise<Record<string, TensorData>>;
  /** Frees the program. A second call does nothing. */
  dispose(): Promise<void>;
}

export interface Device {
  readonly kind: DeviceKind;
  /** What modules are lowered for; whoever lowers one before `compile` does it for this. */
  readonly target: Target;
  /** The processes that train together, for the caller's own sums. */
  readonly communicator: Communicator;
  /** @throws UserError when there is less memory than the parameters need, or (cpu, webgpu) one of them needs more than 4 GiB with all its slots */
  createParameters(specs: readonly ParameterSpec[], options?: ParameterOptions): Promise<ParameterStore>;
  compile(module: GraphModule): Promise<Executable>;
  /**
   * Runs a module under the profiler, once more than `runs`: the nodes of every run but the first, in the order they ran. Gradients
   * are added to the parameter store as in any run.
   *
   * @throws UserError when the device has no profiler (reference)
   */
  profile(
    module: GraphModule,
    feeds: Readonly<Record<string, TensorData>>,
    options: ProfileOptions,
  ): Promise<NodeTime[][]>;
  /** An empty set of tensors that stay on the device. */
  createHeld(): Promise<HeldTensors>;
  /** Frees everything the device made and ends its thread. A second call does nothing. */
  dispose(): Promise<void>;
}

export interface DeviceOptions {
  /** Threads that share one operator (cpu only). Default: the processors this process may use. */
  readonly threads?: number;
  /** The processes that train together. Default: this one alone. */
  readonly communicator?: Communicator;
}
