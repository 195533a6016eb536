/**
 * @file Noise levels for rows that are noised several times:
 *
 *     t_k = minTime + (1 - minTime) frac(u + k / draws),   k = 0 .. draws - 1,   u: where a time sampler puts the row
 *
 * They stand at equal distances over [minTime, 1], so that every row sees easy and hard levels alike. Moving a level round does not
 * change how likely it is, so all draws of a row have the weight of the sampler's own.
 */
import type { TimeSampler } from "./time-sampler.js";

/** The levels of one draw of several. Draw 0 is the sampler's own. */
export function levelsOfDraw(
  sampler: TimeSampler,
  minTime: number,
  draw: number,
  draws: number,
): TimeSampler {
  if (draw === 0) return sampler;
  return {
    ...memoryless,
    draw: (sequence) => {
      const { time, weight } = sampler.draw(sequence);
      const first = (time - minTime) / (1 - minTime);
      const fraction = (first + draw / draws) % 1;
      return { time: minTime + (1 - minTime) * Math.max(fraction, 2 ** -33), weight };
    },
  };
}

const memoryless = { observe: () => {}, state: () => null, restore: () => {} };
