/** @file Compiled programs by name, the last few kept: a batch shape that was seen before needs no second compilation. */
import type { GraphModule } from "../graph/index.js";
import type { Executable } from "../runtime/index.js";

/** A program on loan. It stays compiled until it is released, and for a while after. */
export interface Program {
  readonly executable: Executable;
  release(): Promise<void>;
}

interface Entry {
  readonly compiled: Promise<Executable>;
  users: number;
}

/** Programs kept compiled while nobody uses them: a text in blocks that keeps keys and values takes six. */
const CAPACITY = 8;
/** Bytes that the weights in them take, at most: but two in any case, which a text in blocks takes from left to right. */
const IDLE_BYTES = 2 ** 29;

/** Programs to keep, each of which holds so many bytes of weights. */
export const idlePrograms = (bytes: number): number =>
  Math.max(2, Math.min(CAPACITY, Math.floor(IDLE_BYTES / Math.max(1, bytes))));

export class ProgramCache {
  /** In order of last use. */
  readonly #entries = new Map<string, Entry>();

  /** @param capacity programs kept compiled while nobody uses them */
  constructor(
    private readonly compile: (module: GraphModule) => Promise<Executable>,
    private readonly capacity = CAPACITY,
  ) {}

  async use(name: string, module: () => GraphModule): Promise<Program> {
    const entry = this.#entries.get(name) ?? { compiled: this.compile(module()), users: 0 };
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    entry.users++;
    let released = false;
    const release = async () => {
      if (released) return;
      released = true;
      entry.users--;
      await this.#evict();
    };
    try {
      return { executable: await entry.compiled, release };
    } catch (error) {
      this.#entries.delete(name);
      throw error;
    }
  }

  /** Disposes the longest unused programs beyond the capacity. */
  async #evict(): Promise<void> {
    const idle = [...this.#entries].filter(([, { users }]) => users === 0);
    for (const [name, { compiled }] of idle.slice(0, Math.max(0, idle.length - this.capacity))) {
      this.#entries.delete(name);
      await (await compiled).dispose();
    }
  }

  async dispose(): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const { compiled } of entries) await (await compiled.catch(() => null))?.dispose();
  }
}
