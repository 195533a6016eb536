/**
 * @file Where each parameter's arrays lie in one block of memory.
 *
 *     scratch | value: trainable, buffers | gradient | moment1 | moment2 | ema | inbox
 *
 * Slots other than the value hold trainable parameters only, and only the slots asked for exist. Every array starts at a multiple of
 * 64 bytes, so that vector loads never cross a cache line.
 *
 * Several ranks sum their gradients bucket by bucket: a bucket is a run of the trainable floats, the same in every slot. With a sharded
 * optimiser each rank updates one part of every bucket, and keeps moments for these parts only, end to end; the inbox takes a part's sum.
 */
import { UserError } from "../errors.js";
import { showShape, sizeOf } from "../graph/index.js";
import type { ParameterOptions, ParameterSpec, Slot } from "./device.js";

const ALIGNMENT = 16; // floats
/** Floats before the parameters, for kernels that stage data: 64 KiB, small enough to stay in cache. */
export const SCRATCH_FLOATS = 16384;
/** What one WebAssembly memory can hold, in bytes. */
export const MEMORY_LIMIT = 2 ** 32;
/** Floats of a bucket: 4 MiB. A sum of 47 MB over two ranks of one machine takes half as long in such pieces as in one. */
export const BUCKET_FLOATS = 2 ** 20;

/** A range of a parameter that this rank updates. */
export interface Part {
  readonly name: string;
  /** First element of the parameter, and the one behind the last. */
  readonly start: number;
  readonly end: number;
  /** Where the range's moments lie, in floats from the start of their slot. */
  readonly kept: number;
}

/** Floats [start, end) from the start of a slot, and this rank's parts among them. */
export interface Bucket {
  readonly start: number;
  readonly end: number;
  readonly parts: readonly Part[];
}

const padded = (size: number, multiple = ALIGNMENT): number => Math.ceil(size / multiple) * multiple;
const list = (names: readonly string[]): string =>
  names.length > 5 ? `${names.slice(0, 5).join(", ")} and ${names.length - 5} more` : names.join(", ");

export class ParameterLayout {
  readonly totalParameters: number;
  readonly trainable: readonly ParameterSpec[];
  readonly slots: readonly Slot[];
  /** Bytes of the whole block. */
  readonly byteLength: number;
  /** The trainable floats in order; one bucket when there is one rank. */
  readonly buckets: readonly Bucket[];
  /** Whether every rank keeps moments for its parts alone. */
  readonly sharded: boolean;
  readonly #inbox: number; // floats from the start of the block
  readonly #specs = new Map<string, ParameterSpec>();
  readonly #offsets = new Map<string, number>(); // floats from the start of a slot
  readonly #slotOffsets = new Map<Slot, number>(); // floats from the start of the block

  /** @throws UserError for a name given twice or a shape that is not one of positive integers */
  constructor(
    readonly specs: readonly ParameterSpec[],
    options: ParameterOptions = {},
    readonly ranks: { readonly rank: number; readonly size: number } = { rank: 0, size: 1 },
    bucketFloats = BUCKET_FLOATS,
  ) {
    this.sharded = (options.shardOptimizer ?? false) && (options.training ?? false) && ranks.size > 1;
    for (const spec of specs) {
      if (this.#specs.has(spec.name))
        throw new UserError(`parameters: expected every name once, got "${spec.name}" twice; rename one`);
      if (spec.shape.some((d) => !Number.isInteger(d) || d < 1))
        throw new UserError(
          `parameter "${spec.name}": expected a shape of positive integers, got ${showShape(spec.shape)}`,
        );
      this.#specs.set(spec.name, spec);
    }
    this.trainable = specs.filter((spec) => spec.trainable);
    this.totalParameters = specs.reduce((sum, spec) => sum + sizeOf(spec.shape), 0);
    this.slots = [
      "value",
      ...(options.training ? (["gradient", "moment1", "moment2"] as const) : []),
      ...(options.ema ? (["ema"] as const) : []),
    ];
    let floats = 0;
    const place = (spec: ParameterSpec) => {
      this.#offsets.set(spec.name, floats);
      floats += padded(sizeOf(spec.shape));
    };
    this.trainable.forEach(place);
    floats = padded(floats, this.sharded ? ALIGNMENT * ranks.size : ALIGNMENT);
    const trainableFloats = floats;
    for (const spec of specs) if (!spec.trainable) place(spec);
    let end = SCRATCH_FLOATS;
    for (const slot of this.slots) {
      this.#slotOffsets.set(slot, end);
      if (slot === "value") end += floats;
      else end += this.#isSharded(slot) ? trainableFloats / ranks.size : trainableFloats;
    }
    this.buckets = this.#cut(trainableFloats, bucketFloats);
    this.#inbox = end;
    if (this.sharded) end += (this.buckets[0].end - this.buckets[0].start) / ranks.size;
    this.byteLength = 4 * end;
  }

  #isSharded(slot: Slot): boolean {
    return this.sharded && (slot === "moment1" || slot === "moment2");
  }

