/**
 * @file A batch of samples that go through the network together: their rows as its inputs, one run a step, its outputs handed to
 * each sample. Guided, every row has a twin without condition behind the B rows: same tokens, same state (see guidance.ts).
 */
import { BatchBuffers } from "../diffusion/buffers.js";
import { hasCondition, withoutConditions } from "../diffusion/condition-dropout.js";
import { allocateLevels, levelTensors, setLevel } from "../diffusion/level-inputs.js";
import { PADDING_SEQUENCE, padRows } from "../diffusion/padding.js";
import { placeRows } from "../diffusion/place-rows.js";
import type { TensorData } from "../graph/index.js";
import type { Canvas } from "./canvas.js";
import type { DiffusionModel } from "./model.js";
import type { Program } from "./program-cache.js";
import { type SampleSetting, SampleState } from "./sample-state.js";

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

interface SamplePrograms {
  /** Of every step but the last, whose program also yields the likeliest tokens. They may be one. */
  readonly denoiser: Program;
  readonly last: Program;
  /** Moves predictions to the nearest codes; null: they stay. */
  readonly nearest: Program | null;
}

/** [layer][expert] tokens that went to the expert, as a share of what it would get if loads were even (1: even). */
export type ExpertLoad = readonly (readonly number[])[];

export class SampleBatch {
  readonly samples: readonly SampleState[];
  /** Of the last step; null without experts. */
  expertLoad: ExpertLoad | null = null;
  private readonly buffers = new BatchBuffers();
  /** B, or guided 2 B. */
  private readonly rows: ReturnType<typeof padRows>;
  private readonly targets: readonly Uint8Array[];
  private readonly absorbed: readonly Uint8Array[];
  /** [B * N] 1: where a text may end. */
  private readonly ending: BigInt64Array;
  /** [rows, N, D] */
  private readonly state: Float32Array;
  private selfCondition: Float32Array | null;
  private released = false;

  private constructor(
    private readonly model: DiffusionModel,
    private readonly setting: SampleSetting,
    plans: readonly SamplePlan[],
    private readonly shape: BatchShape,
    private readonly programs: SamplePrograms,
    private readonly look: boolean,
    guided: boolean,
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
    this.rows = guided ? [...own, ...own.map((row) => withoutConditions(row, vocabSize))] : own;
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
    // Gaussian processes read their text off the last prediction; guesses at every step are for those who look.
    const guess = look || (gaussian && setting.config.earlyStop === "on");
    const { vocabSize } = model.config.model;
    // Without a condition, a twin would say the same.
    const guided =
      setting.config.guidance !== 1 && plans.some(({ canvas }) => hasCondition(canvas.row, vocabSize));
    const programs: Program[] = [];
    const take = async (program: Promise<Program>) => {
      programs.push(await program);
      return programs[programs.length - 1];
    };
    const compile = (guesses: boolean) =>
      take(model.denoiser(shape.batchSize, shape.length, guesses, guided));
    try {
      const denoiser = await compile(guess);
      const last = gaussian && !guess ? await compile(true) : denoiser;
      const clamps = setting.config.clamp && gaussian;
      const nearest = clamps ? await take(model.nearestCode(shape.batchSize * shape.length)) : null;
      return new SampleBatch(model, setting, plans, shape, { denoiser, last, nearest }, look, guided);
    } catch (error) {
      for (const program of programs) await program.release();
      throw error;
    }
  }

  /** Whether no sample has anything left to do. */
  get finished(): boolean {
    return this.samples.every((sample) => sample.finished);
  }

  /** All samples that are not finished go from t_{step - 1} to t_step. */
  async advance(step: number): Promise<void> {
    const { model, shape, setting } = this;
    const { length } = shape;
    const draws = this.samples.map((sample) => sample.positionsToDraw(step));
    const flat = draws.flatMap((positions, b) => positions.map((p) => b * length + p));
    const { denoiser, last: atLast } = this.programs;
    const program = step === setting.times.length - 1 ? atLast : denoiser;
    const outputs = await model.run(program, this.feeds(setting.times[step - 1], flat));
    const x0 = setting.absorbing ? await this.clamped(outputs.x0) : null;
    if (this.selfCondition) this.selfCondition = outputs.embedding.data as Float32Array;
    const drawLogits = outputs.drawLogits.data as Float32Array;
    const width = model.config.model.embeddingSize;
    let drawn = 0;
    let last = performance.now();
    for (const [b, sample] of this.samples.entries()) {
      const from = b * length;
      const to = from + sample.canvas.target.length;
      const rows = drawn + draws[b].length;
      sample.advance(
        {
          drawPositions: draws[b],
          drawLogits: drawLogits.subarray(drawn * setting.vocabSize, rows * setting.vocabSize),
          x0: x0?.subarray(from * width, to * width) ?? null,
          likeliest: (outputs.likeliest?.data as BigInt64Array | undefined)?.subarray(from, to) ?? null,
          probability: (outputs.probability?.data as Float32Array | undefined)?.subarray(from, to) ?? null,
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
    this.expertLoad = expertLoad(outputs.expertCounts, this.samples.length);
  }

  /** Inputs of the network at time t. draw: flattened positions to draw tokens at. */
  private feeds(t: number, draw: readonly number[]): Record<string, TensorData> {
    const { model, setting, shape, buffers, rows, state } = this;
    const { batchSize, length } = shape;
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
      ending: { dtype: "int64", shape: [batchSize * length], data: this.ending },
      // One row at least: empty tensors are a corner nobody needs to stand in.
      draw: {
        dtype: "int64",
        shape: [Math.max(1, draw.length)],
        data: BigInt64Array.from(draw.length > 0 ? draw : [0], BigInt),
      },
      guidance: { dtype: "float32", shape: [1], data: Float32Array.of(setting.config.guidance) },
      ...(setting.absorbing ? { state: { dtype: "float32", shape: wide, data: state } } : {}),
      ...(this.selfCondition
        ? { selfCondition: { dtype: "float32", shape: wide, data: this.selfCondition } }
        : {}),
    };
  }

  /** x0 [B, N, D], moved to the nearest codes when the configuration asks for it. */
  private async clamped(x0: TensorData): Promise<Float32Array> {
    const { nearest } = this.programs;
    if (!nearest) return x0.data as Float32Array;
    const [batch, length, width] = x0.shape;
    const flat = { ...x0, shape: [batch * length, width] };
    return (await this.model.run(nearest, { x0: flat })).code.data as Float32Array;
  }

  /** Gives the programs back. */
  async release(): Promise<void> {
    if (this.released) return;
    this.released = true;
    for (const program of new Set(Object.values(this.programs))) await program?.release();
  }
}

/** counts float32 [L, B, E] of the first `rows` rows. */
function expertLoad(counts: TensorData | undefined, rows: number): ExpertLoad | null {
  if (!counts) return null;
  const [layers, batch, experts] = counts.shape;
  const data = counts.data as Float32Array;
  return Array.from({ length: layers }, (_, layer) => {
    const sums = new Array<number>(experts).fill(0);
    for (let b = 0; b < rows; b++)
      for (let e = 0; e < experts; e++) sums[e] += data[(layer * batch + b) * experts + e];
    const total = sums.reduce((a, b) => a + b, 0);
    return sums.map((sum) => (total > 0 ? (sum * experts) / total : 0));
  });
}
