/**
 * @file AdamW with decoupled weight decay, four elements at a time.
 *
 *     g = gradientScale * gradient
 *     m = beta1 m + (1 - beta1) g
 *     v = beta2 v + (1 - beta2) g^2
 *     value = keep * value - rate * m / (rootScale * sqrt(v) + epsilon)
 *
 * All arrays are float32 [n]. Lanes and tail do the same operations in the same order, so an element's result does not depend on
 * where it lies.
 */
export function adamw(
  value: usize,
  gradient: usize,
  moment1: usize,
  moment2: usize,
  n: u32,
  gradientScale: f32,
  beta1: f32,
  rest1: f32,
  beta2: f32,
  rest2: f32,
  keep: f32,
  rate: f32,
  rootScale: f32,
  epsilon: f32,
): void {
  const gradientScales = f32x4.splat(gradientScale);
  const betas1 = f32x4.splat(beta1);
  const rests1 = f32x4.splat(rest1);
  const betas2 = f32x4.splat(beta2);
  const rests2 = f32x4.splat(rest2);
  const keeps = f32x4.splat(keep);
  const rates = f32x4.splat(rate);
  const rootScales = f32x4.splat(rootScale);
  const epsilons = f32x4.splat(epsilon);
  const bytes: usize = (<usize>n) << 2;
  const whole: usize = bytes & ~15;
  let i: usize = 0;
  for (; i < whole; i += 16) {
    const g = f32x4.mul(v128.load(gradient + i), gradientScales);
    const m = f32x4.add(f32x4.mul(v128.load(moment1 + i), betas1), f32x4.mul(g, rests1));
    const v = f32x4.add(f32x4.mul(v128.load(moment2 + i), betas2), f32x4.mul(f32x4.mul(g, g), rests2));
    const update = f32x4.div(f32x4.mul(rates, m), f32x4.add(f32x4.mul(f32x4.sqrt(v), rootScales), epsilons));
    v128.store(moment1 + i, m);
    v128.store(moment2 + i, v);
    v128.store(value + i, f32x4.sub(f32x4.mul(v128.load(value + i), keeps), update));
  }
  for (; i < bytes; i += 4) {
    const g = load<f32>(gradient + i) * gradientScale;
    const m = load<f32>(moment1 + i) * beta1 + g * rest1;
    const v = load<f32>(moment2 + i) * beta2 + g * g * rest2;
    store<f32>(moment1 + i, m);
    store<f32>(moment2 + i, v);
    store<f32>(value + i, load<f32>(value + i) * keep - (rate * m) / (sqrt<f32>(v) * rootScale + epsilon));
  }
}
