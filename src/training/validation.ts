/**
 * @file Validation: the loss on held-out rows with noise that never changes, so that two numbers differ by the model alone.
 *
 * In the masked limit the weights are the bound's, and nats over bytes give bits per byte: an upper bound on what the model needs to
 * encode the text.
 *
 * Several ranks take its batches in turn: a rank that waited instead would compute nothing in that time.
 */
import type { RunConfig } from "../config/index.js";
import type { Row, RowSource, Tokenizer } from "../data/index.js";
import { corruptRows } from "../diffusion/batch.js";
import { lossOfRows } from "../diffusion/batch-loss.js";
import { type ExpertUse, ExpertUseCounter } from "../diffusion/expert-use.js";
import { evaluationModule, type LossTerm, lossTerms } from "../diffusion/modules.js";
import { padRows } from "../diffusion/padding.js";
import { forEachTarget } from "../diffusion/targets.js";
import { createTimeSampler, type TimeSampler } from "../diffusion/time-sampler.js";
import { type Communicator, sumOverRanks } from "../distributed/index.js";
import type { TensorData } from "../graph/index.js";
import { CounterRandom } from "../random/index.js";
import type { Device, Executable, ParameterStore } from "../runtime/index.js";
import { rowShare } from "./row-share.js";
import { VALIDATION_SEED } from "./validation-seed.js";

export interface ValidationResult {
  readonly sequences: number;
  /**
   * Mean over rows, as in training (router terms included), but in the masked limit with the bound's weights, whatever
   * `diffusion.lossWeighting` is: not to be held against a training loss. (Left to right, both count each target once.)
   */
  readonly loss: number;
  readonly terms: Partial<Record<LossTerm, number>>;
  /** Mean negative log likelihood of target tokens in nats; masked limit: of absorbed ones. */
  readonly crossEntropy: number;
  /** Masked limit: bound on the negative log likelihood, nats a token and bits a byte. */
  readonly boundNats?: number;
  readonly bitsPerByte?: number;
  /** How the experts are used, by quarters of the noise levels; null without experts. */
  readonly experts: ExpertUse | null;
}

const QUARTERS = [0.125, 0.375, 0.625, 0.875];
/** The middle of the quarter of [0, 1] that a noise level lies in. */
const quarterOf = (time: number): number => QUARTERS[Math.min(3, Math.floor(4 * time))];

export class Validation {
  private readonly random = new CounterRandom(VALIDATION_SEED);
  private readonly times: TimeSampler;

  private constructor(
    private readonly config: RunConfig,
    private readonly rows: RowSource,
    private readonly tokenizer: Pick<Tokenizer, "countBytes">,
    private readonly program: Executable,
    private readonly batchSize: number,
    private readonly communicator: Communicator,
  ) {
    const { minTime } = config.diffusion;
    this.times = createTimeSampler({ timeSampler: "low-discrepancy", minTime }, this.random);
  }

  static async create(
    config: RunConfig,
    rows: RowSource,
    tokenizer: Pick<Tokenizer, "countBytes">,
    device: Device,
  ): Promise<Validation> {
    const { communicator } = device;
    const { batchSize } = rowShare(config.training, communicator);
    const shape = { batchSize, length: config.training.sequenceLength, ...rows.slots };
    const program = await device.compile(evaluationModule(config, shape));
    return new Validation(config, rows, tokenizer, program, batchSize, communicator);
  }

  /** How many validation rows there are of so many asked for. */
  rowsOf(sequences: number): number {
    return Math.min(sequences, this.rows.rowsInEpoch());
  }

