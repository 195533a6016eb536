/**
 * @file One optimiser step: noise the rows, run the training graph once a micro-batch, update the parameters and the routers' biases.
 *
 * Row numbers decide everything random, so a step is a function of the parameters, the sampler's memory and the number of its first row.
 * Several ranks share the rows; gradients, losses, expert loads and what the time sampler hears are those of all of them.
 */
import type { RunConfig } from "../config/index.js";
import type { Row, RowSource } from "../data/index.js";
import { corruptRows } from "../diffusion/batch.js";
import { deadShare } from "../diffusion/expert-use.js";
import { evaluationModule, type LossTerm, lossTerms, trainingModule } from "../diffusion/modules.js";
import { isTarget } from "../diffusion/targets.js";
import { createTimeSampler, type TimeSampler } from "../diffusion/time-sampler.js";
import type { Communicator } from "../distributed/index.js";
import type { GraphModule, TensorData } from "../graph/index.js";
import { selectionBiasName, updatedSelectionBias } from "../model/experts/index.js";
import { type CounterRandom, Stream } from "../random/index.js";
import type { Device, Executable, ParameterStore } from "../runtime/index.js";
import { profileStep, type StepProfile } from "./profile.js";
import { type RowShare, rowShare } from "./row-share.js";
import { StepPrograms } from "./step-programs.js";
import { type MicroBatch, type StepSums, sumOfStep } from "./step-sums.js";

/** What one step did. Losses are means over the step's rows. */
export interface StepResult {
  readonly loss: number;
  readonly terms: Partial<Record<LossTerm, number>>;
  readonly gradNorm: number;
  /** false: the gradient was not finite and nothing was updated. */
  readonly applied: boolean;
  /** Load of each expert over the mean load, a row a layer; [] without experts. */
  readonly expertLoad: number[][];
  /** Share of each layer's experts that got less than a hundredth of an even load. */
  readonly deadExperts: number[];
  /** Mean entropy of each layer's router in nats. */
  readonly routerEntropy: number[];
}

export class TrainingStep {
  private prepared: { firstRow: number; batches: MicroBatch[] } | null = null;
  /** Selection biases by name, and where weights are averaged theirs. */
  private readonly biases: Map<string, Float32Array>;
  private readonly biasAverages: Map<string, Float32Array>;

  private constructor(
    private readonly config: RunConfig,
    private readonly rows: RowSource,
    private readonly random: CounterRandom,
    private readonly store: ParameterStore,
    private readonly device: Device,
    private readonly module: GraphModule,
    private readonly programs: StepPrograms,
    private readonly predictor: Executable | null,
    readonly timeSampler: TimeSampler,
    private readonly communicator: Communicator,
    private readonly share: RowShare,
    biases: Record<string, Float32Array>,
    biasAverages: Record<string, Float32Array>,
  ) {
    this.biases = new Map(Object.entries(biases));
    this.biasAverages = new Map(Object.entries(biasAverages));
  }

  static async create(
    config: RunConfig,
    rows: RowSource,
    random: CounterRandom,
    device: Device,
    store: ParameterStore,
  ): Promise<TrainingStep> {
    const { communicator } = device;
    const share = rowShare(config.training, communicator);
    const shape = {
      batchSize: share.batchSize,
      length: config.training.sequenceLength,
      ...rows.slots,
    };
    const module = trainingModule(config, shape, config.training.activationCheckpointing);
    const programs = await StepPrograms.create(module, config, device);
    const predictor = config.model.selfConditioning
      ? await device.compile(evaluationModule(config, shape))
      : null;
    const names = Array.from({ length: config.model.numLayers }, (_, layer) =>
      selectionBiasName(config.model, `layers.${layer}`),
    ).filter((name) => name !== null);
    const biases = names.length > 0 ? await store.read("value", names) : {};
    const averages =
      names.length > 0 && config.training.emaDecay !== null ? await store.read("ema", names) : {};
    const sampler = createTimeSampler(config.diffusion, random);
    return new TrainingStep(
      config,
      rows,
      random,
      store,
      device,
      module,
      programs,
      predictor,
      sampler,
      communicator,
      share,
      biases,
      averages,
    );
  }

  /** Rows one step consumes, over all ranks. */
  get rowsPerStep(): number {
    return this.share.rows;
  }

