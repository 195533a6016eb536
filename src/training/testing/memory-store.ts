/** @file For tests: a parameter store that is nothing but arrays, filled with numbers that tell slots and steps apart. */
import type { CheckpointStore } from "../checkpoint.js";

type Slot = Parameters<CheckpointStore["read"]>[0];

const trainableSlots: Slot[] = ["ema", "moment1", "moment2"];

export class MemoryStore implements CheckpointStore {
  readonly slots = new Map<Slot, Record<string, Float32Array>>();

  constructor(
    readonly specs: CheckpointStore["specs"] = [
      { name: "embeddings.weight", shape: [5, 3], trainable: true },
      { name: "layers.0.bias", shape: [4], trainable: true },
      { name: "router.bias", shape: [2], trainable: false },
    ],
    seed = 0,
  ) {
    for (const [index, slot] of (["value", ...trainableSlots] as Slot[]).entries()) {
      const named = specs.filter((spec) => slot === "value" || spec.trainable);
      const entries = named.map(({ name, shape }, k) => {
        const size = shape.reduce((total, length) => total * length, 1);
        return [
          name,
          Float32Array.from({ length: size }, (_, i) => seed + index + k / 10 + i / 1000),
        ] as const;
      });
      this.slots.set(slot, Object.fromEntries(entries));
    }
  }

  async read(slot: Slot): Promise<Record<string, Float32Array>> {
    return { ...this.slots.get(slot) };
  }

  async write(slot: Slot, values: Record<string, Float32Array>): Promise<void> {
    this.slots.set(slot, { ...this.slots.get(slot), ...values });
  }
}