  #cut(floats: number, bucketFloats: number): Bucket[] {
    const { rank, size } = this.ranks;
    const length = size === 1 ? floats : padded(bucketFloats, ALIGNMENT * size);
    const buckets: Bucket[] = [];
    let start = 0;
    do {
      const end = Math.min(floats, start + length);
      const own = (end - start) / size;
      const from = start + rank * own;
      const parts = this.sharded
        ? this.#partsIn(from, from + own, start / size - from)
        : this.#partsIn(start, end, 0);
      buckets.push({ start, end, parts });
      start = end;
    } while (start < floats);
    return buckets;
  }

  /** The parameters' ranges among the floats [from, to) of a slot. `shift`: from a place in a whole slot to that in a moment's. */
  #partsIn(from: number, to: number, shift: number): Part[] {
    return this.trainable.flatMap(({ name, shape }) => {
      const offset = this.#offsets.get(name)!;
      const [start, end] = [Math.max(from, offset), Math.min(to, offset + sizeOf(shape))];
      return start < end ? [{ name, start: start - offset, end: end - offset, kept: start + shift }] : [];
    });
  }

  /** @throws UserError when the block is larger than a WebAssembly memory can be */
  checkLimit(): void {
    if (this.byteLength > MEMORY_LIMIT)
      throw new UserError(
        `parameters: expected at most ${gigabytes(MEMORY_LIMIT)} (the limit of WebAssembly memory), got ${gigabytes(this.byteLength)} ` +
          `for ${(this.totalParameters / 1e6).toFixed(1)} M parameters with ${this.slots.join(", ")}; ` +
          "make the model smaller, or leave out training or ema",
      );
  }

  /** Parameters that have the slot. */
  namesOf(slot: Slot): string[] {
    this.requireSlot(slot);
    return (slot === "value" || slot === "ema" ? this.specs : this.trainable).map((spec) => spec.name);
  }

  /** The range's array in `buffer`, float32 [end - start]. */
  partView(buffer: ArrayBuffer, slot: Slot, { name, start, end, kept }: Part): Float32Array {
    const first = this.#isSharded(slot) ? kept : this.#offsets.get(name)! + start;
    return new Float32Array(buffer, 4 * (this.#slotOffsets.get(slot)! + first), end - start);
  }

  /** All floats of a bucket in a slot that every rank has whole, float32 [end - start]. */
  bucketView(buffer: ArrayBuffer, slot: "value" | "gradient", { start, end }: Bucket): Float32Array {
    return new Float32Array(buffer, 4 * (this.#slotOffsets.get(slot)! + start), end - start);
  }

  /** Room for this rank's part of a bucket, apart from all slots. */
  inbox(buffer: ArrayBuffer, { start, end }: Bucket): Float32Array {
    return new Float32Array(buffer, 4 * this.#inbox, (end - start) / this.ranks.size);
  }

  /** The parameter's array in `buffer`, float32 [size]; not for moments of a sharded optimiser. */
  view(buffer: ArrayBuffer, slot: Slot, name: string): Float32Array {
    const spec = this.require(slot, name);
    if (this.#isSharded(slot)) throw new Error(`parameter "${name}": its ${slot} is sharded and has no view`);
    const stored = spec.trainable ? slot : "value"; // the average of a buffer is its value
    const offset = this.#slotOffsets.get(stored)! + this.#offsets.get(name)!;
    return new Float32Array(buffer, 4 * offset, sizeOf(spec.shape));
  }

  /** @throws UserError when the layout was made without the slot */
  requireSlot(slot: Slot): void {
    if (!this.#slotOffsets.has(slot))
      throw new UserError(
        `parameters: expected a slot among ${this.slots.join(", ")}, got "${slot}"; ` +
          `create the parameters with { ${slot === "ema" ? "ema" : "training"}: true }`,
      );
  }

  /** @throws UserError when there is no such parameter or it does not have the slot */
  require(slot: Slot, name: string): ParameterSpec {
    this.requireSlot(slot);
    const spec = this.#specs.get(name);
    if (!spec)
      throw new UserError(
        `parameters: expected one of ${list([...this.#specs.keys()])}, got "${name}"; check the name`,
      );
    if (!spec.trainable && slot !== "value" && slot !== "ema")
      throw new UserError(
        `parameter "${name}": expected slot value or ema (it is not trainable), got "${slot}"`,
      );
    return spec;
  }

  /** @throws UserError unless each array is float32 and has as many elements as its parameter */
  checkValues(slot: Slot, values: Readonly<Record<string, Float32Array>>): void {
    for (const [name, value] of Object.entries(values)) {
      const { shape } = this.require(slot, name);
      if (!(value instanceof Float32Array) || value.length !== sizeOf(shape))
        throw new UserError(
          `parameter "${name}": expected ${sizeOf(shape)} float32 values for shape ${showShape(shape)}, got ` +
            (value instanceof Float32Array ? `${value.length}` : `${Object.prototype.toString.call(value)}`),
        );
    }
  }
}

const gigabytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GB`;
