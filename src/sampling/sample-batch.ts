/**
 * @file A batch of samples that go through the network together: their rows as its inputs, one run a step, its outputs handed to
 * each sample. Guided, every row has a twin without condition behind the B rows: same tokens, same state (see guidance.ts). Where keys and
 * values are kept, steps between full runs compute some positions only (see step-rows.ts).
 */
import { BatchBuffers } from "../diffusion/buffers.js";
import { hasCondition, withoutConditions } from "../diffusion/condition-dropout.js";
import { allocateLevels, levelTensors, setLevel } from "../diffusion/level-inputs.js";
import { PADDING_SEQUENCE, padRows } from "../diffusion/padding.js";
import { placeRows } from "../diffusion/place-rows.js";
import type { TensorData } from "../graph/index.js";
import type { HeldTensors } from "../runtime/index.js";
import type { Canvas } from "./canvas.js";
import type { DiffusionModel } from "./model.js";
import type { Program } from "./program-cache.js";
import { type SampleSetting, SampleState } from "./sample-state.js";
import type { StepShape } from "./sampling-module.js";
import {
  ChangedRows,
  copyActiveRows,
  drawnShape,
  type GroupShape,
  groupShape,
  type Keeping,
  type PlacedRows,
  placeActiveRows,
  placeDrawnRows,
  placeNextRows,
  type StepRows,
  TextSoFar,
} from "./step-rows.js";

/** A sample to be written. */
export interface SamplePlan {
  readonly canvas: Canvas;
  /** Number of the sample: the identity of its random numbers. */
  readonly sequence: number;
}

export interface BatchShape {
  /** B: rows; those beyond the samples are padding. */
  readonly batchSize: number;
  /** N: positions a row, at least those of the longest canvas. */
  readonly length: number;
}

/** How the steps of a batch run. */
interface SamplePlanning {
  /** Whether every row has a twin. */
  readonly guided: boolean;
  /** Whether the likeliest tokens are wanted at every step, not at the last alone. */
  readonly guess: boolean;
  /** Moves predictions to the nearest codes; null: they stay. */
  readonly nearest: Program | null;
  /** Which keys and values are kept. */
  readonly keeping: Keeping;
  /** Where they are; null: nowhere, every run is full. */
  readonly held: HeldTensors | null;
}

/** [layer][expert] tokens that went to the expert, as a share of what it would get if loads were even (1: even). */
export type ExpertLoad = readonly (readonly number[])[];

export class SampleBatch {
  readonly samples: readonly SampleState[];
  /** Of the last step; null without experts. */
  expertLoad: ExpertLoad | null = null;
  /** Positions of the samples that the last step computed (a twin is not counted again). */
  computed = 0;
  private readonly buffers = new BatchBuffers();
  /** B, or guided 2 B. */
  private readonly rows: ReturnType<typeof padRows>;
  private readonly targets: readonly Uint8Array[];
  private readonly absorbed: readonly Uint8Array[];
  /** [B * N] 1: where a text may end. */
  private readonly ending: BigInt64Array;
  /** [rows, N, D] */
  private readonly state: Float32Array;
  private readonly selfCondition: Float32Array | null;
  private readonly stepRows: readonly StepRows[];
  private readonly group: GroupShape;
  /** Of the positions that tokens are drawn at; null: the last layer is computed for all rows. */
  private readonly drawnGroup: GroupShape | null;
  private readonly programs = new Map<string, Program>();
  private released = false;

