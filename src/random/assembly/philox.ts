/**
 * @file Philox4x32-10 and Box-Muller, four counters at a time (AssemblyScript, WebAssembly SIMD).
 *
 * The slow form is ../philox.ts and ../distributions.ts: the integers are the same to the bit, the normals agree within 1e-6.
 * Every function fills `groups` groups of 16 consecutive elements: element e of a group is word e % 4 of counter e / 4.
 */

const M0: i32 = 0xd2511f53;
const M1: i32 = 0xcd9e8d57;
const W0: u32 = 0x9e3779b9;
const W1: u32 = 0xbb67ae85;

// The four words of the four counters last drawn: w0 holds word 0 of counters c, c + 1, c + 2, c + 3.
let w0: v128 = i32x4.splat(0);
let w1: v128 = i32x4.splat(0);
let w2: v128 = i32x4.splat(0);
let w3: v128 = i32x4.splat(0);

// @ts-ignore: decorator
@inline
function low(even: v128, odd: v128): v128 {
  return v128.shuffle<u32>(even, odd, 0, 2, 4, 6);
}

// @ts-ignore: decorator
@inline
function high(even: v128, odd: v128): v128 {
  return v128.shuffle<u32>(even, odd, 1, 3, 5, 7);
}

// @ts-ignore: decorator
@inline
function draw(c0: v128, c1: v128, c2: v128, c3: v128, key0: u32, key1: u32): void {
  const m0 = i32x4.splat(M0);
  const m1 = i32x4.splat(M1);
  for (let round = 0; round < 10; round++) {
    const a = i64x2.extmul_low_i32x4_u(c0, m0);
    const b = i64x2.extmul_high_i32x4_u(c0, m0);
    const c = i64x2.extmul_low_i32x4_u(c2, m1);
    const d = i64x2.extmul_high_i32x4_u(c2, m1);
    c0 = v128.xor(v128.xor(high(c, d), c1), i32x4.splat(key0));
    c2 = v128.xor(v128.xor(high(a, b), c3), i32x4.splat(key1));
    c1 = low(c, d);
    c3 = low(a, b);
    key0 += W0;
    key1 += W1;
  }
  w0 = c0;
  w1 = c1;
  w2 = c2;
  w3 = c3;
}

/** Stores four vectors (word-major) as 16 consecutive elements (counter-major). */
// @ts-ignore: decorator
@inline
function storeTransposed(out: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab01 = v128.shuffle<u32>(a, b, 0, 4, 1, 5);
  const ab23 = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
  const cd01 = v128.shuffle<u32>(c, d, 0, 4, 1, 5);
  const cd23 = v128.shuffle<u32>(c, d, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<u64>(ab01, cd01, 0, 2));
  v128.store(out, v128.shuffle<u64>(ab01, cd01, 1, 3), 16);
  v128.store(out, v128.shuffle<u64>(ab23, cd23, 0, 2), 32);
  v128.store(out, v128.shuffle<u64>(ab23, cd23, 1, 3), 48);
}

// @ts-ignore: decorator
@inline
function firstCounters(counter: u32): v128 {
  return i32x4.add(i32x4.splat(counter), i32x4(0, 1, 2, 3));
}

/** Raw 32-bit words. out: uint32 [16 groups]. */
export function words(out: usize, groups: u32, counter: u32, step: u32, sequence: u32, stream: u32, key0: u32, key1: u32): void {
  let c0 = firstCounters(counter);
  const c1 = i32x4.splat(step);
  const c2 = i32x4.splat(sequence);
  const c3 = i32x4.splat(stream);
  const four = i32x4.splat(4);
  for (let g: u32 = 0; g < groups; g++) {
    draw(c0, c1, c2, c3, key0, key1);
    storeTransposed(out, w0, w1, w2, w3);
    c0 = i32x4.add(c0, four);
    out += 64;
  }
}

// @ts-ignore: decorator
@inline
function unit(word: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_u(i32x4.shr_u(word, 8)), f32x4.splat(5.9604644775390625e-8)); // 2^-24
}

/** Uniform numbers in [0, 1) on a grid of 2^-24. out: float32 [16 groups]. */
export function uniforms(out: usize, groups: u32, counter: u32, step: u32, sequence: u32, stream: u32, key0: u32, key1: u32): void {
  let c0 = firstCounters(counter);
  const c1 = i32x4.splat(step);
  const c2 = i32x4.splat(sequence);
  const c3 = i32x4.splat(stream);
  const four = i32x4.splat(4);
  for (let g: u32 = 0; g < groups; g++) {
    draw(c0, c1, c2, c3, key0, key1);
    storeTransposed(out, unit(w0), unit(w1), unit(w2), unit(w3));
    c0 = i32x4.add(c0, four);
    out += 64;
  }
}

/**
 * sqrt(-2 ln u) with u = (word + 0.5) / 2^32.
 * u = m 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(s), s = (m - 1) / (m + 1), by its Taylor series: |s| < 0.172.
 */
