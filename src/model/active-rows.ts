/**
 * @file The rows a graph computes when it does not compute all B * N of them: those whose input has changed or whose prediction is
 * wanted. Of the others it knows the keys and values of every layer, as an earlier run on all rows left them.
 *
 * Active rows stand in groups of Q slots. The rows of a group lie in one sequence within a span of P positions, so that its queries share
 * one range of keys. Inputs:
 *
 *   activeRow int64 [G*Q]      flattened position b*N + p of each slot; an empty slot stands at its group's first
 *   activePresent float32 [G*Q]  1: the slot is in use
 *   activeStart int64 [G]      flattened first position of each group; an empty group stands at 0
 *   activePlace int64 [B*N]    0, or 1 + the slot of an active row
 *   "held:key.<l>", "held:value.<l>" float32 [B*N, hidden]   keys (turned by their positions) and values of layer l
 *
 * Outputs "held-rows:key.<l>", "held-rows:value.<l>" float32 [G*Q, hidden], where they are to be kept: those of the active rows.
 *
 * Of the last layer a step may want fewer rows still: those at which it draws a token. They stand in groups of their own, inputs
 * "drawnRow" and so on, among the rows that are computed.
 */
import { concat, div, gather, greater, input, maximum, sub, type Tensor, zeros } from "../graph/index.js";
import type { BatchShape } from "./layout.js";

/** The sizes a graph of active rows is built for. */
export interface ActiveShape {
  /** G: groups, in all rows of the batch together. */
  readonly groups: number;
  /** Q: slots a group. */
  readonly slots: number;
  /** P: positions from the first row of a group to behind its last, at most. */
  readonly span: number;
}

export interface ActiveRows {
  readonly shape: ActiveShape;
  /** R = G * Q. */
  readonly count: number;
  /** int64 [R] */
  readonly row: Tensor;
  /** int64 [R]: number of the sequence. */
  readonly sequence: Tensor;
  /** bool [R] */
  readonly present: Tensor;
  /** int64 [G] */
  readonly start: Tensor;
  /** int64 [B*N] */
  readonly place: Tensor;
}

/** First part of the names of the inputs: rows that are computed, or rows the last layer is computed for. */
export type RowsName = "active" | "drawn";

/** Declares the inputs. */
export function activeRows(
  shape: ActiveShape,
  { batchSize, length }: BatchShape,
  name: RowsName = "active",
): ActiveRows {
  const count = shape.groups * shape.slots;
  const row = input(`${name}Row`, "int64", [count]);
  return {
    shape,
    count,
    row,
    sequence: div(row, length),
    present: greater(input(`${name}Present`, "float32", [count]), 0.5),
    start: input(`${name}Start`, "int64", [shape.groups]),
    place: input(`${name}Place`, "int64", [batchSize * length]),
  };
}

/** Keys or values of a layer, float32 [T, hidden] each. */
export interface KeysAndValues {
  readonly key: Tensor;
  readonly value: Tensor;
}

/** Names of a layer's keys and values: of inputs here, of outputs where all rows are computed; with "held-rows" of outputs here. */
export const heldNames = (
  layer: number,
  prefix: "held" | "held-rows" = "held",
): Record<keyof KeysAndValues, string> => ({
  key: `${prefix}:key.${layer}`,
  value: `${prefix}:value.${layer}`,
});

/** Declares the keys and values of a layer that an earlier run has left. */
export function heldKeysAndValues(
  layer: number,
  { batchSize, length }: BatchShape,
  hiddenSize: number,
): KeysAndValues {
  const { key, value } = heldNames(layer);
  const shape = [batchSize * length, hiddenSize];
  return { key: input(key, "float32", shape), value: input(value, "float32", shape) };
}

/** x [R, D] of the rows that are computed, at their places: [B*N, D], zeros elsewhere. */
export const spreadRows = (x: Tensor, active: ActiveRows | null): Tensor =>
  active ? gather(concat([zeros([1, x.staticShape[1]]), x], 0), active.place) : x;

/** x [B*N, ...] at the rows that are computed: [R, ...], or all of it. */
export const takeRows = (x: Tensor, active: ActiveRows | null): Tensor =>
  active ? gather(x, active.row) : x;

/** x [R, ...] of the rows that are computed, at some of them: [G*Q, ...]; what an empty slot gets means nothing. */
export const takeComputed = (x: Tensor, rows: ActiveRows, active: ActiveRows | null): Tensor =>
  gather(x, active ? maximum(sub(gather(active.place, rows.row), 1), 0) : rows.row);
