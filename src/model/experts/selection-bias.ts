/**
 * @file Loss-free load balancing, on the host: after every step the bias of an overloaded expert falls and that of an idle one rises,
 *
 *     bias_e <- bias_e + rate * sign(mean load - load_e)
 *
 * The bias enters the selection only, never a gate, so it bends no gradient. Source: arXiv 2408.15664.
 */

/**
 * The bias after one step.
 * @param bias [E] the present bias
 * @param loads [E] tokens each expert received in the step (any unit; summed over layers' micro-batches and ranks by the caller)
 * @param rate how far an entry moves, in logits (0.02 in the first calibration)
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
  return Float32Array.from(bias, (value, e) => value + rate * Math.sign(mean - loads[e]));
}