  private constructor(
    private readonly model: DiffusionModel,
    private readonly setting: SampleSetting,
    plans: readonly SamplePlan[],
    private readonly shape: BatchShape,
    private readonly planning: SamplePlanning,
    private readonly look: boolean,
  ) {
    const { batchSize, length } = shape;
    const { embeddingSize: width, vocabSize } = model.config.model;
    const { special } = model.tokenizer;
    const rows = plans.map(({ canvas, sequence }) => ({ ...canvas.row, sequence }));
    // The masked limit writes into the ids, so every sample gets its own.
    const own = padRows(rows, length, batchSize, special.pad).map((row) => ({
      ...row,
      ids: row.ids.slice(),
    }));
    this.rows = planning.guided ? [...own, ...own.map((row) => withoutConditions(row, vocabSize))] : own;
    this.targets = own.map(({ sequence }, b) => {
      const target = new Uint8Array(length);
      if (sequence !== PADDING_SEQUENCE) target.set(plans[b].canvas.target);
      return target;
    });
    this.ending = new BigInt64Array(batchSize * length);
    for (const [b, { canvas }] of plans.entries())
      this.ending.fill(1n, b * length + canvas.endFrom, b * length + canvas.target.length);
    this.absorbed = own.map(() => new Uint8Array(length));
    const size = this.rows.length * length * width;
    this.state = new Float32Array(setting.absorbing ? size : 0);
    this.selfCondition = model.config.model.selfConditioning ? new Float32Array(size) : null;
    this.samples = plans.map(({ canvas, sequence }, b) => {
      const n = canvas.target.length;
      const from = b * length * width;
      return new SampleState(canvas, sequence, setting, {
        ids: this.rows[b].ids.subarray(0, n),
        absorbed: this.absorbed[b].subarray(0, n),
        z: this.state.subarray(from, setting.absorbing ? from + n * width : from),
      });
    });
    this.stepRows = plans.map(({ canvas: { target } }, b) => {
      if (planning.keeping === "text") return new TextSoFar();
      const now = { ids: own[b].ids, absorbed: this.absorbed[b] };
      return new ChangedRows(now, target, setting.absorbing !== null);
    });
    this.group = groupShape(model.config, setting.config);
    this.drawnGroup = drawnShape(model.config, setting.config);
  }

  /**
   * Compiles what the shape needs and draws the starting states.
   * @param look whether anybody will look at the samples before the last step
   */
  static async start(
    model: DiffusionModel,
    setting: SampleSetting,
    plans: readonly SamplePlan[],
    shape: BatchShape,
    look: boolean,
  ): Promise<SampleBatch> {
    const gaussian = setting.absorbing !== null;
    const { keeping = "none" } = setting;
    // Gaussian processes read their text off the last prediction; guesses at every step are for those who look. Left to right, what is
    // not written has no prediction yet.
    const guess = (look && keeping !== "text") || (gaussian && setting.config.earlyStop === "on");
    const { vocabSize } = model.config.model;
    // Without a condition, a twin would say the same.
    const guided =
      setting.config.guidance !== 1 && plans.some(({ canvas }) => hasCondition(canvas.row, vocabSize));
    const clamps = setting.config.clamp && gaussian;
    const nearest = clamps ? await model.nearestCode(shape.batchSize * shape.length) : null;
    const held = keeping === "none" ? null : await model.hold();
    const planning = { guided, guess, nearest, keeping, held };
    const batch = new SampleBatch(model, setting, plans, shape, planning, look);
    try {
      await batch.program(guess, "all", batch.drawnRows([])?.shape ?? null);
      return batch;
    } catch (error) {
      await batch.release();
      throw error;
    }
  }

  /** A program for these rows, on loan until the batch is released. */
  private async program(
    guess: boolean,
    rows: StepShape["rows"],
    drawn: StepShape["drawn"],
  ): Promise<Program> {
    const { model, shape, planning, programs } = this;
    const step = { guess, guided: planning.guided, rows, drawn, hold: this.holds(rows) };
    const key = JSON.stringify(step);
    const program = programs.get(key) ?? (await model.denoiser(shape.batchSize, shape.length, step));
    programs.set(key, program);
    return program;
  }

  /** Whether a run on these rows leaves their keys and values. */
  private holds(rows: StepShape["rows"]): boolean {
    const { keeping } = this.planning;
    return keeping === "text" || (keeping === "interval" && rows === "all");
  }

  /** Whether no sample has anything left to do. */
  get finished(): boolean {
    return this.samples.every((sample) => sample.finished);
  }

