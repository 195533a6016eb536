/**
 * @file What the machine that runs a program can do, as far as lowering has to know. A composite that has a better form for one of them
 * asks the target; everything else is the same everywhere.
 */

export interface Target {
  /** Tensors whose size is known at run time only and may be zero. Without it groups of rows are padded to blocks. */
  readonly dynamicShapes: boolean;
  /** Products of batches of matrices that are read transposed (`FusedMatMul`). Without it they are transposed first. */
  readonly transposedProducts: boolean;
  /** Parameters and gradients are moved one by one, at no cost to speak of. Without it they are joined (packs.ts). */
  readonly cheapTransfers: boolean;
}

/** ONNX Runtime on the processor. */
export const cpuTarget: Target = { dynamicShapes: true, transposedProducts: true, cheapTransfers: true };

/**
 * ONNX Runtime on a graphics card through WebGPU. An empty tensor fails there (in a run, or by ending the process), and `FusedMatMul`
 * has no kernel: its operands would cross to the processor and back.
 */
export const webgpuTarget: Target = {
  dynamicShapes: false,
  transposedProducts: false,
  cheapTransfers: false,
};
