/**
 * @file The slow device: programs are evaluated in float64 by `evaluate`, parameters are float32 and updated by plain loops.
 *
 * It is the oracle of the other devices, and needs neither a thread nor a native library.
 */
import { alone, type Communicator } from "../distributed/index.js";
import { UserError } from "../errors.js";
import {
  cpuTarget,
  evaluate,
  GRADIENT_PREFIX,
  type GraphModule,
  type NDArray,
  type TensorData,
  writeOnnx,
} from "../graph/index.js";
import { checkAdamW } from "./adamw.js";
import { checkFeeds, checkHeld, checkHeldRows, checkParameters, type Feeds, writeRows } from "./binding.js";
import {
  type AdamWOptions,
  type Device,
  type Executable,
  type HeldTensors,
  heldOfRows,
  isHeld,
  isHeldRows,
  type ParameterOptions,
  type ParameterSpec,
  type ParameterStore,
  type ProgramInfo,
  type RunOptions,
  type Slot,
  type StepResult,
} from "./device.js";
import { inOrder } from "./in-order.js";
import { referenceKernels } from "./kernels/reference.js";
import { Lifetime } from "./lifetime.js";
import { sendable } from "./messages.js";
import { ParameterLayout } from "./parameter-layout.js";
import { ParameterMemory } from "./parameter-memory.js";

export class ReferenceDevice implements Device {
  readonly kind = "reference";
  readonly target = cpuTarget;
  readonly lifetime = new Lifetime("the reference device");
  readonly inOrder = inOrder();

  constructor(readonly communicator: Communicator = alone) {}

  async createParameters(
    specs: readonly ParameterSpec[],
    options: ParameterOptions = {},
  ): Promise<ParameterStore> {
    this.lifetime.check();
    return new ReferenceParameterStore(this, new ParameterLayout(specs, options, this.communicator));
  }

  async compile(module: GraphModule): Promise<Executable> {
    this.lifetime.check();
    const { bytes: _, ...program } = writeOnnx(module);
    return new ReferenceExecutable(this, module, program);
  }

  async profile(): Promise<never> {
    throw new UserError('profile: expected the device "cpu", got "reference", which has no profiler');
  }

  async createHeld(): Promise<HeldTensors> {
    this.lifetime.check();
    return new ReferenceHeldTensors(this);
  }

  async dispose(): Promise<void> {
    this.lifetime.end();
    await this.inOrder(() => {});
  }
}

class ReferenceHeldTensors implements HeldTensors {
  readonly tensors = new Map<string, TensorData>();
  readonly lifetime = new Lifetime("the held tensors");
  constructor(readonly device: ReferenceDevice) {}

  async dispose(): Promise<void> {
    this.lifetime.end();
    await this.device.inOrder(() => this.tensors.clear());
  }
}

class ReferenceParameterStore implements ParameterStore {
  readonly specs: readonly ParameterSpec[];
  readonly totalParameters: number;
  readonly #lifetime = new Lifetime("the parameters");
  #memory: ParameterMemory | undefined;

  constructor(
    readonly device: ReferenceDevice,
    layout: ParameterLayout,
  ) {
    this.specs = layout.specs;
    this.totalParameters = layout.totalParameters;
    const blocks = layout.blockBytes.map((bytes) => ({
      buffer: new ArrayBuffer(bytes),
      kernels: referenceKernels,
    }));
    this.#memory = new ParameterMemory(layout, blocks, device.communicator);
  }

  /** The memory, while it may be used. */
  get memory(): ParameterMemory {
    this.device.lifetime.check();
    this.#lifetime.check();
    return this.#memory!;
  }