  /**
   * Reads the rows of the step whose first row is number `firstRow` and draws their noise, unless that has been done. `run` does it
   * too: called before, what fails here (texts that can no longer be read) fails while nothing has changed.
   */
  read(firstRow: number): readonly MicroBatch[] {
    if (this.prepared?.firstRow !== firstRow) this.prepared = this.prepare(firstRow);
    return this.prepared.batches;
  }

  /** Runs the step whose first row is number `firstRow`. `step` counts from 1. */
  async run(firstRow: number, step: number, learningRate: number): Promise<StepResult> {
    const { emaDecay, beta1, beta2, epsilon, weightDecay, maxGradNorm } = this.config.training;
    const batches = this.read(firstRow);
    const outputs: Record<string, TensorData>[] = [];
    await this.store.zeroGradients();
    for (const [i, { rows, feeds }] of batches.entries()) {
      const complete = await this.withSelfCondition(rows, feeds);
      const last = i === batches.length - 1;
      const running = this.programs.run(this.feedsFor(complete, rows), this.store, last);
      if (last) this.readAhead(firstRow + this.rowsPerStep);
      outputs.push(await running);
    }
    const { gradNorm, applied } = await this.store.step({
      learningRate,
      beta1,
      beta2,
      epsilon,
      weightDecay,
      maxGradNorm,
      step,
      emaDecay: emaDecay === null ? null : averageDecay(emaDecay, step),
      noDecay: this.undecayed,
      gradientScale: this.share.batchSize / this.share.rows,
    });
    const wantsLosses = this.config.diffusion.timeSampler === "loss-aware";
    const sums = await sumOfStep(batches, outputs, this.share, this.communicator, wantsLosses);
    this.timeSampler.observe(sums.times, sums.losses);
    if (applied) await this.balance(sums.loads, step);
    return this.summarise(sums, outputs[0], gradNorm, applied);
  }

  /** Where the time of a step goes, measured on its first batch. Changes nothing that a step depends on. */
  async profile(firstRow: number): Promise<StepProfile> {
    const [{ rows, feeds }] = this.read(firstRow);
    const complete = await this.withSelfCondition(rows, feeds);
    return profileStep(this.module, this.feedsFor(complete, rows), this.device, this.store);
  }

  /** The next step's rows and noise, while the worker computes: unless the noise depends on this step's losses, or they cannot be read. */
  private readAhead(firstRow: number): void {
    if (this.config.diffusion.timeSampler === "loss-aware") return;
    try {
      this.read(firstRow);
    } catch {
      // Said when that step comes, if it does: this one has its rows.
    }
  }

  private prepare(firstRow: number): { firstRow: number; batches: MicroBatch[] } {
    const { batchSize, batches: count, first } = this.share;
    const batches = Array.from({ length: count }, (_, k) => {
      const start = firstRow + first + k * batchSize;
      const rows = Array.from({ length: batchSize }, (__, b) => this.rows.row(start + b));
      const feeds = corruptRows(rows, this.config, this.random, {
        maxGlobals: this.rows.maxGlobals,
        timeSampler: this.timeSampler,
      });
      const times = Array.from(feeds.time.data as Float32Array);
      return { rows, feeds, times, targets: rowShares(feeds.given, feeds.segment) };
    });
    return { firstRow, batches };
  }

  private get undecayed(): string[] {
    return this.store.specs.filter((s) => s.shape.length < 2).map((s) => s.name);
  }

  /** The feeds that training asks for; dropout masks are drawn here. */
  private feedsFor(feeds: Record<string, TensorData>, rows: readonly Row[]): Record<string, TensorData> {
    // Sites are counted by themselves: which other inputs a graph has depends on the device.
    let site = 0;
    return Object.fromEntries(
      this.programs.inputs.map(({ name, shape }) => [
        name,
        feeds[name] ?? this.dropoutMask(site++, shape as number[], rows),
      ]),
    );
  }

  /** 0 with probability `dropout`, else 1 / (1 - dropout): float32 [B * N, hidden], every row from its own counter. */
  private dropoutMask(site: number, shape: readonly number[], rows: readonly Row[]): TensorData {
    const { dropout } = this.config.model;
    const data = new Float32Array(shape[0] * shape[1]);
    const perRow = data.length / rows.length;
    for (const [b, row] of rows.entries()) {
      const part = data.subarray(b * perRow, (b + 1) * perRow);
      this.random.fillUniform(part, Stream.Dropout, row.sequence, site);
      for (let i = 0; i < part.length; i++) part[i] = part[i] < dropout ? 0 : 1 / (1 - dropout);
    }
    return { dtype: "float32", shape, data };
  }

