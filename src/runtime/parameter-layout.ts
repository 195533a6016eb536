/**
 * @file Where each parameter's arrays lie: in one block of memory, or in several when they do not fit one.
 *
 *     block:  scratch | value: trainable, averaged buffers, other buffers | gradient | moment1 | moment2 | ema | inbox
 *
 * A parameter lies in one block with all its slots, so that a kernel, which sees one memory, updates it at once. Slots other than the
 * value hold trainable parameters only (averages: those of averaged buffers too), and only the slots asked for exist. Every array
 * starts at a multiple of 64 bytes, so that vector loads never cross a cache line.
 *
 * Several ranks sum their gradients bucket by bucket: a bucket is a run of a block's trainable floats, the same in every slot. With a sharded
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

/** Floats [start, end) from the start of a slot of a block, and this rank's parts among them. */
export interface Bucket {
  readonly block: number;
  readonly start: number;
  readonly end: number;
  readonly parts: readonly Part[];
}

const padded = (size: number, multiple = ALIGNMENT): number => Math.ceil(size / multiple) * multiple;
const list = (names: readonly string[]): string =>
  names.length > 5 ? `${names.slice(0, 5).join(", ")} and ${names.length - 5} more` : names.join(", ");

/** One memory for each block. */
type Buffers = readonly ArrayBuffer[];

export interface LayoutLimits {
  /** Bytes that one block holds at most. Default: what a WebAssembly memory can hold. */
  readonly blockLimit?: number;
  /** Floats of a bucket, about. Default: 4 MiB. */
  readonly bucketFloats?: number;
}

/** Whether a parameter has an array of its own in the slot. */
const holds = ({ trainable, averaged = false }: ParameterSpec, slot: Slot): boolean =>
  trainable || slot === "value" || (slot === "ema" && averaged);

/** Where a parameter lies: floats from the start of each slot that its block has. */
interface Place {
  readonly block: number;
  readonly offset: number;
}
/** Floats from the start of the block. */
interface Block {
  readonly slotOffsets: ReadonlyMap<Slot, number>;
  readonly inbox: number;
}

export class ParameterLayout {
  readonly totalParameters: number;
  readonly trainable: readonly ParameterSpec[];
  readonly slots: readonly Slot[];
  /** Bytes of each block: one memory each. */
  readonly blockBytes: readonly number[];
  /** The trainable floats in order; one bucket a block when there is one rank. */
  readonly buckets: readonly Bucket[];
  /** Whether every rank keeps moments for its parts alone. */
  readonly sharded: boolean;
  readonly #specs = new Map<string, ParameterSpec>();
  readonly #places = new Map<string, Place>();
  readonly #blocks: Block[] = [];

  /** @throws UserError for a name given twice, a shape that is not one of positive integers, or a parameter larger than a block */
  constructor(
    readonly specs: readonly ParameterSpec[],
    options: ParameterOptions = {},
    readonly ranks: { readonly rank: number; readonly size: number } = { rank: 0, size: 1 },
    { blockLimit = MEMORY_LIMIT, bucketFloats = BUCKET_FLOATS }: LayoutLimits = {},
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
    const bytes: number[] = [];
    const buckets: Bucket[] = [];
    for (const part of this.#cutBlocks(blockLimit, bucketFloats))
      bytes.push(this.#place(part, bucketFloats, buckets));
    this.blockBytes = bytes;
    this.buckets = buckets;
  }

  /** Bytes of all blocks. */
  get byteLength(): number {
    return this.blockBytes.reduce((a, b) => a + b, 0);
  }

  /** Number of the block a parameter lies in. */
  blockOf(name: string): number {
    return this.#places.get(name)!.block;
  }

  /** The parameters of each block, in order: a block takes what fits it (moments counted whole, sharded or not). */
  #cutBlocks(blockLimit: number, bucketFloats: number): ParameterSpec[][] {
    const { size } = this.ranks;
    const unit = ALIGNMENT * size;
    const rounding = this.sharded ? this.slots.length * unit + padded(bucketFloats, unit) / size : 0;
    const fixed = 4 * (SCRATCH_FLOATS + rounding);
    const parts: ParameterSpec[][] = [[]];
    let bytes = fixed;
    for (const spec of this.specs) {
      const own = 4 * padded(sizeOf(spec.shape)) * this.slots.filter((slot) => holds(spec, slot)).length;
      if (fixed + own > blockLimit)
        throw new UserError(
          `parameter "${spec.name}": expected at most ${gigabytes(blockLimit)} with ${this.slots.join(", ")} (one WebAssembly ` +
            `memory), got ${gigabytes(own)} for ${showShape(spec.shape)}; make it smaller, or leave out training or ema`,
        );
      if (bytes + own > blockLimit) {
        parts.push([]);
        bytes = fixed;
      }
      parts[parts.length - 1].push(spec);
      bytes += own;
    }
    return parts;
  }

  /** Lays out the next block and adds its buckets; returns its bytes. */
  #place(specs: readonly ParameterSpec[], bucketFloats: number, buckets: Bucket[]): number {
    const { size } = this.ranks;
    const block = this.#blocks.length;
    let floats = 0;
    const place = (spec: ParameterSpec) => {
      this.#places.set(spec.name, { block, offset: floats });
      floats += padded(sizeOf(spec.shape));
    };
    const trainable = specs.filter((spec) => spec.trainable);
    trainable.forEach(place);
    floats = padded(floats, this.sharded ? ALIGNMENT * size : ALIGNMENT);
    const trainableFloats = floats;
    specs.filter((spec) => !spec.trainable && spec.averaged).forEach(place);
    const averagedFloats = floats;
    specs.filter((spec) => !spec.trainable && !spec.averaged).forEach(place);
    const lengthOf = (slot: Slot): number => {
      if (slot === "value") return floats;
      if (slot === "ema") return averagedFloats;
      return this.#isSharded(slot) ? trainableFloats / size : trainableFloats;
    };
    const slotOffsets = new Map<Slot, number>();
    let end = SCRATCH_FLOATS;
    for (const slot of this.slots) {
      slotOffsets.set(slot, end);
      end += lengthOf(slot);
    }
    this.#blocks.push({ slotOffsets, inbox: end });
    const own = this.#cut(trainable, block, trainableFloats, bucketFloats);
    buckets.push(...own);
    if (this.sharded && own.length > 0) end += (own[0].end - own[0].start) / size;
    return 4 * end;
  }

