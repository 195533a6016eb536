/** @file The kernels in WebAssembly SIMD, bound to one memory. Arrays are views of that memory; their byte offset is the pointer. */

import base64 from "./kernels.generated.js";
import type { VectorKernels } from "./kernels.js";

interface Exports {
  adamw(
    value: number,
    gradient: number,
    moment1: number,
    moment2: number,
    n: number,
    gradientScale: number,
    beta1: number,
    rest1: number,
    beta2: number,
    rest2: number,
    keep: number,
    rate: number,
    rootScale: number,
    epsilon: number,
  ): void;
  sumOfSquares(x: number, n: number): number;
  ema(average: number, value: number, n: number, rate: number): void;
  addScaled(target: number, source: number, n: number, scale: number): void;
  fill(target: number, n: number, x: number): void;
}

let compiled: WebAssembly.Module | undefined;

function instantiate(memory: WebAssembly.Memory): Exports {
  compiled ??= new WebAssembly.Module(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
  return new WebAssembly.Instance(compiled, { env: { memory } }).exports as unknown as Exports;
}

/**
 * The kernels over `memory`, which must not grow afterwards: growing detaches every view.
 *
 * @param scratch float32 [any], a view of `memory`: where `addScaled` stages sources from elsewhere. Small enough to stay in cache.
 */
export function wasmKernels(memory: WebAssembly.Memory, scratch: Float32Array): VectorKernels {
  const kernels = instantiate(memory);
  const { buffer } = memory;
  /** Byte offset of a view of the memory with the length the other arguments have. */
  const pointer = (view: Float32Array, n: number): number => {
    if (view.buffer !== buffer || view.length !== n)
      throw new Error(
        `kernel: expected a view of ${n} floats in the kernels' memory, got ${view.length} floats` +
          (view.buffer === buffer ? "" : " elsewhere"),
      );
    return view.byteOffset;
  };
  return {
    adamw(value, gradient, moment1, moment2, c) {
      const n = value.length;
      kernels.adamw(
        pointer(value, n),
        pointer(gradient, n),
        pointer(moment1, n),
        pointer(moment2, n),
        n,
        c.gradientScale,
        c.beta1,
        1 - c.beta1,
        c.beta2,
        1 - c.beta2,
        c.keep,
        c.rate,
        c.rootScale,
        c.epsilon,
      );
    },
    sumOfSquares: (x) => kernels.sumOfSquares(pointer(x, x.length), x.length),
    ema: (average, value, decay) =>
      kernels.ema(pointer(average, value.length), pointer(value, value.length), value.length, 1 - decay),
    addScaled(target, source, scale) {
      if (source.length !== target.length)
        throw new Error(`addScaled: expected ${target.length} floats to add, got ${source.length}`);
      const address = pointer(target, target.length);
      if (source.buffer === buffer) {
        kernels.addScaled(address, source.byteOffset, source.length, scale);
        return;
      }
      for (let done = 0; done < source.length; done += scratch.length) {
        const part = source.subarray(done, done + scratch.length);
        scratch.set(part);
        kernels.addScaled(address + 4 * done, scratch.byteOffset, part.length, scale);
      }
    },
    fill: (target, x) => kernels.fill(pointer(target, target.length), target.length, x),
  };
}
