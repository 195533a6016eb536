/**
 * @file What processes that train one model together need of each other: a rank each, and a few collective operations.
 *
 * Every operation is collective: all ranks call it, in the same order, with arrays of the same length. Operations on one communicator
 * never overlap; a second thread works on a `duplicate`.
 */
import { UserError } from "../errors.js";

/** Arrays that are summed. */
export type Summable = Float32Array | Float64Array;

export interface Communicator {
  /** This process among the `size`, from 0. Rank 0 writes the files and talks. */
  readonly rank: number;
  readonly size: number;
  /** values <- their sums over all ranks; every rank gets the same bits. */
  allReduce(values: Summable): Promise<void>;
  /** own <- the sums, over all ranks, of part number `rank` of `values`. values: float32 [size * n], own: float32 [n], apart from it. */
  reduceScatter(values: Float32Array, own: Float32Array): Promise<void>;
  /** Part number r of `values`, float32 [size * n], is rank r's: all ranks get all parts. */
  allGather(values: Float32Array): Promise<void>;
  /** values <- those of rank 0. */
  broadcast(values: Float32Array | Uint8Array): Promise<void>;
  /** Waits for all ranks. */
  barrier(): Promise<void>;
  /** Another communicator of the same ranks. */
  duplicate(): Promise<Communicator>;
  /** What another thread of this process needs to use this communicator in place of this thread (`attach`); null where none can. */
  readonly handle: CommunicatorHandle | null;
}

/** Plain data: may be sent to a worker. */
export interface CommunicatorHandle {
  /** The file of the MPI library. */
  readonly library: string;
  /** Address of the MPI_Comm. */
  readonly address: bigint;
  readonly rank: number;
  readonly size: number;
}

/** The communicator of a process that trains by itself: sums over one rank are the values. */
export const alone: Communicator = {
  rank: 0,
  size: 1,
  handle: null,
  async allReduce() {},
  async reduceScatter(values, own) {
    own.set(values);
  },
  async allGather() {},
  async broadcast() {},
  async barrier() {},
  duplicate: async () => alone,
};

/** The arrays' sums over all ranks, in one operation; the given arrays stay as they are. All ranks give the same names and lengths. */
export async function sumOverRanks<K extends string>(
  communicator: Communicator,
  arrays: Readonly<Record<K, ArrayLike<number>>>,
): Promise<Record<K, Float64Array>> {
  const entries = Object.entries(arrays) as [K, ArrayLike<number>][];
  const all = new Float64Array(entries.reduce((sum, [, { length }]) => sum + length, 0));
  const places = entries.map(([name, array]) => [name, array.length] as const);
  let end = 0;
  for (const [, array] of entries) {
    all.set(array, end);
    end += array.length;
  }
  await communicator.allReduce(all);
  end = 0;
  return Object.fromEntries(
    places.map(([name, length]) => {
      end += length;
      return [name, all.subarray(end - length, end)];
    }),
  ) as Record<K, Float64Array>;
}

/**
 * Work that a rank may fail at by itself: where one fails, all do, so that none waits for it in vain. Collective.
 *
 * @throws what failed here; else a UserError with the message of the first rank that failed
 */
export async function allOrNone<T>(communicator: Communicator, work: () => Promise<T>): Promise<T> {
  const { rank, size } = communicator;
  if (size === 1) return work();
  const outcome = await work().then(
    (value) => ({ value, message: null }),
    (error: unknown) => ({ error, message: error instanceof Error ? error.message : String(error) }),
  );
  const lengths = new Float64Array(size);
  if (outcome.message !== null) lengths[rank] = 1 + outcome.message.length;
  await communicator.allReduce(lengths);
  const failed = lengths.findIndex((length) => length > 0);
  if (failed < 0 && outcome.message === null) return outcome.value;
  const units = new Float64Array(lengths[failed]);
  if (rank === failed) for (const i of units.keys()) units[i] = outcome.message!.charCodeAt(i) || 0;
  await communicator.allReduce(units);
  if (outcome.message !== null) throw outcome.error;
  throw new UserError(`rank ${failed}: ${String.fromCharCode(...units.subarray(0, -1))}`);
}

/** Rank 0's value on all ranks. It travels as JSON; other ranks' `value` is not looked at. */
export async function broadcastJson<T>(communicator: Communicator, value: T | null): Promise<T> {
  if (communicator.size === 1) return value as T;
  const text = communicator.rank === 0 ? new TextEncoder().encode(JSON.stringify(value)) : null;
  // The length goes first, in bytes that mean the same on every machine.
  const length = new Uint8Array(8);
  if (text) new DataView(length.buffer).setFloat64(0, text.length);
  await communicator.broadcast(length);
  const bytes = text ?? new Uint8Array(new DataView(length.buffer).getFloat64(0));
  await communicator.broadcast(bytes);
  return JSON.parse(new TextDecoder().decode(bytes)) as T;
}
