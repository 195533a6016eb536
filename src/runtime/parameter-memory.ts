/** @file Parameters in blocks of memory, and what is done to them there. All devices keep theirs so, each with its kernels. */
import { alone, type Communicator } from "../distributed/index.js";
import { sizeOf } from "../graph/index.js";
import { adamwStep } from "./adamw.js";
import type { AdamWOptions, ParameterSpec, Slot, StepResult } from "./device.js";
import type { VectorKernels } from "./kernels/kernels.js";
import type { ParameterLayout, Part } from "./parameter-layout.js";
import { RankExchange } from "./rank-exchange.js";

/** One block and the loops that work on it. */
export interface MemoryBlock {
  readonly buffer: ArrayBuffer;
  readonly kernels: VectorKernels;
}

export class ParameterMemory {
  readonly buffers: readonly ArrayBuffer[];
  readonly #views = new Map<string, Float32Array>();
  /** Gradients that count as zero whatever their memory holds: the first addition overwrites it, which saves two passes over it. */
  readonly #zeroed = new Set<string>();
  /** Of the step that is under way: gradients that nothing is added to any more, and the sums over ranks that have begun. */
  readonly #complete = new Set<string>();
  #exchange: RankExchange | null = null;
  /** Whether that step will not be taken. */
  #abandoned = false;

  /** @param blocks one for each of `layout.blockBytes`, of at least as many bytes, zero */
  constructor(
    readonly layout: ParameterLayout,
    readonly blocks: readonly MemoryBlock[],
    readonly communicator: Communicator = alone,
  ) {
    this.buffers = blocks.map(({ buffer }) => buffer);
  }

  get trainable(): readonly ParameterSpec[] {
    return this.layout.trainable;
  }

  /** The array itself, float32 [size]: valid as long as the memory. */
  view = (slot: Slot, name: string): Float32Array => {
    const key = `${slot} ${name}`;
    let view = this.#views.get(key);
    if (!view) {
      view = this.layout.view(this.buffers, slot, name);
      this.#views.set(key, view);
    }
    return view;
  };

  /** The loops over the memory that a parameter lies in. */
  kernelsOf = (name: string): VectorKernels => this.blocks[this.layout.blockOf(name)].kernels;

  write(slot: Slot, values: Readonly<Record<string, Float32Array>>): void {
    this.layout.checkValues(slot, values);
    for (const [name, value] of Object.entries(values)) {
      if (this.#isSplit(slot))
        for (const part of this.#partsOf(name))
          this.layout.partView(this.buffers, slot, part).set(value.subarray(part.start, part.end));
      else this.view(slot, name).set(value);
      if (slot === "gradient") this.#zeroed.delete(name);
    }
  }

  /** Copies. Of sharded moments each rank contributes its parts. */
  async read(slot: Slot, names: readonly string[]): Promise<Record<string, Float32Array>> {
    if (slot === "gradient") this.#settleGradients();
    const values: Record<string, Float32Array> = {};
    for (const name of names)
      values[name] = this.#isSplit(slot) ? await this.#gather(slot, name) : this.view(slot, name).slice();
    return values;
  }

  #isSplit(slot: Slot): boolean {
    return this.layout.sharded && (slot === "moment1" || slot === "moment2");
  }

  #partsOf(name: string): Part[] {
    return this.layout.buckets.flatMap(({ parts }) => parts.filter((part) => part.name === name));
  }

  /** Every float is one rank's: a sum over ranks of which all others have zeros is a copy. */
  async #gather(slot: Slot, name: string): Promise<Float32Array> {
    const whole = new Float32Array(sizeOf(this.layout.require(slot, name).shape));
    for (const part of this.#partsOf(name))
      whole.set(this.layout.partView(this.buffers, slot, part), part.start);
    await this.communicator.allReduce(whole);
    return whole;
  }

  async zeroGradients(): Promise<void> {
    if (this.#exchange) {
      if (!this.#abandoned)
        throw new Error(
          "parameters: gradients are being summed over the ranks; step comes before zeroGradients",
        );
      await this.#exchange.settled(); // they write into the gradients
      this.#endStep();
    }
    for (const { name } of this.trainable) this.#zeroed.add(name);
  }

  /** The gradient's array if nothing was added since `zeroGradients`, to be overwritten; then call `gradientWritten`. */
  untouchedGradient(name: string): Float32Array | null {
    return this.#zeroed.has(name) ? this.view("gradient", name) : null;
  }

  gradientWritten(name: string): void {
    this.#zeroed.delete(name);
  }

  /** gradient += values. values: float32 [size], from any memory. */
  addGradient(name: string, values: Float32Array): void {
    const gradient = this.view("gradient", name);
    if (this.#zeroed.delete(name)) gradient.set(values);
    else this.kernelsOf(name).addScaled(gradient, values, 1);
  }

  /** Writes the zeros that nothing was added to. */
  #settleGradients(names: Iterable<string> = this.#zeroed): void {
    for (const name of names)
      if (this.#zeroed.delete(name)) this.kernelsOf(name).fill(this.view("gradient", name), 0);
  }

  /** See ParameterStore. Resolves when the sums that have begun are there. */
  async gradientsComplete(names: readonly string[]): Promise<void> {
    if (this.communicator.size === 1) return;
    this.#settleGradients(names);
    for (const name of names) this.#complete.add(name);
    const ready = this.layout.buckets.filter((bucket) =>
      this.layout.namesIn(bucket).every((name) => this.#complete.has(name)),
    );
    this.#exchange ??= new RankExchange(this.communicator, this.layout, this.buffers);
    const exchange = this.#exchange;
    // Behind the last ones no program runs: bucket by bucket, they arrive while `step` works on those before.
    if (this.#complete.size < this.trainable.length) await exchange.sumGradientsAtOnce(ready);
    else await Promise.all(ready.map((bucket) => exchange.sumGradients(bucket)));
  }

  /** See ParameterStore. */
  abandonStep(): void {
    this.#abandoned = this.#exchange !== null;
  }

  #endStep(): void {
    this.#exchange = null;
    this.#abandoned = false;
    this.#complete.clear();
  }

  step(options: AdamWOptions): Promise<StepResult> {
    this.#settleGradients();
    const exchange = this.#exchange ?? new RankExchange(this.communicator, this.layout, this.buffers);
    this.#endStep();
    return adamwStep(this, options, exchange);
  }
}
