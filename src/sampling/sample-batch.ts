/**
 * @file A batch of samples that go through the network together: their rows as its inputs (batch-inputs.ts), one run a step, its outputs
 * handed to each sample. Where keys and values are kept, steps between full runs compute some positions only (see step-rows.ts).
 */
import { hasCondition } from "../diffusion/condition-dropout.js";
import type { TensorData } from "../graph/index.js";
import type { HeldTensors } from "../runtime/index.js";
import { BatchInputs, type SamplePlan } from "./batch-inputs.js";
import type { DiffusionModel } from "./model.js";
import type { Program } from "./program-cache.js";
import { RepetitionControl } from "./repetition.js";
import { rowParts, rowsOf } from "./row-parts.js";
import { type DrawnTokens, type Prediction, type SampleSetting, SampleState } from "./sample-state.js";
import type { StepShape } from "./sampling-module.js";
import { releasesBlindly } from "./sampling-settings.js";
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
import { drawOnHost, logitsOf } from "./token-draw.js";

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
  /** Which keys and values are kept. */
  readonly keeping: Keeping;
  /** Where they are; null: nowhere, every run is full. */
  readonly held: HeldTensors | null;
}

/** [layer][expert] tokens that went to the expert, as a share of what it would get if loads were even (1: even). */
export type ExpertLoad = readonly (readonly number[])[];

/** Below it logits / temperature leave float32, and the likeliest token is all but certain. */
const COLDEST = 1e-6;

