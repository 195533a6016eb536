/**
 * @file What runs in the worker thread: ONNX Runtime sessions and the memories of the parameters, side by side.
 *
 * On the processor ONNX Runtime reads parameters as views of WebAssembly memories, without copies, and writes the first gradients of a
 * step there; later ones (of further micro-batches) are added. For a graphics card they are joined into few arrays first. It returns a copy of every output whether asked to or not: freed at once. The caller's
 * side has checked every argument.
 */
import { transfer } from "comlink";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { alone, type Communicator } from "../distributed/index.js";
import { UserError } from "../errors.js";
import type { OnnxProgram, TensorData } from "../graph/index.js";
import { type Feeds, parameterOfGradient, writeRows } from "./binding.js";
import {
  type AdamWOptions,
  heldOfRows,
  isHeld,
  isHeldRows,
  type ParameterOptions,
  type ParameterSpec,
  type Slot,
  type StepResult,
} from "./device.js";
import { inOrder } from "./in-order.js";
import { wasmKernels } from "./kernels/wasm.js";
import { buffersOf, discard } from "./messages.js";
import type { NativeGate } from "./native-gate.js";
import { ParameterLayout, SCRATCH_FLOATS } from "./parameter-layout.js";
import { type MemoryBlock, ParameterMemory } from "./parameter-memory.js";

const PAGE = 65536;

/** What ONNX Runtime computes with: "cpu", or "webgpu" with the processor for operators that have no kernel there. */
export type Provider = "cpu" | "webgpu";

interface Program {
  readonly session: InferenceSession;
  readonly onnx: Omit<OnnxProgram, "bytes">;
  /** Where parameters are joined, by the name of the pack. */
  readonly joined: ReadonlyMap<string, Float32Array>;
}

/** `RunOptions` with stores replaced by their numbers. */
export interface HostRunOptions {
  readonly parameters: number | null;
  readonly held: number | null;
  readonly heldRows: Int32Array | null;
  readonly slot: "value" | "ema";
}

/** What a program reads its parameters from: views of the memory, or copies of them joined as it wants them. */
function parameterTensors(
  { onnx: { parameters, packs }, joined }: Program,
  memory: ParameterMemory,
  slot: "value" | "ema",
): Record<string, Tensor> {
  if (!packs)
    return Object.fromEntries(
      parameters.map(({ name, shape }) => [
        name,
        new Tensor("float32", memory.view(slot, name), shape as readonly number[]),
      ]),
    );
  return Object.fromEntries(
    packs.parameters.map(({ name, size, parts }) => {
      const array = joined.get(name)!;
      for (const part of parts) array.set(memory.view(slot, part.name), part.start);
      return [name, new Tensor("float32", array, [size])];
    }),
  );
}

/** Where a program's gradients go: to the memory when nothing was added there yet; null: to an array of their own. */
function gradientPlaces(
  { gradients, packs }: Program["onnx"],
  memory: ParameterMemory | undefined,
): Record<string, Tensor | null> {
  if (packs) return Object.fromEntries(packs.gradients.map(({ name }) => [name, null]));
  return Object.fromEntries(
    gradients.map((spec) => {
      const place = memory!.untouchedGradient(parameterOfGradient(spec));
      return [spec.name, place && new Tensor("float32", place, spec.shape as readonly number[])];
    }),
  );
}

/** Adds a run's gradients to those in the memory, but for those that were written there. */
function takeGradients(
  { gradients, packs }: Program["onnx"],
  memory: ParameterMemory,
  places: Readonly<Record<string, Tensor | null>>,
  results: Readonly<Record<string, Tensor>>,
): void {
  if (packs) {
    for (const pack of packs.gradients) {
      const joined = results[pack.name].data as Float32Array<ArrayBuffer>;
      for (const { name, start, size } of pack.parts)
        memory.addGradient(parameterOfGradient({ name }), joined.subarray(start, start + size));
      discard(joined.buffer);
    }
    return;
  }
  for (const spec of gradients) {
    const name = parameterOfGradient(spec);
    const gradient = results[spec.name].data as Float32Array<ArrayBuffer>;
    if (places[spec.name]) memory.gradientWritten(name);
    else memory.addGradient(name, gradient);
    discard(gradient.buffer);
  }
}