  /** Evaluates the first `sequences` validation rows, in their own order (all of them when there are fewer). With several ranks: collective. */
  async run(
    store: ParameterStore,
    options: { sequences: number; slot?: "value" | "ema"; signal?: AbortSignal },
  ): Promise<ValidationResult> {
    const { batchSize, communicator } = this;
    const { sequenceLength } = this.config.training;
    const masked = !this.config.diffusion.gaussian;
    const count = this.rowsOf(options.sequences);
    const own = { loss: 0, nll: 0, counted: 0, boundNats: 0, targets: 0, bytes: 0 };
    const ownTerms = new Float64Array(lossTerms.length);
    const experts = new ExpertUseCounter();
    for (let first = communicator.rank * batchSize; first < count; first += communicator.size * batchSize) {
      options.signal?.throwIfAborted();
      const rows = Array.from({ length: Math.min(batchSize, count - first) }, (_, i) =>
        this.rows.row(first + i),
      );
      const padded = padRows(rows, sequenceLength, batchSize);
      const feeds = this.corrupt(padded);
      const outputs = await this.program.run(
        Object.fromEntries(this.program.program.inputs.map(({ name }) => [name, feeds[name]])),
        { parameters: store, slot: options.slot ?? "ema" },
      );
      const { loss, terms } = lossOfRows(this.config.model, outputs, rows.length);
      own.loss += loss * rows.length;
      for (const [i, term] of lossTerms.entries()) ownTerms[i] += ((terms[term] ?? 0) * rows.length) / count;
      const times = Array.from(feeds.time.data as Float32Array, quarterOf);
      experts.add(times.slice(0, rows.length), outputs);
      this.accumulate(rows, feeds, outputs.nll.data as Float32Array, own);
    }
    const names = Object.keys(own) as (keyof typeof own)[];
    const { numLayers, experts: routed } = this.config.model;
    const size = [numLayers, routed.numExperts] as const;
    const all = await sumOverRanks(communicator, {
      own: Object.values(own),
      terms: ownTerms,
      experts: experts.sums(QUARTERS, ...size),
    });
    const sums = Object.fromEntries(names.map((name, i) => [name, all.own[i]])) as typeof own;
    const known = new Set(this.program.program.outputs.map(({ name }) => name));
    const terms: Partial<Record<LossTerm, number>> = Object.fromEntries(
      lossTerms.flatMap((term, i) => (known.has(term) ? [[term, all.terms[i]]] : [])),
    );
    return {
      sequences: count,
      loss: sums.loss / count,
      terms,
      crossEntropy: sums.nll / sums.counted,
      experts: ExpertUseCounter.ofSums(all.experts, QUARTERS, ...size).result(),
      ...(masked
        ? { boundNats: sums.boundNats / sums.targets, bitsPerByte: sums.boundNats / Math.LN2 / sums.bytes }
        : {}),
    };
  }

  private corrupt(rows: readonly Row[]): Record<string, TensorData> {
    const feeds = corruptRows(rows, this.config, this.random, {
      maxGlobals: this.rows.maxGlobals,
      timeSampler: this.times,
      conditionDropout: 0,
      ...(this.config.diffusion.gaussian ? {} : { weighting: "elbo" as const }),
    });
    if (!this.config.model.selfConditioning) return feeds;
    const shape = [...feeds.ids.shape, this.config.model.embeddingSize];
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    return { ...feeds, selfCondition: { dtype: "float32", shape, data } };
  }

  /** Adds a batch's likelihoods. ceWeight holds w(t) / (targets of the row * rows): undo both divisors for sums over tokens. */
  private accumulate(
    rows: readonly Row[],
    feeds: Record<string, TensorData>,
    nll: Float32Array,
    sums: { nll: number; counted: number; boundNats: number; targets: number; bytes: number },
  ): void {
    const masked = !this.config.diffusion.gaussian;
    const weights = feeds.ceWeight.data as Float32Array;
    const targets: number[][] = rows.map(() => []);
    const weighted = new Float64Array(rows.length);
    forEachTarget({ rows, feeds }, (b, p, at, absorbed) => {
      targets[b].push(rows[b].ids[p]);
      if (masked && !absorbed) return;
      weighted[b] += weights[at] * nll[at];
      sums.nll += nll[at];
      sums.counted++;
    });
    for (const [b, own] of targets.entries()) {
      sums.boundNats += (weighted[b] * own.length * rows.length) / this.config.diffusion.ceWeight;
      sums.targets += own.length;
      sums.bytes += this.tokenizer.countBytes(Int32Array.from(own));
    }
  }
}
