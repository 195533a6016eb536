/** @file Work that takes effect in the order it was asked for, whoever awaits it. */

/** Makes a queue: what it is given runs after everything it was given before has ended, well or not. */
export function inOrder(): <T>(work: () => T | Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
}
