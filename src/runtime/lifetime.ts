/** @file What can be disposed: says so when it is used afterwards. */
import { UserError } from "../errors.js";

export class Lifetime {
  #ended = false;

  /** @param what names the thing in messages: `program "train"` */
  constructor(readonly what: string) {}

  get ended(): boolean {
    return this.#ended;
  }

  /** Throws once the thing is disposed. */
  check(): void {
    if (this.#ended)
      throw new UserError(`${this.what}: expected it to be in use, but it was disposed; create a new one`);
  }

  /** Marks the thing as disposed; true the first time. */
  end(): boolean {
    const first = !this.#ended;
    this.#ended = true;
    return first;
  }
}
