/**
 * @file Philox4x32-10: 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
 *
 * One round, with (hi, lo) the halves of a 32 x 32-bit product:
 *
 *     hi0, lo0 = M0 c0        hi1, lo1 = M1 c2
 *     c' = (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0)        k' = (k0 + W0, k1 + W1)
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11), checked against its known answers.
 * This is the slow form; assembly/philox.ts does four counters at a time.
 */

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** A counter (position, step, sequence, stream), each an unsigned 32-bit integer. */
export type PhiloxCounter = readonly [c0: number, c1: number, c2: number, c3: number];
/** A key (low, high), each an unsigned 32-bit integer. */
export type PhiloxKey = readonly [low: number, high: number];

/** Upper 32 bits of the product of two unsigned 32-bit integers, by 16-bit halves: no partial sum exceeds 2^53. */
function multiplyHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(((middle % 65536) + a0 * b1) / 65536)) >>> 0;
}

/**
 * Ten rounds of Philox4x32.
 *
 * @param counter four unsigned 32-bit words
 * @param key two unsigned 32-bit words
 * @param out receives the four words; a new array by default
 * @returns `out`, uint32 [4]
 */
export function philox4x32(counter: PhiloxCounter, key: PhiloxKey, out = new Uint32Array(4)): Uint32Array {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const next0 = multiplyHigh(M1, c2) ^ c1 ^ k0;
    const next2 = multiplyHigh(M0, c0) ^ c3 ^ k1;
    c1 = Math.imul(M1, c2);
    c3 = Math.imul(M0, c0);
    c0 = next0;
    c2 = next2;
    k0 = (k0 + W0) | 0;
    k1 = (k1 + W1) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
  return out;
}