export class SampleBatch {
  readonly samples: readonly SampleState[];
  /** Of the last run of the network; null without experts. */
  expertLoad: ExpertLoad | null = null;
  /** Positions of the samples that the last step computed (a twin is not counted again). */
  computed = 0;
  private readonly inputs: BatchInputs;
  private readonly stepRows: readonly StepRows[];
  private readonly group: GroupShape;
  /** Of the positions that tokens are drawn at; null: the last layer is computed for all rows. */
  private readonly drawnGroup: GroupShape | null;
  private readonly rounding: StepShape["rounding"];
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
    this.inputs = new BatchInputs(model.config, plans, {
      shape: { ...shape, globalSlots: model.globalSlots },
      guided: planning.guided,
      gaussian: setting.absorbing !== null,
      padding: model.tokenizer.special.pad,
    });
    this.samples = plans.map(
      ({ canvas, sequence }, b) =>
        new SampleState(canvas, sequence, setting, this.inputs.memoryOf(b, canvas.target.length)),
    );
    this.stepRows = plans.map(({ canvas: { target } }, b) => {
      if (planning.keeping === "text") return new TextSoFar();
      return new ChangedRows(this.inputs.rowOf(b), target, setting.absorbing !== null);
    });
    this.group = groupShape(model.config, setting.config);
    this.drawnGroup = drawnShape(model.config, setting.config);
    const { temperature, topK, topP } = setting.config;
    const { diffusion } = model.config;
    // A token a text is drawn faster on the host.
    const inGraph =
      diffusion.objective === "denoising" &&
      releasesBlindly(diffusion, setting.config) &&
      !RepetitionControl.wanted(setting.config);
    const cutsCount = topK > 0 && topK < model.config.model.vocabSize;
    const few = diffusion.objective === "next-token";
    if (inGraph) this.rounding = { temperature: temperature > COLDEST, topK: cutsCount, topP: topP < 1 };
    else this.rounding = few ? "logits" : "rows";
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
    const guess = (look && !setting.autoregressive) || (gaussian && setting.config.earlyStop === "on");
    const { vocabSize } = model.config.model;
    // Without a condition, a twin would say the same.
    const guided =
      setting.config.guidance !== 1 && plans.some(({ canvas }) => hasCondition(canvas.row, vocabSize));
    const held = keeping === "none" ? null : await model.hold();
    let batch: SampleBatch | undefined;
    try {
      batch = new SampleBatch(model, setting, plans, shape, { guided, guess, keeping, held }, look);
      await batch.program(guess, "all", batch.drawnRows([])?.shape ?? null);
      return batch;
    } catch (error) {
      await (batch ? batch.release() : held?.dispose());
      throw error;
    }
  }

  /** A program on loan until the batch is released. */
  private async loan(key: string, ask: () => Promise<Program>): Promise<Program> {
    const program = this.programs.get(key) ?? (await ask());
    this.programs.set(key, program);
    return program;
  }

  /** The network's program for these rows. */
  private program(guess: boolean, rows: StepShape["rows"], drawn: StepShape["drawn"]): Promise<Program> {
    const { model, shape, planning } = this;
    const step = {
      guess,
      guided: planning.guided,
      rows,
      drawn,
      rounding: this.rounding,
      hold: this.holds(rows),
    };
    return this.loan(JSON.stringify(step), () => model.denoiser(shape.batchSize, shape.length, step));
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
    if (this.standsStill(draws)) {
      for (const sample of this.samples) sample.advance(NO_PREDICTION, step, this.look);
      return;
    }
    if (this.isFull(step)) for (const [b, rows] of stepRows.entries()) rows.seen(draws[b]);
    const placed = this.isFull(step) ? null : await this.activeRows(draws, step);
    // Gaussian processes read their text off the last step.
    const guess = planning.guess || (last && setting.absorbing !== null);
    const outputs = await this.run(step, draws, placed, guess);
    await this.take(outputs, draws, placed, step);
    this.expertLoad = expertLoad(outputs.expertCounts, this.samples.length);
  }

  /** Whether nobody wants to know what the network says in a step: nothing is drawn, nobody looks, no later step goes by it. */
  private standsStill(draws: readonly (readonly number[])[]): boolean {
    const { look, setting, planning, inputs } = this;
    const kept = planning.keeping !== "none" || inputs.selfCondition !== null;
    return !look && setting.absorbing === null && !kept && draws.every((positions) => positions.length === 0);
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
    const { process, times, config } = this.setting;
    // The host draws with numbers of its own making, the same ones.
    const inGraph = typeof this.rounding === "object";
    const uniforms = inGraph ? this.samples.map((sample, b) => sample.uniformsAt(draws[b], step)) : [];
    const feeds = {
      ...this.inputs.feeds(process, times[step - 1], { positions: draws, uniforms }, config),
      ...placed?.feeds,
      ...drawn?.feeds,
    };
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
    const { shape } = this;
    const width = this.model.config.model.embeddingSize;
    const predicted = outputs.x0?.data as Float32Array | undefined;
    const x0 = predicted && (await this.clamped(predicted));
    const probability = outputs.probability?.data as Float32Array | undefined;
    const likeliest = outputs.likeliest?.data as BigInt64Array | undefined;
    const { selfCondition } = this.inputs;
    if (selfCondition) {
      const embedding = outputs.embedding.data as Float32Array;
      if (placed) copyActiveRows(embedding, placed, width, selfCondition);
      else selfCondition.set(embedding);
    }
    const drawn = await this.drawnTokens(outputs, draws, step);
    let last = performance.now();
    for (const [b, sample] of this.samples.entries()) {
      const from = b * shape.length;
      const to = from + sample.canvas.target.length;
      sample.advance(
        {
          drawn: drawn[b],
          x0: x0?.subarray(from * width, to * width) ?? null,
          likeliest: likeliest?.subarray(from, to) ?? null,
          probability: probability?.subarray(from, to) ?? null,
        },
        step,
        this.look,
      );
      // The caller's event loop gets a turn between samples.
      if (performance.now() - last > 20) {
        await new Promise<void>((resolve) => setTimeout(resolve));
        last = performance.now();
      }
    }
  }

  /** The tokens of every sample, drawn in the graph or here. */
  private async drawnTokens(
    outputs: Readonly<Record<string, TensorData>>,
    draws: readonly (readonly number[])[],
    step: number,
  ): Promise<DrawnTokens[]> {
    const { drawnToken, drawnProbability } = outputs;
    if (drawnToken) {
      let end = 0;
      return draws.map((positions) => {
        const first = end;
        end += positions.length;
        const ids = Int32Array.from((drawnToken.data as BigInt64Array).subarray(first, end), Number);
        const confidence = (drawnProbability.data as Float32Array).subarray(first, end);
        return { positions, ids, confidence, scores: null };
      });
    }
    const drawing = this.samples.map((sample, b) => sample.hostDraw(draws[b], step));
    const head = async (feeds: Readonly<Record<string, TensorData>>) => {
      const program = await this.loan("head", () => this.model.head());
      return (await this.model.run(program, feeds)).drawLogits;
    };
    await drawOnHost(drawing, logitsOf(outputs, this.setting.vocabSize, head), this.setting.vocabSize);
    return drawing.map(({ positions, tokens }) => ({ positions, ...tokens, scores: tokens }));
  }

  /** x0 [B*N, D], moved to the nearest codes when the configuration asks for it. */
  private async clamped(x0: Float32Array): Promise<Float32Array> {
    const { model, setting } = this;
    if (!setting.config.clamp) return x0;
    const width = model.config.model.embeddingSize;
    const all: TensorData = { dtype: "float32", shape: [x0.length / width, width], data: x0 };
    const nearest = await this.loan("nearest", () => model.nearestCode());
    for (const part of rowParts(all.shape[0], setting.vocabSize)) {
      const { code } = await model.run(nearest, { x0: rowsOf(all, part) });
      x0.set(code.data as Float32Array, part.first * width);
    }
    return x0;
  }

  /** Gives the programs back. */
  async release(): Promise<void> {
    if (this.released) return;
    this.released = true;
    await this.planning.held?.dispose();
    for (const program of this.programs.values()) await program.release();
  }
}

/** Of a step without a run of the network. */
const NO_PREDICTION: Prediction = {
  drawn: { positions: [], ids: new Int32Array(), confidence: new Float32Array(), scores: null },
  x0: null,
  likeliest: null,
  probability: null,
};

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
