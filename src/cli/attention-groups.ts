/** @file A model's attention as the report room draws it: one mask for each group of heads that share a pattern. */
import type { RunConfig } from "../config/index.js";
import { denseMask, type HeadPattern, layerPattern, type RowLayout } from "../model/attention/pattern.js";
import type { AttentionHeads, AttentionPattern } from "../report/data.js";

/** Longer sequences are drawn at this length: a mask has its square of entries. */
const MAX_DRAWN = 2048;

/** "layer 3" or "layers 0-2", from the first of `numbers` to the last: counted from 0, as the configuration counts them. */
export function range(name: string, numbers: readonly number[]): string {
  const [first, last] = [numbers[0], numbers[numbers.length - 1]];
  return first === last ? `${name} ${first}` : `${name}s ${first}-${last}`;
}

/** Neighbours that `same` holds for, together: [first, ..., last] of each run. */
export function runs<T>(items: readonly T[], same: (a: T, b: T) => boolean): number[][] {
  const found: number[][] = [];
  items.forEach((item, index) => {
    if (index > 0 && same(items[index - 1], item)) found[found.length - 1].push(index);
    else found.push([index]);
  });
  return found;
}

/** What a document of the training length sees: learned globals first, no text globals. */
export function attentionGroups({ model, training }: RunConfig): AttentionPattern {
  const length = Math.min(training.sequenceLength, MAX_DRAWN);
  const row: RowLayout = {
    segment: new Uint8Array(length),
    isGlobal: Uint8Array.from({ length }, (_, position) => Number(position < model.attention.globalTokens)),
  };
  const layers = Array.from({ length: model.numLayers }, (_, layer) =>
    layerPattern(model.attention, layer, model.numHeads),
  );
  const equal = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const groups = runs(layers, equal).flatMap((layerRun) => {
    const { heads } = layers[layerRun[0]];
    const layerLabel = layerRun.length === layers.length ? "every layer" : range("layer", layerRun);
    return runs<HeadPattern>(heads, equal).map((headRun): AttentionHeads => {
      const head = heads[headRun[0]];
      const label = headRun.length === heads.length ? layerLabel : `${layerLabel}, ${range("head", headRun)}`;
      return { label, ...head, mask: denseMask(head, row) };
    });
  });
  return { length, isGlobal: row.isGlobal, groups };
}
