/**
 * @file The ends of every graph of the denoiser: the inputs that describe B rows of N positions, whatever is done with them.
 *
 *   ids int64 [B, N]           tokens; learned global tokens have ids vocabSize + k
 *   segment int64 [B, N]       document inside the row, -1 on padding
 *   position int64 [B, N]      position inside the document
 *   given float32 [B, N]       1: never noised (conditions, globals, padding), 0: target
 *   globalIndex int64 [B*M]    flattened position of each global slot; empty slots stand at the row's start
 *   globalValid float32 [B, M] 1: the slot is in use
 *   globalSlot int64 [B*N]     0, or 1 + the flattened slot of a global position
 *   time float32 [B]           noise level t
 *   absorbed float32 [B, N]    1: in the absorbing state
 *   signal, sigma, channel float32 [B, N]   a_t, sigma_t and a_t / sigma_t^2 of the Gaussian branch; 1, 0, 0 where given; 0 where absorbed
 */
import { input, type Tensor } from "../graph/index.js";
import { type ActiveRows, type ActiveShape, activeRows } from "./active-rows.js";
import type { Layout } from "./attention/masks.js";

/** The size of a batch a graph is built for. */
export interface BatchShape {
  /** B: rows. */
  readonly batchSize: number;
  /** N: positions a row. */
  readonly length: number;
  /** M: global slots a row; 0 without global tokens. */
  readonly globalSlots: number;
  /**
   * Most slots of the documents that any block of queries of the windowed layers has a part in; where it is less than M, blocks are held
   * against so many slots instead of all. Default: M.
   */
  readonly nearSlots?: number;
}

/** The common inputs as graph values, and the attention layout made of them. */
export interface RowInputs {
  readonly shape: BatchShape;
  readonly ids: Tensor;
  readonly position: Tensor;
  readonly given: Tensor;
  readonly time: Tensor;
  readonly absorbed: Tensor;
  readonly signal: Tensor;
  readonly sigma: Tensor;
  readonly channel: Tensor;
  readonly layout: Layout;
  /** The rows to compute; null: all of them. */
  readonly active: ActiveRows | null;
}

/**
 * Declares the common inputs. An input that the graph does not use is not part of the written model.
 * @param active computes some rows only; default: all
 */
export function rowInputs(shape: BatchShape, active: ActiveShape | null = null): RowInputs {
  const { batchSize, length, globalSlots, nearSlots } = shape;
  const grid = [batchSize, length];
  return {
    shape,
    ids: input("ids", "int64", grid),
    position: input("position", "int64", grid),
    given: input("given", "float32", grid),
    time: input("time", "float32", [batchSize]),
    absorbed: input("absorbed", "float32", grid),
    signal: input("signal", "float32", grid),
    sigma: input("sigma", "float32", grid),
    channel: input("channel", "float32", grid),
    active: active && activeRows(active, shape),
    layout: {
      batch: batchSize,
      length,
      segment: input("segment", "int64", grid),
      globals:
        globalSlots === 0
          ? null
          : {
              count: globalSlots,
              near: nearSlots,
              index: input("globalIndex", "int64", [batchSize * globalSlots]),
              valid: input("globalValid", "float32", [batchSize, globalSlots]),
              slot: input("globalSlot", "int64", [batchSize * length]),
            },
    },
  };
}
