/** @file The compiled form of assembly/philox.ts: fills arrays of any length, from any element on, through a small buffer. */
import base64 from "./kernels.generated.js";

type Fill = (
  out: number,
  groups: number,
  counter: number,
  step: number,
  sequence: number,
  stream: number,
  key0: number,
  key1: number,
) => void;
interface Exports {
  words: Fill;
  uniforms: Fill;
  normals: Fill;
}
/** Raw words, uniform numbers or normal numbers. */
export type Distribution = keyof Exports;

const GROUP = 16; // elements one pass of the SIMD loop makes
const BUFFER = 16384; // elements: 64 KiB, one page
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
const kernels = instance.exports as unknown as Exports;
const floats = new Float32Array(memory.buffer);
const integers = new Uint32Array(memory.buffer);

/**
 * out[i] becomes element `first + i` of (key, stream, sequence, step); element e is word e mod 4 of counter floor(e / 4).
 *
 * @param out uint32 [n] for "words", float32 [n] otherwise
 */
export function fill(
  distribution: Distribution,
  out: Float32Array | Uint32Array,
  [key0, key1]: readonly [number, number],
  stream: number,
  sequence: number,
  step: number,
  first: number,
): void {
  const run = kernels[distribution];
  const source = distribution === "words" ? integers : floats;
  for (let done = 0; done < out.length; ) {
    const element = first + done;
    const skip = element % 4; // the buffer begins at a whole counter
    const count = Math.min(out.length - done, BUFFER - skip);
    run(0, Math.ceil((skip + count) / GROUP), Math.floor(element / 4), step, sequence, stream, key0, key1);
    out.set(source.subarray(skip, skip + count), done);
    done += count;
  }
}
