/**
 * @file The fast device, seen from the caller's thread: checks arguments, sends them to the worker thread and waits there.
 *
 * The caller's event loop does no more than copy the feeds (not even that with `transferFeeds`). onnx-host.ts is the other end.
 */
import { copyFile, readdir, readFile, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { transfer } from "comlink";
import { show } from "../config/layers.js";
import { MOST_THREADS } from "../config/limits.js";
import { allOrNone, alone, type Communicator, type CommunicatorHandle } from "../distributed/index.js";
import { UserError } from "../errors.js";
import {
  cpuTarget,
  type GraphModule,
  type IoSpec,
  type OnnxProgram,
  type Target,
  type TensorData,
  webgpuTarget,
  writeOnnx,
} from "../graph/index.js";
import { checkAdamW } from "./adamw.js";
import {
  checkFeeds,
  checkHeld,
  checkHeldRows,
  checkParameters,
  type Feeds,
  type HeldSpecs,
  heldOutputsOf,
} from "./binding.js";
import type {
  AdamWOptions,
  Device,
  DeviceOptions,
  Executable,
  HeldTensors,
  ParameterOptions,
  ParameterSpec,
  ParameterStore,
  ProfileOptions,
  ProgramInfo,
  RunOptions,
  Slot,
  StepResult,
} from "./device.js";
import { freeMemory } from "./free-memory.js";
import { keepFreedMemory } from "./heap.js";
import { Lifetime } from "./lifetime.js";
import { buffersOf, sendable } from "./messages.js";
import type { OnnxHost, Provider } from "./onnx-host.js";
import { MEMORY_LIMIT, ParameterLayout } from "./parameter-layout.js";
import { type NodeTime, readProfile } from "./profile.js";
import { makeTemporaryFolder } from "./temporary-folder.js";
import type { OnnxWorkerData } from "./worker.js";
import { WorkerThread } from "./worker-thread.js";

/** What memory there is, for tests of what happens when it is short. */
export interface MemoryOptions {
  /** Bytes that one WebAssembly memory holds at most; parameters that need more take several. Default: 4 GiB. */
  readonly blockLimit?: number;
  /** Bytes that may be taken. Default: what the system says is free. */
  readonly available?: () => number;
}

export class OnnxDevice implements Device {
  readonly lifetime: Lifetime;
  readonly thread: WorkerThread<OnnxHost>;

  private constructor(
    readonly kind: Provider,
    threads: number,
    readonly communicator: Communicator,
    readonly memory: Required<MemoryOptions>,
    ranks: CommunicatorHandle | null,
  ) {
    // ONNX Runtime reads it as it starts; a thread's own process.env would be a copy.
    process.env.ORT_DISABLE_TELEMETRY ??= "1";
    this.thread = new WorkerThread<OnnxHost>(
      (gate) => ({ provider: kind, threads, gate, communicator: ranks }) satisfies OnnxWorkerData,
    );
    this.lifetime = new Lifetime(`the ${kind} device`);
  }

  get target(): Target {
    return this.kind === "webgpu" ? webgpuTarget : cpuTarget;
  }

  /**
   * Starts the worker thread. With several ranks: collective. ONNX Runtime would write what it runs on and what it runs into the user's
   * cache folder, to be sent to Microsoft: unless the environment says otherwise, it is told not to (`ORT_DISABLE_TELEMETRY`).
   */
  static async create(
    kind: Provider,
    { threads = availableParallelism(), communicator = alone }: DeviceOptions = {},
    { blockLimit = MEMORY_LIMIT, available = freeMemory }: MemoryOptions = {},
  ): Promise<OnnxDevice> {
    if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS)
      throw new UserError(`threads: expected an integer from 1 to ${MOST_THREADS}, got ${show(threads)}`);
    if (kind === "cpu") await keepFreedMemory();
    // The caller's thread goes on using its own.
    const { handle } = communicator.size > 1 ? await communicator.duplicate() : alone;
    if (communicator.size > 1 && !handle)
      throw new UserError("communicator: expected one that a worker thread can use, as joinRanks makes them");
    const device = new OnnxDevice(kind, threads, communicator, { blockLimit, available }, handle);
    // All ranks or none: those that could begin would write.
    await allOrNone(communicator, () => device.thread.call((host) => host.ready())).catch(
      async (error: unknown) => {
        await device.dispose();
        throw error;
      },
    );
    return device;
  }

  async createParameters(
    specs: readonly ParameterSpec[],
    options: ParameterOptions = {},
  ): Promise<ParameterStore> {
    this.lifetime.check();
    const { blockLimit, available } = this.memory;
    const layout = new ParameterLayout(specs, options, this.communicator, { blockLimit });
    layout.checkFits(available());
    const plain = specs.map(({ name, shape, trainable, averaged }) => ({
      name,
      shape: [...shape],
      trainable,
      averaged,
    }));
    const id = await this.thread.call((host) => host.createParameters(plain, options, blockLimit));
    return new OnnxParameterStore(this, id, layout);
  }

  async compile(module: GraphModule): Promise<Executable> {
    this.lifetime.check();
    return this.load(writeOnnx(module, this.target));
  }

  /** Makes a program from an ONNX model that is written already. */
  load(onnx: OnnxProgram): Promise<Executable> {
    return this.#load(onnx, null);
  }

  async #load(onnx: OnnxProgram, profile: string | null): Promise<OnnxExecutable> {
    this.lifetime.check();
    const { bytes, ...program } = onnx;
    const sent = sendable(bytes, false);
    const id = await this.thread.call((host) =>
      host.load(transfer({ ...program, bytes: sent }, [sent.buffer as ArrayBuffer]), profile),
    );
    return new OnnxExecutable(this, id, program);
  }

  async profile(
    module: GraphModule,
    feeds: Feeds,
    { runs, keep, ...options }: ProfileOptions,
  ): Promise<NodeTime[][]> {
    if (!Number.isInteger(runs) || runs < 1)
      throw new UserError(`profile: expected runs to be an integer from 1 on, got ${runs}`);
    const folder = makeTemporaryFolder("profile");
    try {
      const program = await this.#load(writeOnnx(module, this.target), join(folder, "profile"));
      try {
        for (let run = 0; run <= runs; run++) await program.run(feeds, options);
        await this.thread.call((host) => host.endProfile(program.id));
      } finally {
        await program.dispose();
      }
      const [name] = await readdir(folder);
      const file = join(folder, name);
      if (keep !== undefined) await copyFile(file, keep);
      return readProfile(await readFile(file, "utf8")).slice(1);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async createHeld(): Promise<HeldTensors> {
    this.lifetime.check();
    return new OnnxHeldTensors(this, await this.thread.call((host) => host.createHeld()));
  }

  async dispose(): Promise<void> {
    if (!this.lifetime.end()) return;
    await this.thread.call((host) => host.close()).catch(() => {}); // a thread that failed has nothing left to close
    await this.thread.end();
  }
}

class OnnxParameterStore implements ParameterStore {
  readonly specs: readonly ParameterSpec[];
  readonly totalParameters: number;
  readonly #lifetime = new Lifetime("the parameters");

  constructor(
    readonly device: OnnxDevice,
    readonly id: number,
    readonly layout: ParameterLayout,
  ) {
    this.specs = layout.specs;
    this.totalParameters = layout.totalParameters;
  }

  check(): void {
    this.device.lifetime.check();
    this.#lifetime.check();
  }

  async write(slot: Slot, values: Readonly<Record<string, Float32Array>>): Promise<void> {
    this.check();
    this.layout.requireSlot(slot);
    this.layout.checkValues(slot, values);
    const sent = Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, sendable(value, false)]),
    );
    const buffers = Object.values(sent).map((value) => value.buffer as ArrayBuffer);
    await this.device.thread.call((host) => host.write(this.id, slot, transfer(sent, buffers)));
  }

  async read(slot: Slot, names?: readonly string[]): Promise<Record<string, Float32Array>> {
    this.check();
    const wanted = names ?? this.layout.namesOf(slot);
    for (const name of wanted) this.layout.require(slot, name);
    return this.device.thread.call((host) => host.read(this.id, slot, [...wanted]));
  }

  async zeroGradients(): Promise<void> {
    this.check();
    this.layout.requireSlot("gradient");
    await this.device.thread.call((host) => host.zeroGradients(this.id));
  }

  async gradientsComplete(names: readonly string[]): Promise<void> {
    this.check();
    for (const name of names) this.layout.require("gradient", name);
    await this.device.thread.call((host) => host.gradientsComplete(this.id, [...names]));
  }

  async abandonStep(): Promise<void> {
    this.check();
    await this.device.thread.call((host) => host.abandonStep(this.id));
  }

  async step(options: AdamWOptions): Promise<StepResult> {
    this.check();
    checkAdamW(this.layout, options);
    return this.device.thread.call((host) => host.step(this.id, options));
  }

  async dispose(): Promise<void> {
    if (!this.#lifetime.end() || this.device.lifetime.ended) return;
    await this.device.thread.call((host) => host.freeParameters(this.id));
  }
}

