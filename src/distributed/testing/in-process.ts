/**
 * @file For tests: ranks inside one thread. Each operation waits until all ranks have called it, then does what MPI would, by plain loops
 * in float64.
 */
import type { Communicator } from "../communicator.js";

type Arrays = Float32Array | Float64Array | Uint8Array;

interface Meeting {
  readonly name: string;
  readonly arrays: Arrays[][];
  readonly done: Promise<void>;
  finish(): void;
}

class Room {
  readonly #meetings: Meeting[] = [];
  readonly #attended: number[];

  constructor(readonly size: number) {
    this.#attended = new Array(size).fill(0);
  }

  /** Rank `rank` calls its next operation; the last to come does the work. */
  async meet(
    rank: number,
    name: string,
    arrays: Arrays[],
    work: (all: readonly Arrays[][]) => void,
  ): Promise<void> {
    const number = this.#attended[rank]++;
    if (!this.#meetings[number]) {
      let finish = () => {};
      const done = new Promise<void>((resolve) => {
        finish = resolve;
      });
      this.#meetings[number] = { name, arrays: [], done, finish };
    }
    const meeting = this.#meetings[number];
    if (meeting.name !== name) throw new Error(`rank ${rank} calls ${name}, another calls ${meeting.name}`);
    meeting.arrays[rank] = arrays;
    if (Object.keys(meeting.arrays).length === this.size) {
      const lengths = new Set(meeting.arrays.map(([first]) => first?.length));
      if (lengths.size > 1) throw new Error(`${name}: lengths differ: ${[...lengths]}`);
      work(meeting.arrays);
      meeting.finish();
    }
    await meeting.done;
  }
}

const sums = (arrays: readonly Arrays[]): Float64Array =>
  Float64Array.from(arrays[0], (_, i) => arrays.reduce((sum, array) => sum + array[i], 0));

/** `size` ranks that meet each other in this thread. */
export function inProcessRanks(size: number): Communicator[] {
  const room = new Room(size);
  return Array.from({ length: size }, (_, rank): Communicator => {
    const communicator: Communicator = {
      rank,
      size,
      handle: null,
      allReduce: (values) =>
        room.meet(rank, "allReduce", [values], (all) => {
          const sum = sums(all.map(([array]) => array));
          for (const [array] of all) array.set(sum);
        }),
      reduceScatter: (values, own) =>
        room.meet(rank, "reduceScatter", [values, own], (all) => {
          const sum = sums(all.map(([array]) => array));
          const part = sum.length / size;
          for (const [r, [, target]] of all.entries()) target.set(sum.subarray(r * part, (r + 1) * part));
        }),
      allGather: (values) =>
        room.meet(rank, "allGather", [values], (all) => {
          const part = values.length / size;
          const whole = Float32Array.from(values, (__, i) => all[Math.floor(i / part)][0][i]);
          for (const [array] of all) array.set(whole);
        }),
      broadcast: (values) =>
        room.meet(rank, "broadcast", [values], (all) => {
          for (const [array] of all.slice(1)) array.set(all[0][0]);
        }),
      barrier: () => room.meet(rank, "barrier", [], () => {}),
      duplicate: async () => communicator, // one thread: one is enough
    };
    return communicator;
  });
}
