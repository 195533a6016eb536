/** @file Loops over float32 vectors [n]: fill, scaled addition, exponential average, sum of squares. */

/** target = x */
export function fill(target: usize, n: u32, x: f32): void {
  const xs = f32x4.splat(x);
  const bytes: usize = (<usize>n) << 2;
  const whole: usize = bytes & ~15;
  let i: usize = 0;
  for (; i < whole; i += 16) v128.store(target + i, xs);
  for (; i < bytes; i += 4) store<f32>(target + i, x);
}

/** target += scale * source */
export function addScaled(target: usize, source: usize, n: u32, scale: f32): void {
  const scales = f32x4.splat(scale);
  const bytes: usize = (<usize>n) << 2;
  const whole: usize = bytes & ~15;
  let i: usize = 0;
  for (; i < whole; i += 16)
    v128.store(target + i, f32x4.add(v128.load(target + i), f32x4.mul(v128.load(source + i), scales)));
  for (; i < bytes; i += 4) store<f32>(target + i, load<f32>(target + i) + load<f32>(source + i) * scale);
}

/** average += rate * (value - average) */
export function ema(average: usize, value: usize, n: u32, rate: f32): void {
  const rates = f32x4.splat(rate);
  const bytes: usize = (<usize>n) << 2;
  const whole: usize = bytes & ~15;
  let i: usize = 0;
  for (; i < whole; i += 16) {
    const old = v128.load(average + i);
    v128.store(average + i, f32x4.add(old, f32x4.mul(f32x4.sub(v128.load(value + i), old), rates)));
  }
  for (; i < bytes; i += 4) {
    const old = load<f32>(average + i);
    store<f32>(average + i, old + (load<f32>(value + i) - old) * rate);
  }
}

/**
 * Sum of x^2 in float64. Four running sums (elements 0, 4, 8 ..., 1, 5, 9 ... and so on), joined as (s0 + s2) + (s1 + s3),
 * then the tail: always the same order, hence always the same bits.
 */
export function sumOfSquares(x: usize, n: u32): f64 {
  const bytes: usize = (<usize>n) << 2;
  const whole: usize = bytes & ~15;
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  let i: usize = 0;
  for (; i < whole; i += 16) {
    const v = v128.load(x + i);
    const a = f64x2.promote_low_f32x4(v);
    const b = f64x2.promote_low_f32x4(v128.shuffle<u32>(v, v, 2, 3, 2, 3));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  const pairs = f64x2.add(low, high);
  let sum = f64x2.extract_lane(pairs, 0) + f64x2.extract_lane(pairs, 1);
  for (; i < bytes; i += 4) {
    const v = <f64>load<f32>(x + i);
    sum += v * v;
  }
  return sum;
}
