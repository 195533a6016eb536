/**
 * @file The loops over parameter memory that no graph is needed for: optimiser, averages, norms.
 *
 * Two forms: reference.ts (plain TypeScript, the oracle) and wasm.ts (SIMD). They round alike, so their results are equal to the bit.
 */

/** Constants of one AdamW step; see `coefficientsOf` in ../adamw.ts. */
export interface AdamWCoefficients {
  /** Factor on the gradient: the clipping. */
  readonly gradientScale: number;
  readonly beta1: number;
  readonly beta2: number;
  /** 1 - learningRate * weightDecay. */
  readonly keep: number;
  /** learningRate / (1 - beta1^step). */
  readonly rate: number;
  /** 1 / sqrt(1 - beta2^step). */
  readonly rootScale: number;
  readonly epsilon: number;
}

/** All arrays are float32 [n], of one length within a call. */
export interface VectorKernels {
  /**
   * g = gradientScale * gradient;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
   * value = keep * value - rate * m / (rootScale * sqrt(v) + epsilon)
   */
  adamw(
    value: Float32Array,
    gradient: Float32Array,
    moment1: Float32Array,
    moment2: Float32Array,
    coefficients: AdamWCoefficients,
  ): void;
  /** Sum of x^2 in float64, always added in the same order. */
  sumOfSquares(x: Float32Array): number;
  /** average += (1 - decay) * (value - average) */
  ema(average: Float32Array, value: Float32Array, decay: number): void;
  /** target += scale * source; `source` may lie in any memory. */
  addScaled(target: Float32Array, source: Float32Array, scale: number): void;
  /** target = x */
  fill(target: Float32Array, x: number): void;
}