// @ts-ignore: decorator
@inline
function radius(word: v128): v128 {
  const one = f32x4.splat(1);
  const u = f32x4.add(f32x4.convert_i32x4_u(word), f32x4.splat(0.5));
  // Adding the distance from sqrt(1/2) to 1 moves the cut between exponents to sqrt(1/2).
  const shifted = i32x4.add(u, i32x4.splat(0x3f800000 - 0x3f3504f3));
  const exponent = f32x4.convert_i32x4_s(i32x4.sub(i32x4.shr_s(shifted, 23), i32x4.splat(127 + 32)));
  const m = i32x4.add(v128.and(shifted, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3));
  const s = f32x4.div(f32x4.sub(m, one), f32x4.add(m, one));
  const q = f32x4.mul(s, s);
  let series = f32x4.splat(<f32>(1.0 / 9.0));
  series = f32x4.add(f32x4.mul(series, q), f32x4.splat(<f32>(1.0 / 7.0)));
  series = f32x4.add(f32x4.mul(series, q), f32x4.splat(<f32>(1.0 / 5.0)));
  series = f32x4.add(f32x4.mul(series, q), f32x4.splat(<f32>(1.0 / 3.0)));
  series = f32x4.add(f32x4.mul(f32x4.mul(series, q), s), s);
  // -2 ln u = e (-2 ln 2) - 4 (s + s^3 / 3 + ...); never below 0, whatever the rounding.
  const ln = f32x4.sub(f32x4.mul(exponent, f32x4.splat(-1.3862943611198906)), f32x4.mul(series, f32x4.splat(4)));
  return f32x4.sqrt(f32x4.max(ln, f32x4.splat(0)));
}

let cosine: v128 = f32x4.splat(0);
let sine: v128 = f32x4.splat(0);

/**
 * Cosine and sine of 2 pi word / 2^32. The quadrant comes from the integer, so nothing is lost to a large argument; the rest lies
 * in [-pi/4, pi/4], where Taylor to x^9 and x^8 is exact to float32.
 */
// @ts-ignore: decorator
@inline
function angle(word: v128): void {
  const quadrant = i32x4.shr_u(i32x4.add(word, i32x4.splat(0x20000000)), 30);
  const rest = i32x4.sub(word, i32x4.shl(quadrant, 30));
  const x = f32x4.mul(f32x4.convert_i32x4_s(rest), f32x4.splat(1.4629180792671596e-9)); // 2 pi / 2^32
  const q = f32x4.mul(x, x);
  let sin = f32x4.splat(<f32>(1.0 / 362880.0));
  sin = f32x4.add(f32x4.mul(sin, q), f32x4.splat(<f32>(-1.0 / 5040.0)));
  sin = f32x4.add(f32x4.mul(sin, q), f32x4.splat(<f32>(1.0 / 120.0)));
  sin = f32x4.add(f32x4.mul(sin, q), f32x4.splat(<f32>(-1.0 / 6.0)));
  sin = f32x4.add(f32x4.mul(f32x4.mul(sin, q), x), x);
  let cos = f32x4.splat(<f32>(1.0 / 40320.0));
  cos = f32x4.add(f32x4.mul(cos, q), f32x4.splat(<f32>(-1.0 / 720.0)));
  cos = f32x4.add(f32x4.mul(cos, q), f32x4.splat(<f32>(1.0 / 24.0)));
  cos = f32x4.add(f32x4.mul(cos, q), f32x4.splat(-0.5));
  cos = f32x4.add(f32x4.mul(cos, q), f32x4.splat(1));
  // Odd quadrants swap the two; cosine is negative in quadrants 1 and 2, sine in 2 and 3: the sign is a bit of an integer.
  const odd = i32x4.eq(v128.and(quadrant, i32x4.splat(1)), i32x4.splat(1));
  const cosSign = i32x4.shl(v128.and(i32x4.add(quadrant, i32x4.splat(1)), i32x4.splat(2)), 30);
  const sinSign = i32x4.shl(v128.and(quadrant, i32x4.splat(2)), 30);
  cosine = v128.xor(v128.bitselect(sin, cos, odd), cosSign);
  sine = v128.xor(v128.bitselect(cos, sin, odd), sinSign);
}

/** Standard normal numbers, (r cos, r sin) of words (0, 1) and (2, 3). out: float32 [16 groups]. */
export function normals(out: usize, groups: u32, counter: u32, step: u32, sequence: u32, stream: u32, key0: u32, key1: u32): void {
  let c0 = firstCounters(counter);
  const c1 = i32x4.splat(step);
  const c2 = i32x4.splat(sequence);
  const c3 = i32x4.splat(stream);
  const four = i32x4.splat(4);
  for (let g: u32 = 0; g < groups; g++) {
    draw(c0, c1, c2, c3, key0, key1);
    const first = radius(w0);
    angle(w1);
    const n0 = f32x4.mul(first, cosine);
    const n1 = f32x4.mul(first, sine);
    const second = radius(w2);
    angle(w3);
    storeTransposed(out, n0, n1, f32x4.mul(second, cosine), f32x4.mul(second, sine));
    c0 = i32x4.add(c0, four);
    out += 64;
  }
}
