/**
 * @file Keeps a thread from being ended while it is inside native code.
 *
 * A thread of ONNX Runtime that is ended in the middle of a run (process.exit, an uncaught error of the caller) cannot hand its result
 * back and aborts the whole process. So the thread tells, through two shared numbers, how often it is inside, and the caller shuts the gate
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

  /** Thread's side: does native work. Once the gate is closed it never begins nor settles: the thread is ending. */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    Atomics.add(this.#state, INSIDE, 1);
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
    return Atomics.load(this.#state, INSIDE) > 0;
  }

  /** Caller's side: stops this thread until the work is done, or for at most `milliseconds`. */
  wait(milliseconds: number): void {
    const end = performance.now() + milliseconds;
    for (let inside = 1; inside > 0 && performance.now() < end; inside = Atomics.load(this.#state, INSIDE))
      Atomics.wait(this.#state, INSIDE, inside, end - performance.now());
  }

  #never(): Promise<never> {
    this.#leave();
    return new Promise(() => {});
  }

  #leave(): void {
    Atomics.sub(this.#state, INSIDE, 1);
    Atomics.notify(this.#state, INSIDE);
  }
}
