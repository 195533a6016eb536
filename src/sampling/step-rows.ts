/**
 * @file Which positions a step computes, where keys and values of every layer are kept on the device.
 *
 * Left to right (next-token models): all positions in the first step, then one a step. With causal attention a position's keys and values
 * depend on the tokens before it alone, so those in front of the token that is written are final, and what is kept is exact.
 *
 * Else with generation.cacheInterval n: every n-th step runs the network on all positions; the steps between compute
 *
 *     positions whose input has changed since,  and those whose prediction the step wants
 *
 * and see the others as they were. A settled token (given, or written before the last full run) and an absorbed position that is not
 * released now are not computed; in the Gaussian branch, a state that moves is. So the positions follow from the text's own state and the
 * number of the step: nothing depends on what is written beside it. The last prediction (model.selfConditioning), which every full run
 * changes at all positions, does not count as their input. After dKV-Cache (arXiv 2505.15781) and Fast-dLLM (2505.22618), which
 * keep settled tokens, or all outside a block; here a position is kept exactly as long as its own input stands still.
 */
import type { GenerationConfig, RunConfig } from "../config/index.js";
import { UserError } from "../errors.js";
import type { TensorData } from "../graph/index.js";
import type { ActiveShape, RowsName } from "../model/active-rows.js";
import { layerPattern } from "../model/attention/pattern.js";

/** Of a group of active rows: Q and P (see model/active-rows.ts). */
export type GroupShape = Pick<ActiveShape, "slots" | "span">;

/** Which keys and values are kept: those of the text so far, those of the last full run, none. */
export type Keeping = "text" | "interval" | "none";

/**
 * What a model's text is written with. A next-token model keeps its text, whatever is asked for.
 * @throws UserError for a cacheInterval with a model whose tokens cannot be computed by themselves
 */
export function chooseKeeping(
  { model: { experts }, diffusion }: Pick<RunConfig, "model" | "diffusion">,
  { cacheInterval }: Pick<GenerationConfig, "cacheInterval">,
): Keeping {
  const reason = whyTogether(experts);
  if (cacheInterval > 1 && reason)
    throw new UserError(
      `generation.cacheInterval: expected 1, got ${cacheInterval}; ${reason}: leave --cache-interval out`,
    );
  if (diffusion.objective === "next-token") return "text";
  return cacheInterval > 1 ? "interval" : "none";
}

/** Why tokens cannot be computed by themselves; null: they can. */
function whyTogether({ numExperts, router, capacityFactor }: RunConfig["model"]["experts"]): string | null {
  const others = "the experts of a token depend on which others are computed";
  if (numExperts <= 1) return null;
  if (router === "expert-choice") return `with router "expert-choice" ${others}`;
  return capacityFactor === null ? null : `with capacityFactor ${capacityFactor} ${others}`;
}

/** Positions that a group of drawn ones may take up. */
const DRAWN_SPAN = 256;
/** From this many steps on a draw takes so few rows that a last layer for them alone is less work than one for all. */
const DRAWN_FROM_STEPS = 8;

/**
 * How the positions that a step draws tokens at are grouped, where the last layer is computed for them alone: in the masked limit with
 * random release, which says beforehand where. Twice as many slots as a span will fill on average. null: it is computed for all.
 *
 * The settings decide, never the batch: a text does not depend on what is written beside it.
 */
export function drawnShape(
  { model, diffusion }: Pick<RunConfig, "model" | "diffusion">,
  { release, steps }: Pick<GenerationConfig, "release" | "steps">,
): GroupShape | null {
  const fits = !diffusion.gaussian && diffusion.objective === "denoising" && release === "random";
  if (!fits || model.selfConditioning || steps < DRAWN_FROM_STEPS || whyTogether(model.experts)) return null;
  return { slots: powerOfTwo((2 * DRAWN_SPAN) / steps, 8, 64), span: DRAWN_SPAN };
}

/** The next power of two, within bounds. */
const powerOfTwo = (x: number, least: number, most: number): number =>
  Math.max(least, Math.min(most, 2 ** Math.ceil(Math.log2(x))));

/**
 * Groups as long as a window, at most 64, whose span allows for the rows between them that are not active: none where all states move, as
 * many as active ones where some wait; none in given text that is passed from left to right. Tokens released at random are a few everywhere, n steps' share of the text at most: groups of half
 * the size, in a span that holds as many of them, at most eightfold.
 */
