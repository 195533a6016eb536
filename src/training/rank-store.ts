/**
 * @file Reading and writing parameters when rank 0 alone sees the files: what it does to its store, the other ranks follow.
 *
 *     rank 0                                       others
 *     write(slot, values): names, then arrays  ->  write the same
 *     read(slot) of sharded moments            ->  read them too, an array at a time: their parts are wanted
 *     done                                     ->  go on
 */
import { broadcastJson, type Communicator } from "../distributed/index.js";
import type { ParameterStore } from "../runtime/index.js";
import type { CheckpointStore } from "./checkpoint.js";

type CheckpointSlot = Parameters<CheckpointStore["read"]>[0];
type Order =
  | { readonly does: "write"; readonly slot: CheckpointSlot; readonly names: readonly string[] }
  | { readonly does: "read"; readonly slot: CheckpointSlot }
  | { readonly does: "nothing more" };

/**
 * Runs `work` on rank 0, with a store whose writes reach all ranks and whose reads are whole. Collective.
 *
 * @param sharded whether moments are shared out among the ranks
 * @returns what `work` returned; null on the other ranks
 */
export async function onRankZero<T>(
  communicator: Communicator,
  store: ParameterStore,
  sharded: boolean,
  work: (store: CheckpointStore) => Promise<T>,
): Promise<T | null> {
  if (communicator.size === 1) return work(store);
  if (communicator.rank > 0) {
    await follow(communicator, store);
    return null;
  }
  const tell = (order: Order) => broadcastJson<Order>(communicator, order);
  const result = await work({
    specs: store.specs,
    async read(slot) {
      if (sharded && isMoment(slot)) await tell({ does: "read", slot });
      return store.read(slot);
    },
    async write(slot, values) {
      await tell({ does: "write", slot, names: Object.keys(values) });
      for (const array of Object.values(values)) await communicator.broadcast(array);
      await store.write(slot, values);
    },
  });
  await tell({ does: "nothing more" });
  return result;
}

const isMoment = (slot: CheckpointSlot): boolean => slot === "moment1" || slot === "moment2";

async function follow(communicator: Communicator, store: ParameterStore): Promise<void> {
  const sizes = new Map(store.specs.map(({ name, shape }) => [name, shape.reduce((a, b) => a * b, 1)]));
  for (;;) {
    const order = await broadcastJson<Order>(communicator, null);
    switch (order.does) {
      case "write":
        for (const name of order.names) {
          const array = new Float32Array(sizes.get(name)!);
          await communicator.broadcast(array);
          await store.write(order.slot, { [name]: array });
        }
        break;
      case "read":
        for (const { name, trainable } of store.specs) if (trainable) await store.read(order.slot, [name]);
        break;
      case "nothing more":
        return;
      default:
        order satisfies never;
    }
  }
}
