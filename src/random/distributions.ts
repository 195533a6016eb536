/**
 * @file From random words to uniform and normal numbers, the slow form in float64. assembly/philox.ts is the fast one.
 *
 *     uniform(w)       = floor(w / 2^8) / 2^24                                in [0, 1)
 *     normals(w0, w1)  = r cos a, r sin a,  r = sqrt(-2 ln u), u = (w0 + 1/2) / 2^32, a = 2 pi w1 / 2^32      (Box-Muller)
 */

/** A float32 uniform number in [0, 1) from one 32-bit word; the low 8 bits are dropped because float32 could round them up to 1. */
export const uniformOf = (word: number): number => (word >>> 8) * 2 ** -24;

/**
 * Two independent standard normal numbers from two 32-bit words.
 *
 * u is rounded to float32 as the fast form does it: near u = 1 the radius depends on that rounding. |normal| is at most 6.77.
 */
export function normalsOf(word0: number, word1: number): [number, number] {
  const u = Math.fround(Math.fround(word0 >>> 0) + 0.5) * 2 ** -32;
  const radius = Math.sqrt(-2 * Math.log(u));
  const angle = 2 * Math.PI * (word1 >>> 0) * 2 ** -32;
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}