export function groupShape(
  { model, diffusion }: Pick<RunConfig, "model" | "diffusion">,
  { release, steps, cacheInterval }: Pick<GenerationConfig, "release" | "steps" | "cacheInterval">,
): GroupShape {
  const windows = Array.from({ length: model.numLayers }, (_, layer) =>
    layerPattern(model.attention, layer, model.numHeads).heads.map(({ full, window }) =>
      full ? 64 : window,
    ),
  ).flat();
  const slots = powerOfTwo(Math.max(...windows), 8, 64);
  if (diffusion.objective === "next-token") return { slots, span: slots };
  if (diffusion.gaussian) return { slots, span: diffusion.absorbRate > 0 ? 2 * slots : slots };
  if (release !== "random") return { slots, span: 2 * slots };
  return { slots: slots / 2, span: (slots / 2) * powerOfTwo(steps / cacheInterval, 1, 8) };
}

/** Which positions of one sample a step has to compute. */
export interface StepRows {
  /** Tells of a full run on what is there now. @param wanted as in `active` */
  seen(wanted: readonly number[]): void;
  /** The positions to compute, ascending. @param wanted positions whose prediction the step needs; "all": every target */
  active(wanted: readonly number[] | "all"): number[];
}

/** Left to right: the positions up to the one that is written, as far as they are not known. Only the input of those behind it changes. */
export class TextSoFar implements StepRows {
  /** Positions whose keys and values are final. */
  private known = 0;

  seen(wanted: readonly number[]): void {
    for (const p of wanted) this.known = Math.max(this.known, p + 1);
  }

  active(wanted: readonly number[]): number[] {
    const { known } = this;
    this.seen(wanted);
    return Array.from({ length: this.known - known }, (_, i) => known + i);
  }
}

/** What the network is given at the positions of one sample, and what it was given at the last full run. */
export class ChangedRows implements StepRows {
  private readonly ids: Int32Array;
  private readonly absorbed: Uint8Array;

  /** @param now tokens int32 [n] and flags uint8 [n], changed from outside @param moves whether states move at targets that are not absorbed */
  constructor(
    private readonly now: { readonly ids: Int32Array; readonly absorbed: Uint8Array },
    private readonly target: Uint8Array,
    private readonly moves: boolean,
  ) {
    this.ids = now.ids.slice();
    this.absorbed = now.absorbed.slice();
  }

  seen(): void {
    this.ids.set(this.now.ids);
    this.absorbed.set(this.now.absorbed);
  }

  active(wanted: readonly number[] | "all"): number[] {
    const { ids, absorbed } = this.now;
    const marked = new Uint8Array(this.target.length);
    if (wanted !== "all") for (const p of wanted) marked[p] = 1;
    const positions: number[] = [];
    for (let p = 0; p < marked.length; p++) {
      if (this.target[p] === 0) continue;
      const changed = ids[p] !== this.ids[p] || absorbed[p] !== this.absorbed[p];
      if (wanted === "all" || marked[p] === 1 || changed || (this.moves && absorbed[p] === 0))
        positions.push(p);
    }
    return positions;
  }
}

/** Ascending positions in groups of at most `slots` that lie within `span` positions. */
export function groupPositions(positions: readonly number[], { slots, span }: GroupShape): number[][] {
  const groups: number[][] = [];
  for (const p of positions) {
    const last = groups.at(-1);
    if (last && last.length < slots && p - last[0] < span) last.push(p);
    else groups.push([p]);
  }
  return groups;
}

/** Groups that a program is compiled for: a power of two or one and a half of it, so that few programs serve all steps. */
export function groupCount(groups: number): number {
  let size = 1;
  while (size < groups) size *= 2;
  return size >= 4 && 0.75 * size >= groups ? 0.75 * size : size;
}

/** The active rows of a batch. */
export interface PlacedRows {
  readonly shape: ActiveShape;
  /** Inputs of the network (model/active-rows.ts). */
  readonly feeds: Readonly<Record<string, TensorData>>;
  /** [sample]: its active positions. */
  readonly active: readonly (readonly number[])[];
  /** int32 [sides * G*Q]: flattened position in the network's rows that each slot stands for; -1: empty. */
  readonly at: Int32Array;
}