class OnnxHeldTensors implements HeldTensors {
  /** What the worker thread has, as of the runs that have ended. */
  readonly #there = new Map<string, IoSpec>();
  /** What the runs under way leave there, in their order. */
  readonly #coming = new Set<readonly IoSpec[]>();
  readonly lifetime = new Lifetime("the held tensors");

  constructor(
    readonly device: OnnxDevice,
    readonly id: number,
  ) {}

  /** What the worker thread has, once everything asked for is done. */
  get specs(): HeldSpecs {
    const coming = [...this.#coming].flat().map((spec) => [spec.name, spec] as const);
    return new Map([...this.#there, ...coming]);
  }

  /** Counts on what a run leaves, until it fails. */
  async leftBy<T>(run: Promise<T>, specs: readonly IoSpec[]): Promise<T> {
    const own = [...specs];
    this.#coming.add(own);
    try {
      const result = await run;
      for (const spec of own) this.#there.set(spec.name, spec);
      return result;
    } finally {
      this.#coming.delete(own);
    }
  }

  async dispose(): Promise<void> {
    if (!this.lifetime.end() || this.device.lifetime.ended) return;
    await this.device.thread.call((host) => host.freeHeld(this.id));
  }
}

class OnnxExecutable implements Executable {
  readonly #lifetime: Lifetime;

  constructor(
    readonly device: OnnxDevice,
    readonly id: number,
    readonly program: ProgramInfo,
  ) {
    this.#lifetime = new Lifetime(`program "${program.name}"`);
  }

  async run(feeds: Feeds, options: RunOptions = {}): Promise<Record<string, TensorData>> {
    this.device.lifetime.check();
    this.#lifetime.check();
    checkFeeds(this.program, feeds);
    const store = this.#storeOf(options);
    checkParameters(this.program, store?.layout, options);
    const held = this.#heldOf(options);
    checkHeld(this.program, held?.specs);
    const sent: Record<string, TensorData> = {};
    for (const [name, { dtype, shape, data }] of Object.entries(feeds))
      sent[name] = { dtype, shape: [...shape], data: sendable(data, options.transferFeeds ?? false) };
    const { heldRows } = options;
    checkHeldRows(this.program, held?.specs, heldRows);
    const { slot = "value" } = options;
    const parameters = store?.id ?? null;
    const results = this.device.thread.call((host) =>
      host.run(this.id, transfer(sent, buffersOf(Object.values(sent))), {
        parameters,
        held: held?.id ?? null,
        heldRows: heldRows ?? null,
        slot,
      }),
    );
    return held ? held.leftBy(results, heldOutputsOf(this.program)) : results;
  }

  #heldOf({ held }: RunOptions): OnnxHeldTensors | undefined {
    if (!held) return undefined;
    if (!(held instanceof OnnxHeldTensors) || held.device !== this.device)
      throw new UserError(
        `program "${this.program.name}": expected held tensors of the same device; create them with its createHeld`,
      );
    held.lifetime.check();
    return held;
  }

  #storeOf({ parameters }: RunOptions): OnnxParameterStore | undefined {
    if (!parameters) return undefined;
    if (!(parameters instanceof OnnxParameterStore) || parameters.device !== this.device)
      throw new UserError(
        `program "${this.program.name}": expected parameters made by the same device; create them with its createParameters`,
      );
    parameters.check();
    return parameters;
  }

  async dispose(): Promise<void> {
    if (!this.#lifetime.end() || this.device.lifetime.ended) return;
    await this.device.thread.call((host) => host.unload(this.id));
  }
}
