/**
 * @file Random numbers that depend on what they are for, never on when they are drawn.
 *
 *     element e of (seed, stream, sequence, step)  =  word e mod 4 of Philox(counter = (floor(e / 4), step, sequence, stream), key = seed)
 *
 * A training sequence gets the same noise alone, in any batch, at any place in it, after a restart and on any number of ranks.
 */
import { UserError } from "../errors.js";
import { fill } from "./kernels.js";
import { type PhiloxKey, philox4x32 } from "./philox.js";

const WORD = 2 ** 32;
/** Elements one (stream, sequence, step) holds. */
const ELEMENTS = 2 ** 34;

/**
 * A family of random streams. `stream` says what a number is for (see `Stream`), `sequence` for which sequence, `step` at which
 * training or denoising step, the position or element index which number of it. Stream, sequence and step are integers in
 * [0, 2^32), elements lie in [0, 2^34); anything else throws a RangeError.
 */
export class CounterRandom {
  readonly #key: PhiloxKey;
  readonly #words = new Uint32Array(4);

  /** @param seed a safe integer, 0 or greater */
  constructor(readonly seed: number) {
    if (!Number.isSafeInteger(seed) || seed < 0)
      throw new UserError(`seed: expected an integer from 0 to ${Number.MAX_SAFE_INTEGER}, got ${seed}`);
    this.#key = [seed % WORD, Math.floor(seed / WORD)];
  }

  /** One number in [0, 1) on a grid of 2^-32 (exact in float64). `fillUniform` gives the same element, cut to 24 bits. */
  uniform(stream: number, sequence: number, step: number, position: number): number {
    checkCounter(stream, sequence, step, position, 1);
    philox4x32([Math.floor(position / 4), step, sequence, stream], this.#key, this.#words);
    return this.#words[position % 4] / WORD;
  }

  /** Uniform numbers in [0, 1) on a grid of 2^-24. out: float32 [n]; out[i] is element `firstElement + i`. */
  fillUniform(out: Float32Array, stream: number, sequence: number, step: number, firstElement = 0): void {
    checkCounter(stream, sequence, step, firstElement, out.length);
    fill("uniforms", out, this.#key, stream, sequence, step, firstElement);
  }

  /** Standard normal numbers. out: float32 [n]; out[i] is element `firstElement + i`. */
  fillNormal(out: Float32Array, stream: number, sequence: number, step: number, firstElement = 0): void {
    checkCounter(stream, sequence, step, firstElement, out.length);
    fill("normals", out, this.#key, stream, sequence, step, firstElement);
  }

  /** Raw 32-bit words. out: uint32 [n]; out[i] is element `firstElement + i`. */
  fillWords(out: Uint32Array, stream: number, sequence: number, step: number, firstElement = 0): void {
    checkCounter(stream, sequence, step, firstElement, out.length);
    fill("words", out, this.#key, stream, sequence, step, firstElement);
  }

  /**
   * A random order of 0 .. n - 1 (Fisher-Yates). Every draw uses 53 bits, so that the bias of the scaling is below n / 2^53.
   *
   * @param step default 0
   * @returns uint32 [n]
   */
  permutation(n: number, stream: number, sequence: number, step = 0): Uint32Array {
    if (!Number.isInteger(n) || n < 0 || n >= WORD)
      throw new RangeError(`permutation: expected a length from 0 to 2^32 - 1, got ${n}`);
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    const words = new Uint32Array(2 * n);
    this.fillWords(words, stream, sequence, step);
    for (let i = n - 1; i > 0; i--) {
      const fraction = ((words[2 * i] >>> 5) * 2 ** 26 + (words[2 * i + 1] >>> 6)) * 2 ** -53;
      const j = Math.floor(fraction * (i + 1));
      const swapped = order[i];
      order[i] = order[j];
      order[j] = swapped;
    }
    return order;
  }
}

function checkCounter(stream: number, sequence: number, step: number, first: number, count: number): void {
  // `>>> 0` leaves exactly the unsigned 32-bit integers alone: one comparison each on the hot path.
  if (stream >>> 0 !== stream || sequence >>> 0 !== sequence || step >>> 0 !== step)
    throw new RangeError(
      `random numbers: expected stream, sequence and step to be integers from 0 to 2^32 - 1, got ${stream}, ${sequence}, ${step}`,
    );
  if (!Number.isInteger(first) || first < 0 || first + count > ELEMENTS)
    throw new RangeError(
      `random numbers: expected elements in [0, 2^34), got ${count} from ${first} on; use another step or sequence for more`,
    );
}
