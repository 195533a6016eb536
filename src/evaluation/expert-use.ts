/**
 * @file How the experts are used at each noise level: their loads, those that hardly ever work, and how sure the router is.
 */
import type { TensorData } from "../graph/index.js";

/** An expert with less than this share of an even load counts as dead. */
export const DEAD_LOAD = 0.01;

/** One layer at one noise level. Plain JSON. */
export interface LayerUse {
  /** Tokens of each expert over an even share: 1 is even. [experts] */
  readonly load: readonly number[];
  /** Share of the experts that are dead. */
  readonly dead: number;
  /** Mean entropy of the router's probabilities in nats; log(experts): it has no preference. */
  readonly entropy: number;
}

/** Plain JSON. */
export interface ExpertUse {
  readonly numExperts: number;
  /** t of each level. */
  readonly times: readonly number[];
  /** [layer][level] */
  readonly layers: readonly (readonly LayerUse[])[];
  /** Loads over all levels together, [layer][expert]. */
  readonly load: readonly (readonly number[])[];
  /** Share of the experts that are dead at every level of their layer. */
  readonly dead: number;
}

const total = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
const relative = (counts: Float64Array): number[] => {
  const even = total(counts) / counts.length;
  return Array.from(counts, (count) => (even === 0 ? 0 : count / even));
};
const deadShare = (loads: readonly number[]): number =>
  loads.filter((load) => load < DEAD_LOAD).length / loads.length;

/** Adds up what the batches of each level report. */
export class ExpertUseCounter {
  private readonly levels = new Map<number, { counts: Float64Array[]; entropy: number[]; rows: number }>();

  /** @param outputs those of `evaluationModule` for the first `rows` rows of a batch, others being padding; at level `time` */
  add(time: number, rows: number, outputs: Readonly<Record<string, TensorData>>): void {
    const { expertCounts, routerEntropy } = outputs;
    if (!expertCounts) return;
    const [layers, batch, experts] = expertCounts.shape;
    const level = this.levels.get(time) ?? {
      counts: Array.from({ length: layers }, () => new Float64Array(experts)),
      entropy: new Array<number>(layers).fill(0),
      rows: 0,
    };
    this.levels.set(time, level);
    level.rows += rows;
    for (let layer = 0; layer < layers; layer++)
      for (let b = 0; b < rows; b++) {
        const at = layer * batch + b;
        level.entropy[layer] += Number(routerEntropy.data[at]);
        for (let e = 0; e < experts; e++)
          level.counts[layer][e] += Number(expertCounts.data[at * experts + e]);
      }
  }

  /** @returns null without experts */
  result(): ExpertUse | null {
    const levels = [...this.levels.values()];
    if (levels.length === 0) return null;
    const numLayers = levels[0].counts.length;
    const numExperts = levels[0].counts[0].length;
    const layers = Array.from({ length: numLayers }, (_, layer) =>
      levels.map(({ counts, entropy, rows }): LayerUse => {
        const load = relative(counts[layer]);
        return { load, dead: deadShare(load), entropy: entropy[layer] / rows };
      }),
    );
    const load = Array.from({ length: numLayers }, (_, layer) => {
      const sum = new Float64Array(numExperts);
      for (const { counts } of levels) for (let e = 0; e < numExperts; e++) sum[e] += counts[layer][e];
      return relative(sum);
    });
    return {
      numExperts,
      times: [...this.levels.keys()],
      layers,
      load,
      dead: total(load.map(deadShare)) / numLayers,
    };
  }
}