  /** All samples that are not finished go from t_{step - 1} to t_step. */
  async advance(step: number): Promise<void> {
    const { setting, planning, stepRows } = this;
    const last = step === setting.times.length - 1;
    const draws = this.samples.map((sample) => sample.positionsToDraw(step));
    this.computed = 0;
    if (this.isFull(step)) for (const [b, rows] of stepRows.entries()) rows.seen(draws[b]);
    const placed = this.isFull(step) ? null : await this.activeRows(draws, step);
    // Gaussian processes read their text off the last step.
    const guess = planning.guess || (last && setting.absorbing !== null);
    const outputs = await this.run(step, draws, placed, guess);
    await this.take(outputs, draws, placed, step);
    this.expertLoad = expertLoad(outputs.expertCounts, this.samples.length);
  }

  /** Whether a step runs the network on all positions. */
  private isFull(step: number): boolean {
    const { keeping } = this.planning;
    if (keeping === "text") return step === 1;
    return keeping === "none" || (step - 1) % this.setting.config.cacheInterval === 0;
  }

  /** The rows of a step that does not compute all. */
  private async activeRows(draws: readonly (readonly number[])[], step: number): Promise<PlacedRows> {
    const { setting, stepRows, group, shape, planning } = this;
    const all = step === setting.times.length - 1 && setting.absorbing !== null;
    const sides = planning.guided ? 2 : 1;
    const active = this.samples.map((sample, b) =>
      sample.finished ? [] : stepRows[b].active(all ? "all" : draws[b]),
    );
    if (planning.keeping !== "text") return placeActiveRows(active, group, shape, sides);
    // Given text behind a gap that is full now. It has a run of its own, so that the texts beside it do not notice.
    const before = active.map((positions) => positions.slice(0, -1));
    if (before.some((positions) => positions.length > 0))
      await this.run(
        step,
        before.map(() => []),
        placeActiveRows(before, group, shape, sides),
        false,
      );
    return placeNextRows(
      active.map((positions) => positions.at(-1) ?? null),
      shape,
      sides,
    );
  }

  /** The rows that a last layer of their own is computed for; null: there is none. */
  private drawnRows(draws: readonly (readonly number[])[]): PlacedRows | null {
    const { drawnGroup, shape, planning } = this;
    return drawnGroup && placeDrawnRows(draws, drawnGroup, shape, planning.guided ? 2 : 1);
  }

  /** One run of the network. draws: positions of every sample to draw tokens at. @param placed the rows to compute; null: all */
  private async run(
    step: number,
    draws: readonly (readonly number[])[],
    placed: PlacedRows | null,
    guess: boolean,
  ): Promise<Readonly<Record<string, TensorData>>> {
    const rows = placed?.shape ?? "all";
    const drawn = this.drawnRows(draws);
    const program = await this.program(guess, rows, drawn?.shape ?? null);
    for (const [b, sample] of this.samples.entries())
      if (!sample.finished) this.computed += placed?.active[b].length ?? sample.canvas.target.length;
    const feeds = { ...this.feeds(this.setting.times[step - 1], draws, placed), ...drawn?.feeds };
    return this.model.run(program, feeds, {
      held: this.planning.held ?? undefined,
      heldRows: placed && this.holds(rows) ? placed.at : undefined,
    });
  }

  /** Hands every sample its part of the outputs. */
  private async take(
    outputs: Readonly<Record<string, TensorData>>,
    draws: readonly (readonly number[])[],
    placed: PlacedRows | null,
    step: number,
  ): Promise<void> {
    const { setting, shape } = this;
    const width = this.model.config.model.embeddingSize;
    const predicted = outputs.x0?.data as Float32Array | undefined;
    const x0 = predicted && (await this.clamped(predicted));
    const probability = outputs.probability?.data as Float32Array | undefined;
    const likeliest = outputs.likeliest?.data as BigInt64Array | undefined;
    if (this.selfCondition) {
      const embedding = outputs.embedding.data as Float32Array;
      if (placed) copyActiveRows(embedding, placed, width, this.selfCondition);
      else this.selfCondition.set(embedding);
    }
    const drawLogits = outputs.drawLogits.data as Float32Array;
    let drawn = 0;
    let last = performance.now();
    for (const [b, sample] of this.samples.entries()) {
      const from = b * shape.length;
      const to = from + sample.canvas.target.length;
      const rows = drawn + draws[b].length;
      sample.advance(
        {
          drawPositions: draws[b],
          drawLogits: drawLogits.subarray(drawn * setting.vocabSize, rows * setting.vocabSize),
          x0: x0?.subarray(from * width, to * width) ?? null,
          likeliest: likeliest?.subarray(from, to) ?? null,
          probability: probability?.subarray(from, to) ?? null,
        },
        step,
        this.look,
      );
      drawn = rows;
      // The caller's event loop gets a turn between samples.
      if (performance.now() - last > 20) {
        await new Promise<void>((resolve) => setTimeout(resolve));
        last = performance.now();
      }
    }
  }