  async write(slot: Slot, values: Readonly<Record<string, Float32Array>>): Promise<void> {
    const { memory } = this;
    memory.layout.requireSlot(slot);
    memory.layout.checkValues(slot, values);
    const copies = Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, sendable(value, false)]),
    );
    await this.device.inOrder(() => memory.write(slot, copies));
  }
  async read(slot: Slot, names?: readonly string[]): Promise<Record<string, Float32Array>> {
    const { memory } = this;
    return this.device.inOrder(() => memory.read(slot, names ?? memory.layout.namesOf(slot)));
  }
  async zeroGradients(): Promise<void> {
    const { memory } = this;
    await this.device.inOrder(() => memory.zeroGradients());
  }
  async gradientsComplete(names: readonly string[]): Promise<void> {
    const { memory } = this;
    for (const name of names) memory.layout.require("gradient", name);
    await this.device.inOrder(() => {
      void memory.gradientsComplete(names).catch(() => {}); // step waits for it, and says so
    });
  }
  async abandonStep(): Promise<void> {
    const { memory } = this;
    await this.device.inOrder(() => memory.abandonStep());
  }
  async step(options: AdamWOptions): Promise<StepResult> {
    const { memory } = this;
    checkAdamW(memory.layout, options);
    return this.device.inOrder(() => memory.step(options));
  }
  async dispose(): Promise<void> {
    this.#lifetime.end();
    this.#memory = undefined;
  }
}

/** What a run reads and writes beside its feeds. */
interface Stores {
  readonly memory: ParameterMemory | undefined;
  readonly slot: "value" | "ema";
  readonly held: Map<string, TensorData> | undefined;
  readonly heldRows: Int32Array | undefined;
}

class ReferenceExecutable implements Executable {
  readonly #lifetime: Lifetime;

  constructor(
    readonly device: ReferenceDevice,
    readonly module: GraphModule,
    readonly program: ProgramInfo,
  ) {
    this.#lifetime = new Lifetime(`program "${program.name}"`);
  }

  async run(feeds: Feeds, options: RunOptions = {}): Promise<Record<string, TensorData>> {
    this.device.lifetime.check();
    this.#lifetime.check();
    checkFeeds(this.program, feeds);
    const memory = this.#memoryOf(options);
    checkParameters(this.program, memory?.layout, options);
    const held = this.#heldOf(options);
    const heldRows = options.heldRows?.slice();
    const { slot = "value", transferFeeds = false } = options;
    const given = Object.fromEntries(
      Object.entries(feeds).map(([name, feed]): [string, TensorData] => [
        name,
        { ...feed, data: sendable(feed.data, transferFeeds) },
      ]),
    );
    return this.device.inOrder(() => this.#evaluate(given, { memory, slot, held, heldRows }));
  }

  #evaluate(feeds: Feeds, { memory, slot, held, heldRows }: Stores): Record<string, TensorData> {
    checkHeld(this.program, held);
    checkHeldRows(this.program, held, heldRows);
    const parameters = Object.fromEntries(
      this.program.parameters.map(({ name, shape }): [string, TensorData] => [
        name,
        { dtype: "float32", shape: shape as readonly number[], data: memory!.view(slot, name) },
      ]),
    );
    const values = evaluate(this.module, { ...feeds, ...Object.fromEntries(held ?? []) }, parameters);
    for (const [name, { data }] of Object.entries(values))
      if (name.startsWith(GRADIENT_PREFIX))
        memory!.addGradient(name.slice(GRADIENT_PREFIX.length), Float32Array.from(data));
    const outputs = this.program.outputs.map(({ name }): [string, TensorData] => [
      name,
      (values[name] as NDArray).toTensorData(),
    ]);
    for (const [name, value] of outputs) {
      if (!isHeld(name)) continue;
      if (isHeldRows(name)) writeRows(value.data, heldRows!, held!.get(heldOfRows(name))!.data);
      else held!.set(name, value);
    }
    return Object.fromEntries(outputs.filter(([name]) => !isHeld(name)));
  }

  #heldOf({ held }: RunOptions): Map<string, TensorData> | undefined {
    if (!held) return undefined;
    if (!(held instanceof ReferenceHeldTensors) || held.device !== this.device)
      throw new UserError(
        `program "${this.program.name}": expected held tensors of the same device; create them with its createHeld`,
      );
    held.lifetime.check();
    return held.tensors;
  }

  #memoryOf({ parameters }: RunOptions): ParameterMemory | undefined {
    if (!parameters) return undefined;
    if (!(parameters instanceof ReferenceParameterStore) || parameters.device !== this.device)
      throw new UserError(
        `program "${this.program.name}": expected parameters made by the same device; create them with its createParameters`,
      );
    return parameters.memory;
  }

  async dispose(): Promise<void> {
    this.#lifetime.end();
  }
}
