/**
 * @file What a batch of samples gives the network: its rows, and the memory that steps change (tokens, absorbed flags, states), which the
 * samples see through views of their own. Guided, every row has a twin without condition behind the B rows: same tokens, same state.
 */
import type { GenerationConfig, RunConfig } from "../config/index.js";
import { BatchBuffers } from "../diffusion/buffers.js";
import { withoutConditions } from "../diffusion/condition-dropout.js";
import { allocateLevels, levelTensors, setLevel } from "../diffusion/level-inputs.js";
import { PADDING_SEQUENCE, padRows } from "../diffusion/padding.js";
import { placeRows } from "../diffusion/place-rows.js";
import type { DiffusionProcess } from "../diffusion/process.js";
import type { TensorData } from "../graph/index.js";
import type { BatchShape } from "../model/layout.js";
import type { Canvas } from "./canvas.js";
import type { SampleMemory } from "./sample-state.js";

/** A sample to be written. */
export interface SamplePlan {
  readonly canvas: Canvas;
  /** Number of the sample: the identity of its random numbers. */
  readonly sequence: number;
}

/** Where the samples draw tokens. */
export interface Draws {
  /** [sample]: its positions. */
  readonly positions: readonly (readonly number[])[];
  /** [sample]: a number in [0, 1) for each of them; empty where the host draws. */
  readonly uniforms: readonly Float32Array[];
}

interface InputOptions {
  /** Of the samples: B rows of N positions. */
  readonly shape: BatchShape;
  readonly guided: boolean;
  /** Whether positions have states: not in the masked limit. */
  readonly gaussian: boolean;
  /** [PAD] */
  readonly padding: number;
}

export class BatchInputs {
  /** float32 [rows, N, D]: the last prediction; null without self-conditioning. */
  readonly selfCondition: Float32Array | null;
  /** B, or guided 2 B. */
  private readonly rows: ReturnType<typeof padRows>;
  /** [B] uint8 [N] each. */
  private readonly targets: readonly Uint8Array[];
  private readonly absorbed: readonly Uint8Array[];
  /** [B * N] 1: where a text may end. */
  private readonly ending: BigInt64Array;
  /** [rows, N, D] */
  private readonly state: Float32Array;
  /** What stands where, of all rows: nothing of it changes but the tokens that samples write. */
  private readonly placed: Record<string, TensorData>;
  /** [rows] int32 [N]: the tokens in there. */
  private readonly placedIds: readonly Int32Array[];
  private readonly buffers = new BatchBuffers();

  constructor(
    private readonly config: Pick<RunConfig, "model" | "diffusion">,
    plans: readonly SamplePlan[],
    private readonly options: InputOptions,
  ) {
    const { shape, guided, gaussian, padding } = options;
    const { batchSize, length } = shape;
    const { embeddingSize, selfConditioning, vocabSize } = config.model;
    const rows = plans.map(({ canvas, sequence }) => ({ ...canvas.row, sequence }));
    // The masked limit writes into the ids, so every sample gets its own.
    const own = padRows(rows, length, batchSize, padding).map((row) => ({ ...row, ids: row.ids.slice() }));
    this.rows = guided ? [...own, ...own.map((row) => withoutConditions(row, vocabSize))] : own;
    this.targets = own.map(({ sequence }, b) => {
      const target = new Uint8Array(length);
      if (sequence !== PADDING_SEQUENCE) target.set(plans[b].canvas.target);
      return target;
    });
    this.ending = new BigInt64Array(batchSize * length);
    for (const [b, { canvas }] of plans.entries())
      this.ending.fill(1n, b * length + canvas.endFrom, b * length + canvas.target.length);
    this.placed = placeRows(this.rows, shape.globalSlots);
    this.placedIds = this.rows.map(({ ids }) => ids.slice());
    this.absorbed = own.map(() => new Uint8Array(length));
    const size = this.rows.length * length * embeddingSize;
    this.state = new Float32Array(gaussian ? size : 0);
    this.selfCondition = selfConditioning ? new Float32Array(size) : null;
  }

  /** The memory of sample b, of n positions. */
  memoryOf(b: number, n: number): SampleMemory {
    const width = this.config.model.embeddingSize;
    const from = b * this.options.shape.length * width;
    return {
      ids: this.rows[b].ids.subarray(0, n),
      absorbed: this.absorbed[b].subarray(0, n),
      z: this.state.subarray(from, this.state.length > 0 ? from + n * width : from),
    };
  }

  /** Tokens and flags of sample b, at all N positions of its row. */
  rowOf(b: number): Pick<SampleMemory, "ids" | "absorbed"> {
    return { ids: this.rows[b].ids, absorbed: this.absorbed[b] };
  }

  /** Writes the tokens that have changed. */
  private placeIds(): void {
    const { rows, placed, placedIds } = this;
    const placedData = placed.ids.data as BigInt64Array;
    for (const [b, { ids }] of rows.entries()) {
      const before = placedIds[b];
      for (let p = 0; p < ids.length; p++) {
        if (ids[p] === before[p]) continue;
        before[p] = ids[p];
        placedData[b * ids.length + p] = BigInt(ids[p]);
      }
    }
  }

  /** Inputs of the network (sampling-module.ts) at time t. */
  feeds(
    process: Pick<DiffusionProcess, "level">,
    t: number,
    { positions, uniforms }: Draws,
    {
      guidance,
      temperature,
      topK,
      topP,
    }: Pick<GenerationConfig, "guidance" | "temperature" | "topK" | "topP">,
  ): Record<string, TensorData> {
    const { config, options, buffers, rows, state, ending, selfCondition } = this;
    const { batchSize, length } = options.shape;
    this.placeIds();
    const draw = positions.flatMap((own, b) => own.map((p) => b * length + p));
    const numbers = uniforms.flatMap((own) => [...own]);
    // Two rows at least, the first one again where there are fewer: the product of a single row is another kernel, of another order of sums,
    // and slower.
    const count = Math.max(2, draw.length);
    const levels = allocateLevels(rows.length, length, buffers);
    if (options.guided) state.copyWithin(state.length / 2, 0, state.length / 2);
    // t as the network sees it; below the smallest level of training it sees that one.
    const level = { ...process.level(t), time: Math.max(t, config.diffusion.minTime) };
    for (let b = 0; b < rows.length; b++) {
      const sample = b % batchSize;
      setLevel(levels, b, level, this.targets[sample], this.absorbed[sample]);
    }
    const floats = (shape: number[], data: Float32Array): TensorData => ({ dtype: "float32", shape, data });
    const ints = (data: BigInt64Array): TensorData => ({ dtype: "int64", shape: [data.length], data });
    const wide = [rows.length, length, config.model.embeddingSize];
    return {
      ...this.placed,
      ...levelTensors(levels),
      ending: ints(ending),
      draw: ints(BigInt64Array.from({ length: count }, (_, i) => BigInt(draw[i] ?? draw[0] ?? 0))),
      uniform: floats(
        [count],
        Float32Array.from({ length: count }, (_, i) => numbers[i] ?? 0),
      ),
      ...Object.fromEntries(
        Object.entries({ guidance, temperature, topK, topP }).map(([name, x]) => [
          name,
          floats([1], Float32Array.of(x)),
        ]),
      ),
      ...(options.gaussian ? { state: floats(wide, state) } : {}),
      ...(selfCondition ? { selfCondition: floats(wide, selfCondition) } : {}),
    };
  }
}