  #isSharded(slot: Slot): boolean {
    return this.sharded && (slot === "moment1" || slot === "moment2");
  }

  #cut(trainable: readonly ParameterSpec[], block: number, floats: number, bucketFloats: number): Bucket[] {
    const { rank, size } = this.ranks;
    const length = size === 1 ? floats : padded(bucketFloats, ALIGNMENT * size);
    const buckets: Bucket[] = [];
    for (let start = 0; start < floats; start = buckets[buckets.length - 1].end) {
      const end = Math.min(floats, start + length);
      const own = (end - start) / size;
      const from = start + rank * own;
      const parts = this.sharded
        ? this.#partsIn(trainable, from, from + own, start / size - from)
        : this.#partsIn(trainable, start, end, 0);
      buckets.push({ block, start, end, parts });
    }
    return buckets;
  }

  /** The parameters' ranges among the floats [from, to) of a slot. `shift`: from a place in a whole slot to that in a moment's. */
  #partsIn(specs: readonly ParameterSpec[], from: number, to: number, shift: number): Part[] {
    return specs.flatMap(({ name, shape }) => {
      const { offset } = this.#places.get(name)!;
      const [start, end] = [Math.max(from, offset), Math.min(to, offset + sizeOf(shape))];
      return start < end ? [{ name, start: start - offset, end: end - offset, kept: start + shift }] : [];
    });
  }

  /** @throws UserError when there is less memory than the parameters need. @param available bytes */
  checkFits(available: number): void {
    if (this.byteLength > available)
      throw new UserError(
        `parameters: expected at most ${gigabytes(available)} (the memory that is free), got ${gigabytes(this.byteLength)} ` +
          `for ${(this.totalParameters / 1e6).toFixed(1)} M parameters with ${this.slots.join(", ")}; ` +
          "free memory, make the model smaller, or leave out training or ema",
      );
  }

  /** A view of a block's floats, from `first` on counted from the start of a slot. */
  #floats(buffers: Buffers, block: number, slot: Slot, first: number, length: number): Float32Array {
    const start = this.#blocks[block].slotOffsets.get(slot)! + first;
    return new Float32Array(buffers[block], 4 * start, length);
  }

  /** Parameters that have the slot. */
  namesOf(slot: Slot): string[] {
    this.requireSlot(slot);
    return (slot === "value" || slot === "ema" ? this.specs : this.trainable).map((spec) => spec.name);
  }

  /** The range's array, float32 [end - start]. */
  partView(buffers: Buffers, slot: Slot, { name, start, end, kept }: Part): Float32Array {
    const { block, offset } = this.#places.get(name)!;
    return this.#floats(buffers, block, slot, this.#isSharded(slot) ? kept : offset + start, end - start);
  }

  /** The trainable parameters that have floats in a bucket, whoever updates them. */
  namesIn({ block, start, end }: Bucket): string[] {
    return this.trainable
      .filter(({ name, shape }) => {
        const place = this.#places.get(name)!;
        return place.block === block && place.offset < end && place.offset + sizeOf(shape) > start;
      })
      .map(({ name }) => name);
  }

  /** All floats of a bucket in a slot that every rank has whole, float32 [end - start]. */
  bucketView(buffers: Buffers, slot: "value" | "gradient", { block, start, end }: Bucket): Float32Array {
    return this.#floats(buffers, block, slot, start, end - start);
  }

  /** Room for this rank's part of a bucket, apart from all slots. */
  inbox(buffers: Buffers, { block, start, end }: Bucket): Float32Array {
    return new Float32Array(buffers[block], 4 * this.#blocks[block].inbox, (end - start) / this.ranks.size);
  }

  /** The parameter's array, float32 [size]; not for moments of a sharded optimiser. */
  view(buffers: Buffers, slot: Slot, name: string): Float32Array {
    const spec = this.require(slot, name);
    if (this.#isSharded(slot)) throw new Error(`parameter "${name}": its ${slot} is sharded and has no view`);
    const { block, offset } = this.#places.get(name)!;
    const stored = holds(spec, slot) ? slot : "value"; // the average of a buffer is its value
    return this.#floats(buffers, block, stored, offset, sizeOf(spec.shape));
  }

  /** @throws UserError when the layout was made without the slot */
  requireSlot(slot: Slot): void {
    if (!this.slots.includes(slot))
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

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
