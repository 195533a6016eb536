/**
 * @file The network's inputs that say how noisy every position is. Training and sampling share them:
 *
 *     z = m + signal (x - m) + sigma eps      given: signal 1, sigma 0;  absorbed: 0, 0;  else a_t, sigma_t
 *
 * channel = a_t / sigma_t^2 where there is a noisy code to decode, 0 where given or absorbed.
 */
import type { TensorData } from "../graph/index.js";
import { BatchBuffers } from "./buffers.js";
import type { NoiseLevel } from "./process.js";

/** time [B]; the others [B * N]. */
export interface LevelInputs {
  readonly time: Float32Array;
  readonly absorbed: Float32Array;
  readonly signal: Float32Array;
  readonly sigma: Float32Array;
  readonly channel: Float32Array;
}

/** Arrays for B rows of N positions, all zero. */
export function allocateLevels(batch: number, length: number, buffers = new BatchBuffers()): LevelInputs {
  return {
    time: buffers.float32("time", batch),
    absorbed: buffers.float32("absorbed", batch * length),
    signal: buffers.float32("signal", batch * length),
    sigma: buffers.float32("sigma", batch * length),
    channel: buffers.float32("channel", batch * length),
  };
}

/**
 * Writes row `b` at a noise level.
 * @param target [N] 1: noised, 0: given (or padding) @param absorbed [N] 1: in the absorbing state; read on targets only
 */
export function setLevel(
  inputs: LevelInputs,
  b: number,
  level: NoiseLevel,
  target: Uint8Array,
  absorbed: Uint8Array,
): void {
  const length = target.length;
  inputs.time[b] = level.time;
  for (let p = 0; p < length; p++) {
    const at = b * length + p;
    const gone = target[p] === 1 && absorbed[p] === 1;
    const noisy = target[p] === 1 && !gone;
    inputs.absorbed[at] = gone ? 1 : 0;
    inputs.signal[at] = noisy ? level.signal : gone ? 0 : 1;
    inputs.sigma[at] = noisy ? level.sigma : 0;
    inputs.channel[at] = noisy ? level.channel : 0;
  }
}

/** As inputs of a graph: time float32 [B], the others float32 [B, N]. */
export function levelTensors(inputs: LevelInputs): Record<string, TensorData> {
  const batch = inputs.time.length;
  const shape = [batch, inputs.signal.length / batch];
  const { time, ...perPosition } = inputs;
  const tensors: Record<string, TensorData> = { time: { dtype: "float32", shape: [batch], data: time } };
  for (const [name, data] of Object.entries(perPosition)) tensors[name] = { dtype: "float32", shape, data };
  return tensors;
}
