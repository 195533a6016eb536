/**
 * @file Loss-free load balancing, on the host: after every step the bias of an overloaded expert falls and that of an idle one rises,
 *
 *     bias_e <- bias_e + rate * clip((mean load - load_e) / (mean load / 2), -1, 1)
 *
 * The bias enters the selection only, never a gate, so it bends no gradient. Source: arXiv 2408.15664, which takes the sign instead of
 * the clipped ratio: then biases never rest, and the loads of single steps stay less even.
 */

/**
 * The bias after one step.
 * @param bias [E] the present bias
 * @param loads [E] tokens each expert received in the step (any unit; summed over layers' micro-batches and ranks by the caller)
 * @param rate how far an entry moves at most, in logits
 * @returns the same bias when there was no load at all
 */
export function updatedSelectionBias(
  bias: ArrayLike<number>,
  loads: ArrayLike<number>,
  rate: number,
): Float32Array {
  if (bias.length !== loads.length)
    throw new Error(`selection bias: expected ${bias.length} loads, one an expert, got ${loads.length}`);
  let total = 0;
  for (let e = 0; e < loads.length; e++) total += loads[e];
  const mean = total / loads.length;
  if (mean === 0) return Float32Array.from(bias);
  const clip = (x: number) => Math.max(-1, Math.min(1, x));
  return Float32Array.from(bias, (value, e) => value + rate * clip((mean - loads[e]) / (FULL_RATE * mean)));
}

/** The error, as a share of the mean load, from which on a bias moves by the whole rate. */
const FULL_RATE = 0.5;
