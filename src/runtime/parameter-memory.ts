/** @file Parameters in one block of memory, and what is done to them there. Both devices keep theirs so, each with its kernels. */
import { adamwStep } from "./adamw.js";
import type { AdamWOptions, ParameterSpec, Slot, StepResult } from "./device.js";
import type { VectorKernels } from "./kernels/kernels.js";
import type { ParameterLayout } from "./parameter-layout.js";

export class ParameterMemory {
  readonly #views = new Map<string, Float32Array>();

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
    for (const [name, value] of Object.entries(values)) this.view(slot, name).set(value);
  }

  /** Copies. */
  read(slot: Slot, names: readonly string[]): Record<string, Float32Array> {
    return Object.fromEntries(names.map((name) => [name, this.view(slot, name).slice()]));
  }

  zeroGradients(): void {
    for (const { name } of this.trainable) this.kernels.fill(this.view("gradient", name), 0);
  }

  /** gradient += scale * values. values: float32 [size], from any memory. */
  addGradient(name: string, values: Float32Array, scale: number): void {
    this.kernels.addScaled(this.view("gradient", name), values, scale);
  }

  step(options: AdamWOptions): StepResult {
    return adamwStep(this.layout, this.view, this.kernels, options);
  }
}
