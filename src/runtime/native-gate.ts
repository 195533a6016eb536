/**
 * @file Keeps a thread from being ended while it is inside native code.
 *
 * A thread of ONNX Runtime that is ended in the middle of a run (process.exit, an uncaught error of the caller) cannot hand its result
 * back and aborts the whole process. So the thread tells, through two shared numbers, when it is inside, and the caller shuts the gate
 * and waits until it is out. Each side first writes its own number and then reads the other's: one of them always sees the other.
 */
const INSIDE = 0;
const CLOSED = 1;

export class NativeGate {
  readonly #state: Int32Array<SharedArrayBuffer>;

  /** @param shared the memory of the gate on the other side; a new one by default */
  constructor(readonly shared = new SharedArrayBuffer(8)) {
    this.#state = new Int32Array(shared);
  }

  /** Thread's side: does native work, one at a time. Once the gate is closed it never begins nor settles: the thread is ending. */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    Atomics.store(this.#state, INSIDE, 1);
    try {
      if (Atomics.load(this.#state, CLOSED) === 1) return await this.#never();
      return await work();
    } finally {
      this.#leave();
    }
  }

  /** Caller's side: lets no more work begin. */
  close(): void {
    Atomics.store(this.#state, CLOSED, 1);
  }

  /** Caller's side: is native work going on? */
  get busy(): boolean {
    return Atomics.load(this.#state, INSIDE) === 1;
  }

  /** Caller's side: stops this thread until the work is done, or for at most `milliseconds`. */
  wait(milliseconds: number): void {
    Atomics.wait(this.#state, INSIDE, 1, milliseconds);
  }

  #never(): Promise<never> {
    this.#leave();
    return new Promise(() => {});
  }

  #leave(): void {
    Atomics.store(this.#state, INSIDE, 0);
    Atomics.notify(this.#state, INSIDE);
  }
}
