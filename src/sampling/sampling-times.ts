/**
 * @file At which noise levels the sampler stops, and how fast it releases absorbed positions between them.
 *
 *     W(t) = r (g(t) - g(0)) / (g(1) - g(0)) + (1 - r) t,      W(t_k) = 1 - k / S,      r = g(1): share absorbed at the start
 *
 * Every step does an equal share of the work: it releases equally many positions and, where nothing is absorbed, goes equally far in t.
 * With steps even in t alone, the sqrt schedule would leave a third of the absorbed positions to the last of 64 steps.
 */
import { DiffusionProcess } from "../diffusion/process.js";

/**
 * The process as a sampler runs it backwards. The sqrt schedule leaves a share g(0) > 0 absorbed even in clean text; a sampler has to
 * write these positions too, and releases them along with the others: P(released) = (g(t) - g(s)) / (g(t) - g(0)).
 */
export class SamplingProcess extends DiffusionProcess {
  override releaseProbability(s: number, t: number): number {
    const [from, to, rest] = [this.absorbed(t), this.absorbed(s), this.absorbed(0)];
    return from > rest ? (from - to) / (from - rest) : Number(from > 0);
  }
}

/** S + 1 times from 1 down to 0: the network runs at all of them but the last. */
export function samplingTimes(process: DiffusionProcess, steps: number): Float64Array {
  const share = process.absorbed(1);
  const rest = process.absorbed(0);
  const work = (t: number) =>
    (share > rest ? (share * (process.absorbed(t) - rest)) / (share - rest) : 0) + (1 - share) * t;
  return Float64Array.from({ length: steps + 1 }, (_, k) => {
    if (k === 0) return 1;
    if (k === steps) return 0;
    const goal = 1 - k / steps;
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (work(middle) < goal) low = middle;
      else high = middle;
    }
    return high;
  });
}
