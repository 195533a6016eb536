/** @file The runtime's kernels (AssemblyScript, WebAssembly SIMD). The slow form of each is in ../reference.ts. */
export { adamw } from "./adamw";
export { addScaled, ema, fill, sumOfSquares } from "./vectors";
