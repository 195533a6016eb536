/** @file Long work on the main thread that lets other work (Ctrl-C, a progress line) have a turn. */

export interface Turns {
  /** Gives a turn when 20 ms have passed since the last one. @throws the signal's reason once it is aborted */
  pause(): Promise<void>;
  /** Gives one now. */
  turn(): Promise<void>;
}

export function takeTurns(signal?: AbortSignal): Turns {
  let last = performance.now();
  const turn = async () => {
    // A timer that is due may come before signals that have arrived; what is done immediately after it does not.
    await new Promise<void>((resolve) => setTimeout(() => setImmediate(resolve)));
    last = performance.now();
    signal?.throwIfAborted();
  };
  const pause = async () => {
    if (performance.now() - last >= 20) await turn();
    else signal?.throwIfAborted();
  };
  return { pause, turn };
}
