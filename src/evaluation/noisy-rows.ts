/**
 * @file Held-out rows under noise that never changes, run through the network and through the channel alone: on the very same noise, so
 * that their difference is what the network adds.
 */
import type { RunConfig } from "../config/index.js";
import type { Row, RowSource } from "../data/index.js";
import {
  BatchBuffers,
  type CorruptionOptions,
  channelModule,
  corruptRows,
  evaluationModule,
  forEachTarget,
  padRows,
} from "../diffusion/index.js";
import type { GraphModule, TensorData } from "../graph/index.js";
import { CounterRandom } from "../random/index.js";
import type { Device, Executable, ParameterStore } from "../runtime/index.js";
import { VALIDATION_SEED } from "../training/validation-seed.js";

/** Seed of all evaluation noise, that of validation while training: equal rows, times and noise give equal numbers. */
const EVALUATION_SEED = VALIDATION_SEED;

/** What one batch of rows came to. B rows of N positions. */
export interface NoisyBatch {
  /** The rows themselves, without those that fill the batch up. */
  readonly rows: readonly Row[];
  /** Of which document each segment of a row is: `RowSource.documentsOf`. */
  readonly documents: readonly Int32Array[];
  /** What the network was fed. */
  readonly feeds: Readonly<Record<string, TensorData>>;
  /** What it yields: see `evaluationModule`. */
  readonly outputs: Readonly<Record<string, TensorData>>;
  /** Negative log likelihoods [B * N] in nats: the network's, and those of the channel alone where it was asked for. */
  readonly nll: Float32Array;
  readonly baseline: Float32Array | null;
}

export interface NoisyRowsOptions extends Omit<CorruptionOptions, "buffers" | "maxGlobals"> {
  /** Run the channel without a network too. Default: false. */
  readonly baseline?: boolean;
  readonly signal?: AbortSignal;
}

/** Visits the target positions of a batch: document, row, position in the row, place in [B * N], whether absorbed. */
export function forEachTargetOf(
  batch: Pick<NoisyBatch, "rows" | "documents" | "feeds">,
  visit: (document: number, b: number, position: number, at: number, absorbed: boolean) => void,
): void {
  forEachTarget(batch, (b, position, at, absorbed) =>
    visit(batch.documents[b][batch.rows[b].segment[position]], b, position, at, absorbed),
  );
}

export class NoisyRows {
  readonly random = new CounterRandom(EVALUATION_SEED);
  private readonly buffers = new BatchBuffers();

  private constructor(
    private readonly config: RunConfig,
    readonly source: RowSource,
    /** Rows that are looked at: the first ones. */
    readonly count: number,
    private readonly store: ParameterStore,
    private readonly network: Executable,
    private readonly channel: Executable,
  ) {}

  /**
   * @param sequences rows to look at; all of them when there are fewer
   * @param prepare what is done to the network's module before it is compiled. Default: nothing
   */
  static async create(
    config: RunConfig,
    source: RowSource,
    sequences: number,
    device: Device,
    store: ParameterStore,
    prepare: (module: GraphModule) => GraphModule = (module) => module,
  ): Promise<NoisyRows> {
    const { batchSize, sequenceLength } = config.training;
    const shape = { batchSize, length: sequenceLength, ...source.slots };
    const network = await device.compile(prepare(evaluationModule(config, shape)));
    const channel = await device.compile(channelModule(config, shape));
    const count = Math.min(sequences, source.rowsInEpoch());
    return new NoisyRows(config, source, count, store, network, channel);
  }

  /** Batches in one pass over the rows. */
  get batches(): number {
    return Math.ceil(this.count / this.config.training.batchSize);
  }

  /**
   * One pass. Conditions are never left out. With self-conditioning the network gets no earlier prediction.
   * A batch's feeds are overwritten by the next one.
   */
  async *pass({ baseline = false, signal, ...corruption }: NoisyRowsOptions): AsyncGenerator<NoisyBatch> {
    const { batchSize, sequenceLength } = this.config.training;
    for (let first = 0; first < this.count; first += batchSize) {
      signal?.throwIfAborted();
      const rows = Array.from({ length: Math.min(batchSize, this.count - first) }, (_, i) =>
        this.source.row(first + i),
      );
      const feeds = corruptRows(padRows(rows, sequenceLength, batchSize), this.config, this.random, {
        conditionDropout: 0,
        ...corruption,
        maxGlobals: this.source.maxGlobals,
        buffers: this.buffers,
      });
      if (this.config.model.selfConditioning) feeds.selfCondition = this.nothing(feeds.ids.shape);
      const outputs = await this.run(this.network, feeds);
      const alone = baseline ? await this.run(this.channel, feeds) : null;
      yield {
        rows,
        documents: rows.map((_, i) => this.source.documentsOf(first + i)),
        feeds,
        outputs,
        nll: outputs.nll.data as Float32Array,
        baseline: alone ? (alone.nll.data as Float32Array) : null,
      };
    }
  }

  private nothing(grid: readonly number[]): TensorData {
    const shape = [...grid, this.config.model.embeddingSize];
    const data = this.buffers.float32(
      "selfCondition",
      shape.reduce((a, b) => a * b, 1),
    );
    return { dtype: "float32", shape, data };
  }

  private run(program: Executable, feeds: Readonly<Record<string, TensorData>>) {
    const wanted = program.program.inputs.map(({ name }) => [name, feeds[name]]);
    return program.run(Object.fromEntries(wanted), { parameters: this.store, slot: "value" });
  }

  async dispose(): Promise<void> {
    await this.network.dispose();
    await this.channel.dispose();
  }
}
