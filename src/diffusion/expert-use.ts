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
export const deadShare = (loads: readonly number[]): number =>
  loads.filter((load) => load < DEAD_LOAD).length / loads.length;

/** The largest load of each expert over some levels. */
const largest = (levels: readonly (readonly number[])[]): number[] =>
  levels[0].map((_, expert) => Math.max(...levels.map((load) => load[expert])));

/** Adds up what the batches of each level report. */
export class ExpertUseCounter {
  private readonly levels = new Map<number, { counts: Float64Array[]; entropy: number[]; rows: number }>();

  /**
   * @param times the level of each row; rows of the batch behind these are padding
   * @param outputs those of `trainingModule` or `evaluationModule`
   */
  add(times: readonly number[], outputs: Readonly<Record<string, TensorData>>): void {
    const { expertCounts, routerEntropy } = outputs;
    if (!expertCounts) return;
    const [layers, batch, experts] = expertCounts.shape;
    for (const [b, time] of times.entries()) {
      const level = this.levels.get(time) ?? {
        counts: Array.from({ length: layers }, () => new Float64Array(experts)),
        entropy: new Array<number>(layers).fill(0),
        rows: 0,
      };
      this.levels.set(time, level);
      level.rows++;
      for (let layer = 0; layer < layers; layer++) {
        const at = layer * batch + b;
        level.entropy[layer] += Number(routerEntropy.data[at]);
        for (let e = 0; e < experts; e++)
          level.counts[layer][e] += Number(expertCounts.data[at * experts + e]);
      }
    }
  }

  /** All sums as one array, for processes that count together: a level after the other, in each rows, entropy [L], counts [L * E]. */
  sums(times: readonly number[], layers: number, experts: number): Float64Array {
    const perLevel = 1 + layers * (1 + experts);
    const sums = new Float64Array(times.length * perLevel);
    for (const [i, time] of times.entries()) {
      const level = this.levels.get(time);
      if (!level) continue;
      const start = i * perLevel;
      sums[start] = level.rows;
      sums.set(level.entropy, start + 1);
      for (let layer = 0; layer < layers; layer++)
        sums.set(level.counts[layer], start + 1 + layers + layer * experts);
    }
    return sums;
  }

  /** The counter of what `sums` gave, levels that no row had left out. */
  static ofSums(
    sums: ArrayLike<number>,
    times: readonly number[],
    layers: number,
    experts: number,
  ): ExpertUseCounter {
    const counter = new ExpertUseCounter();
    const list = Array.from(sums);
    const perLevel = 1 + layers * (1 + experts);
    for (const [i, time] of times.entries()) {
      const [rows, ...rest] = list.slice(i * perLevel, (i + 1) * perLevel);
      if (rows === 0) continue;
      const counts = Array.from({ length: layers }, (_, layer) =>
        Float64Array.from(rest.slice(layers + layer * experts, layers + (layer + 1) * experts)),
      );
      counter.levels.set(time, { counts, entropy: rest.slice(0, layers), rows });
    }
    return counter;
  }

  /** @returns null without experts */
  result(): ExpertUse | null {
    const times = [...this.levels.keys()].sort((a, b) => a - b);
    const levels = times.map((time) => this.levels.get(time)!);
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
      times,
      layers,
      load,
      dead: total(layers.map((own) => deadShare(largest(own.map((level) => level.load))))) / numLayers,
    };
  }
}