/** A memory of its final size: growing it would detach every view of it. `total`: bytes of all of them, for the message. */
export function allocateBlock(bytes: number, total = bytes): MemoryBlock {
  const pages = Math.ceil(bytes / PAGE);
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch {
    throw new UserError(
      `parameters: expected ${Math.ceil(total / 1e6)} MB of memory, but the system refused; ` +
        "free memory or make the model smaller",
    );
  }
  const scratch = new Float32Array(memory.buffer, 0, SCRATCH_FLOATS);
  return { buffer: memory.buffer, kernels: wasmKernels(memory, scratch) };
}

export class OnnxHost {
  readonly #programs = new Map<number, Program>();
  readonly #memories = new Map<number, ParameterMemory>();
  readonly #held = new Map<number, Map<string, Tensor>>();
  #nextId = 1;
  /** Awaiting ONNX Runtime lets the next message in: it waits here. */
  readonly #inOrder = inOrder();

  constructor(
    readonly provider: Provider,
    readonly threads: number,
    readonly gate: NativeGate,
    readonly communicator: Communicator = alone,
  ) {}

  /** Answers when the thread is up. @throws UserError when the provider cannot work here */
  async ready(): Promise<void> {
    if (this.provider === "cpu") return;
    const { input, neg, writeOnnx } = await import("../graph/index.js");
    const { bytes } = writeOnnx({ name: "nothing", outputs: { nothing: neg(input("x", "float32", [1])) } });
    const session = await this.#create("nothing", bytes, null).catch((error: Error) => {
      const reason = error.message.trim().split(/[:\n]/).at(-1)!.trim();
      throw new UserError(
        `device webgpu: expected a graphics card that Vulkan, Metal or Direct3D 12 can use, found none (${reason}); install the ` +
          "card's driver (on Linux with its Vulkan part, and libvulkan1), or compute on the processor: device cpu",
      );
    });
    await this.gate.pass(() => session.release());
  }

  #create(name: string, bytes: Uint8Array, profile: string | null): Promise<InferenceSession> {
    return this.#native(name, "load", () =>
      InferenceSession.create(bytes, {
        executionProviders: [this.provider],
        // What a graphics card leaves to the processor are indices: too little to share.
        intraOpNumThreads: this.provider === "cpu" ? this.threads : 1,
        interOpNumThreads: 1,
        graphOptimizationLevel: "all",
        enableMemPattern: false, // halves peak memory at equal speed
        // Masked attention weights underflow to denormals, which cost tens of cycles each: they count as zeros.
        extra: { session: { set_denormal_as_zero: "1" } },
        enableCpuMemArena: true,
        logSeverityLevel: 3,
        ...(profile === null ? {} : { enableProfiling: true, profileFilePrefix: profile }),
      }),
    );
  }

  /** Loads a model; returns its number. `profile`: start of the path of a profile to be written, or null. */
  load(onnx: OnnxProgram, profile: string | null): Promise<number> {
    return this.#inOrder(async () => {
      const { bytes, ...rest } = onnx;
      const session = await this.#create(onnx.name, bytes, profile);
      const packs = rest.packs?.parameters ?? [];
      const joined = new Map(packs.map(({ name, size }) => [name, new Float32Array(size)]));
      return this.#register(this.#programs, { session, onnx: rest, joined });
    });
  }

  run(id: number, feeds: Feeds, options: HostRunOptions): Promise<Record<string, TensorData>> {
    return this.#inOrder(async () => {
      const program = this.#programs.get(id)!;
      const { session, onnx } = program;
      const memory = options.parameters === null ? undefined : this.#memories.get(options.parameters)!;
      const values = memory ? parameterTensors(program, memory, options.slot) : {};
      for (const [name, { dtype, shape, data }] of Object.entries(feeds))
        values[name] = new Tensor(dtype, data, shape);
      const fetches = gradientPlaces(onnx, memory);
      for (const { name } of onnx.outputs) fetches[name] = null;
      const held = options.held === null ? undefined : this.#held.get(options.held)!;
      for (const { name } of onnx.inputs) if (isHeld(name)) values[name] = held!.get(name)!;
      const results = await this.#native(onnx.name, "run", () => session.run(values, fetches));
      for (const buffer of buffersOf(Object.values(feeds))) discard(buffer);
      if (memory) takeGradients(onnx, memory, fetches, results);
      for (const { name } of onnx.outputs) {
        if (!isHeld(name)) continue;
        const result = results[name] as Tensor;
        const rows = isHeldRows(name);
        const before = held!.get(rows ? heldOfRows(name) : name);
        if (rows) writeRows(result.data as Float32Array, options.heldRows!, before!.data as Float32Array);
        else held!.set(name, result);
        const dropped = rows ? result : before;
        if (dropped) discard((dropped.data as Float32Array<ArrayBuffer>).buffer);
      }
      const returned = onnx.outputs.filter(({ name }) => !isHeld(name));
      const outputs = Object.fromEntries(
        returned.map(({ name, dtype }): [string, TensorData] => [
          name,
          { dtype, shape: [...results[name].dims], data: results[name].data as TensorData["data"] },
        ]),
      );
      return transfer(outputs, buffersOf(Object.values(outputs)));
    });
  }

  /** Writes the profile of a model that was loaded with one. */
  endProfile(id: number): Promise<void> {
    return this.#inOrder(() => this.#programs.get(id)!.session.endProfiling());
  }

  unload(id: number): Promise<void> {
    return this.#inOrder(async () => {
      const program = this.#programs.get(id);
      this.#programs.delete(id);
      await this.gate.pass(async () => program?.session.release());
    });
  }

  createParameters(
    specs: readonly ParameterSpec[],
    options: ParameterOptions,
    blockLimit: number,
  ): Promise<number> {
    return this.#inOrder(() => {
      const layout = new ParameterLayout(specs, options, this.communicator, { blockLimit });
      const blocks = layout.blockBytes.map((bytes) => allocateBlock(bytes, layout.byteLength));
      return this.#register(this.#memories, new ParameterMemory(layout, blocks, this.communicator));
    });
  }

  /** An empty set of tensors that stay here; returns its number. */
  createHeld(): Promise<number> {
    return this.#inOrder(() => this.#register(this.#held, new Map<string, Tensor>()));
  }

  freeHeld(id: number): Promise<void> {
    return this.#inOrder(() => {
      const held = this.#held.get(id);
      this.#held.delete(id);
      for (const { data } of held?.values() ?? []) discard((data as Float32Array<ArrayBuffer>).buffer);
    });
  }

  write(id: number, slot: Slot, values: Readonly<Record<string, Float32Array>>): Promise<void> {
    return this.#inOrder(() => this.#memories.get(id)!.write(slot, values));
  }

  read(id: number, slot: Slot, names: readonly string[]): Promise<Record<string, Float32Array>> {
    return this.#inOrder(async () => {
      const values = await this.gate.pass(() => this.#memories.get(id)!.read(slot, names));
      return transfer(
        values,
        Object.values(values).map((value) => value.buffer as ArrayBuffer),
      );
    });
  }

  zeroGradients(id: number): Promise<void> {
    return this.#inOrder(() => this.#memories.get(id)!.zeroGradients());
  }

  /** Answers when the sums have begun. */
  gradientsComplete(id: number, names: readonly string[]): Promise<void> {
    return this.#inOrder(() => {
      const sums = this.#memories.get(id)!.gradientsComplete(names);
      void this.gate.pass(() => sums).catch(() => {}); // step waits for them, and says so
    });
  }

  abandonStep(id: number): Promise<void> {
    return this.#inOrder(() => this.#memories.get(id)!.abandonStep());
  }

  step(id: number, options: AdamWOptions): Promise<StepResult> {
    return this.#inOrder(() => this.gate.pass(() => this.#memories.get(id)!.step(options)));
  }

  freeParameters(id: number): Promise<void> {
    return this.#inOrder(() => {
      this.#memories.delete(id);
    });
  }

  /** Releases all sessions and memories. */
  close(): Promise<void> {
    return this.#inOrder(async () => {
      const programs = [...this.#programs.values()];
      this.#programs.clear();
      this.#memories.clear();
      this.#held.clear();
      for (const { session } of programs) await this.gate.pass(() => session.release());
    });
  }

  #register<T>(items: Map<number, T>, item: T): number {
    const id = this.#nextId++;
    items.set(id, item);
    return id;
  }

  /** Calls ONNX Runtime; adds the program's name to its errors. */
  async #native<T>(program: string, task: "load" | "run", work: () => Promise<T>): Promise<T> {
    try {
      return await this.gate.pass(work);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (/device lost/i.test(reason))
        throw new UserError(
          `device webgpu: the graphics card was lost while it ran "${program}" (${reason}); a smaller batch takes less of its memory`,
        );
      throw new Error(`program "${program}": ONNX Runtime could not ${task} it: ${reason}`);
    }
  }
}
