/** @file Parameters in one block of memory, and what is done to them there. Both devices keep theirs so, each with its kernels. */
import { adamwStep } from "./adamw.js";
import type { AdamWOptions, ParameterSpec, Slot, StepResult } from "./device.js";
import type { VectorKernels } from "./kernels/kernels.js";
import type { ParameterLayout } from "./parameter-layout.js";

export class ParameterMemory {
  readonly #views = new Map<string, Float32Array>();
  /** Gradients that count as zero whatever their memory holds: the first addition overwrites it, which saves two passes over it. */
  readonly #zeroed = new Set<string>();

  /** @param buffer at least `layout.byteLength` bytes, zero */
  constructor(
    readonly layout: ParameterLayout,
    readonly buffer: ArrayBuffer,
    readonly kernels: VectorKernels,
  ) {}

  get trainable(): readonly ParameterSpec[] {
    return this.layout.trainable;
  }

  /** The array itself, float32 [size]: valid as long as the memory. */
  view = (slot: Slot, name: string): Float32Array => {
    const key = `${slot} ${name}`;
    let view = this.#views.get(key);
    if (!view) {
      view = this.layout.view(this.buffer, slot, name);
      this.#views.set(key, view);
    }
    return view;
  };

  write(slot: Slot, values: Readonly<Record<string, Float32Array>>): void {
    this.layout.checkValues(slot, values);
    for (const [name, value] of Object.entries(values)) {
      this.view(slot, name).set(value);
      if (slot === "gradient") this.#zeroed.delete(name);
    }
  }

  /** Copies. */
  read(slot: Slot, names: readonly string[]): Record<string, Float32Array> {
    if (slot === "gradient") this.#settleGradients();
    return Object.fromEntries(names.map((name) => [name, this.view(slot, name).slice()]));
  }

  zeroGradients(): void {
    for (const { name } of this.trainable) this.#zeroed.add(name);
  }

  /** The gradient's array if nothing was added since `zeroGradients`, to be overwritten; then call `gradientWritten`. */
  untouchedGradient(name: string): Float32Array | null {
    return this.#zeroed.has(name) ? this.view("gradient", name) : null;
  }

  gradientWritten(name: string): void {
    this.#zeroed.delete(name);
  }

  /** gradient += scale * values. values: float32 [size], from any memory. */
  addGradient(name: string, values: Float32Array, scale: number): void {
    const gradient = this.view("gradient", name);
    if (!this.#zeroed.delete(name)) this.kernels.addScaled(gradient, values, scale);
    else if (scale === 1) gradient.set(values);
    else {
      this.kernels.fill(gradient, 0);
      this.kernels.addScaled(gradient, values, scale);
    }
  }

  /** Writes the zeros that nothing was added to. */
  #settleGradients(): void {
    for (const name of this.#zeroed) this.kernels.fill(this.view("gradient", name), 0);
    this.#zeroed.clear();
  }

  step(options: AdamWOptions): StepResult {
    this.#settleGradients();
    return adamwStep(this.layout, this.view, this.kernels, options);
  }
}