  /** Half of the rows get the model's own prediction as an input, the others zeros (Analog Bits, arXiv 2208.04202). */
  private async withSelfCondition(
    rows: readonly Row[],
    feeds: Record<string, TensorData>,
  ): Promise<Record<string, TensorData>> {
    if (!this.predictor) return feeds;
    const { embeddingSize } = this.config.model;
    const shape = [...feeds.ids.shape, embeddingSize];
    const perRow = shape[1] * embeddingSize;
    const selfCondition = { dtype: "float32" as const, shape, data: new Float32Array(rows.length * perRow) };
    const chosen = rows.map((row) => this.random.uniform(Stream.SelfCondition, row.sequence, 0, 0) < 0.5);
    if (chosen.includes(true)) {
      const all: Record<string, TensorData> = { ...feeds, selfCondition };
      const wanted = this.predictor.program.inputs.map(({ name }) => [name, all[name]]);
      const { embedding } = await this.predictor.run(Object.fromEntries(wanted), { parameters: this.store });
      for (const [b, yes] of chosen.entries())
        if (yes)
          selfCondition.data.set(
            (embedding.data as Float32Array).subarray(b * perRow, (b + 1) * perRow),
            b * perRow,
          );
    }
    return { ...feeds, selfCondition };
  }

  private summarise(
    { loss, terms, entropy, loads }: StepSums,
    names: Readonly<Record<string, TensorData>>,
    gradNorm: number,
    applied: boolean,
  ): StepResult {
    const batches = this.share.rows / this.share.batchSize;
    const present = lossTerms.flatMap((term, i) => (names[term] ? [[term, terms[i] / batches]] : []));
    const experts = loads.length / Math.max(1, entropy.length);
    const expertLoad = Array.from(entropy, (_, layer) => {
      const load = loads.subarray(layer * experts, (layer + 1) * experts);
      const average = load.reduce((a, b) => a + b, 0) / load.length;
      return Array.from(load, (count) => (average === 0 ? 0 : count / average));
    });
    return {
      loss: loss[0] / batches,
      terms: Object.fromEntries(present),
      gradNorm,
      applied,
      expertLoad,
      deadExperts: expertLoad.map(deadShare),
      routerEntropy: Array.from(entropy, (sum) => sum / this.share.rows),
    };
  }

  /** The loss-free balance: selection biases move against the loads of this step [L * E], and their averages after them. */
  private async balance(loads: Float64Array, step: number): Promise<void> {
    if (this.biases.size === 0) return;
    const { emaDecay } = this.config.training;
    const { numExperts, balanceUpdate } = this.config.model.experts;
    for (const [layer, [name, bias]] of [...this.biases.entries()].entries()) {
      const load = loads.subarray(layer * numExperts, (layer + 1) * numExperts);
      const moved = updatedSelectionBias(bias, load, balanceUpdate);
      this.biases.set(name, moved);
      const average = this.biasAverages.get(name);
      if (!average || emaDecay === null) continue;
      const rate = 1 - averageDecay(emaDecay, step);
      for (let e = 0; e < moved.length; e++) average[e] += rate * (moved[e] - average[e]);
    }
    await this.store.write("value", Object.fromEntries(this.biases));
    if (this.biasAverages.size > 0) await this.store.write("ema", Object.fromEntries(this.biasAverages));
  }
}

/** The decay of the average at a step: short while there is little to average, so that the start is soon forgotten. */
const averageDecay = (decay: number, step: number): number => Math.min(decay, (1 + step) / (10 + step));

/** 1 / targets of the row at its target positions, 0 elsewhere: [B * N]. */
function rowShares(given: TensorData, segment: TensorData): Float32Array {
  const [rows, length] = given.shape;
  const shares = new Float32Array(rows * length);
  for (let b = 0; b < rows; b++) {
    let count = 0;
    for (let p = b * length; p < (b + 1) * length; p++) {
      shares[p] = Number(isTarget(Number(given.data[p]), Number(segment.data[p])));
      count += shares[p];
    }
    for (let p = b * length; p < (b + 1) * length; p++) shares[p] /= Math.max(1, count);
  }
  return shares;
}