  /** Inputs of the network at time t. draws: positions of every sample to draw tokens at. */
  private feeds(
    t: number,
    draws: readonly (readonly number[])[],
    placed: PlacedRows | null,
  ): Record<string, TensorData> {
    const { model, setting, shape, buffers, rows, state, ending } = this;
    const { batchSize, length } = shape;
    const draw = draws.flatMap((positions, b) => positions.map((p) => b * length + p));
    const levels = allocateLevels(rows.length, length, buffers);
    if (rows.length > batchSize) state.copyWithin(state.length / 2, 0, state.length / 2);
    // t as the network sees it; below the smallest level of training it sees that one.
    const level = { ...setting.process.level(t), time: Math.max(t, model.config.diffusion.minTime) };
    for (let b = 0; b < rows.length; b++) {
      const sample = b % batchSize;
      setLevel(levels, b, level, this.targets[sample], this.absorbed[sample]);
    }
    const wide = [rows.length, length, model.config.model.embeddingSize];
    return {
      ...placeRows(rows, model.globalSlots, buffers),
      ...levelTensors(levels),
      ...(placed?.feeds ?? {}),
      ending: { dtype: "int64", shape: [ending.length], data: ending },
      // Two rows at least, the first one again where there are fewer: the product of a single row is another kernel, of another order of
      // sums, and slower.
      draw: {
        dtype: "int64",
        shape: [Math.max(2, draw.length)],
        data: BigInt64Array.from({ length: Math.max(2, draw.length) }, (_, i) =>
          BigInt(draw[i] ?? draw[0] ?? 0),
        ),
      },
      guidance: { dtype: "float32", shape: [1], data: Float32Array.of(setting.config.guidance) },
      ...(setting.absorbing ? { state: { dtype: "float32", shape: wide, data: state } } : {}),
      ...(this.selfCondition
        ? { selfCondition: { dtype: "float32", shape: wide, data: this.selfCondition } }
        : {}),
    };
  }

  /** x0 [B*N, D], moved to the nearest codes when the configuration asks for it. */
  private async clamped(x0: Float32Array): Promise<Float32Array> {
    const { nearest } = this.planning;
    if (!nearest) return x0;
    const width = this.model.config.model.embeddingSize;
    const flat: TensorData = { dtype: "float32", shape: [x0.length / width, width], data: x0 };
    return (await this.model.run(nearest, { x0: flat })).code.data as Float32Array;
  }

  /** Gives the programs back. */
  async release(): Promise<void> {
    if (this.released) return;
    this.released = true;
    const { nearest, held } = this.planning;
    await held?.dispose();
    for (const program of [...this.programs.values(), nearest]) await program?.release();
  }
}

/** counts float32 [L, B, E] of the first `rows` rows; where active rows were computed, B is 1 and stands for all. */
function expertLoad(counts: TensorData | undefined, rows: number): ExpertLoad | null {
  if (!counts) return null;
  const [layers, batch, experts] = counts.shape;
  const data = counts.data as Float32Array;
  return Array.from({ length: layers }, (_, layer) => {
    const sums = new Array<number>(experts).fill(0);
    for (let b = 0; b < Math.min(rows, batch); b++)
      for (let e = 0; e < experts; e++) sums[e] += data[(layer * batch + b) * experts + e];
    const total = sums.reduce((a, b) => a + b, 0);
    return sums.map((sum) => (total > 0 ? (sum * experts) / total : 0));
  });
}