/** Positions of one sequence that stand in a group, flattened; none: the group stands at `first`. */
interface Group {
  readonly first: number;
  readonly positions: readonly number[];
}

/** A batch of B rows of N positions. */
interface RowShape {
  readonly batchSize: number;
  readonly length: number;
}

/**
 * Places the active positions of every sample, or those that tokens are drawn at.
 * @param active [sample] ascending positions @param shape of the batch @param sides 2: every row has a twin, whose groups stand behind
 * @param name of the inputs @param least groups, so that a program serves more steps
 */
export function placeActiveRows(
  active: readonly (readonly number[])[],
  group: GroupShape,
  shape: RowShape,
  sides: 1 | 2,
  { name = "active", least = 1 }: { name?: RowsName; least?: number } = {},
): PlacedRows {
  const groups = active.flatMap((positions, b) =>
    groupPositions(positions, group).map((own): Group => {
      const flat = own.map((p) => b * shape.length + p);
      return { first: flat[0], positions: flat };
    }),
  );
  const count = groupCount(Math.max(least, groups.length));
  return { ...placeGroups(groups, { groups: count, ...group }, shape, sides, name), active };
}

/**
 * Places the positions that the samples draw tokens at: in as many groups as spans follow one another in a row, and one more where several
 * do, as a group begins at its first position.
 */
export function placeDrawnRows(
  draws: readonly (readonly number[])[],
  group: GroupShape,
  shape: RowShape,
  sides: 1 | 2,
): PlacedRows {
  const spans = Math.ceil(shape.length / group.span);
  const least = shape.batchSize * (spans > 1 ? spans + 1 : 1);
  return placeActiveRows(draws, group, shape, sides, { name: "drawn", least });
}

/**
 * Places one position of every sample, in a group of its own: group b belongs to row b. So one program serves all steps.
 * @param next [sample] position; null: none
 */
export function placeNextRows(next: readonly (number | null)[], shape: RowShape, sides: 1 | 2): PlacedRows {
  const { batchSize, length } = shape;
  const groups = Array.from({ length: batchSize }, (_, b): Group => {
    const position = next[b] ?? null;
    const at = b * length + (position ?? 0);
    return { first: at, positions: position === null ? [] : [at] };
  });
  // Products of a single row are another kernel with another order of sums than those of several: two at least, so that a text does not
  // depend on the batch.
  const slots = sides * batchSize === 1 ? 2 : 1;
  const active = next.map((position) => (position === null ? [] : [position]));
  return { ...placeGroups(groups, { groups: batchSize, slots, span: 1 }, shape, sides), active };
}

function placeGroups(
  groups: readonly Group[],
  shape: ActiveShape,
  { batchSize, length }: RowShape,
  sides: 1 | 2,
  name: RowsName = "active",
): Omit<PlacedRows, "active"> {
  const { groups: count, slots: size } = shape;
  const rows = count * size;
  const row = new BigInt64Array(sides * rows);
  const present = new Float32Array(sides * rows);
  const at = new Int32Array(sides * rows).fill(-1);
  const start = new BigInt64Array(sides * count);
  const place = new BigInt64Array(sides * batchSize * length);
  for (let side = 0; side < sides; side++)
    for (const [g, own] of groups.entries()) {
      const first = side * batchSize * length;
      const from = side * rows + g * size;
      start[side * count + g] = BigInt(first + own.first);
      row.fill(BigInt(first + own.first), from, from + size);
      for (const [i, position] of own.positions.entries()) {
        at[from + i] = first + position;
        row[from + i] = BigInt(first + position);
        present[from + i] = 1;
        place[first + position] = BigInt(1 + from + i);
      }
    }
  const int64 = (data: BigInt64Array): TensorData => ({ dtype: "int64", shape: [data.length], data });
  return {
    shape,
    feeds: {
      [`${name}Row`]: int64(row),
      [`${name}Present`]: { dtype: "float32", shape: [present.length], data: present },
      [`${name}Start`]: int64(start),
      [`${name}Place`]: int64(place),
    },
    at,
  };
}

/** Copies the active ones of `rows` [T, width] into `into` [T, width]. */
export function copyActiveRows(
  rows: Float32Array,
  { at }: Pick<PlacedRows, "at">,
  width: number,
  into: Float32Array,
): void {
  for (const position of at) {
    if (position < 0) continue;
    const from = position * width;
    into.set(rows.subarray(from, from + width), from);
  }
}
