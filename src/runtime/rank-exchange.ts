/**
 * @file What goes between ranks in one optimiser step: gradients to be summed, and with a sharded optimiser the values that each rank has
 * updated. Straight from and into the parameter memory, one bucket at a time, or gradients of several at once.
 */
import type { Communicator } from "../distributed/index.js";
import type { Bucket, ParameterLayout } from "./parameter-layout.js";

/** Of one optimiser step. */
export class RankExchange {
  readonly #sums = new Map<Bucket, Promise<void>>();
  #last: Promise<void> = Promise.resolve();

  constructor(
    private readonly communicator: Communicator,
    private readonly layout: ParameterLayout,
    private readonly buffers: readonly ArrayBuffer[],
  ) {}

  /**
   * The bucket's gradients become sums over all ranks: all of them, or sharded, those that this rank updates. Once: asked again, it is
   * the same sum. Sums go one after the other, in the order they are first asked for, which must be the same on all ranks.
   */
  sumGradients(bucket: Bucket): Promise<void> {
    if (this.communicator.size === 1) return Promise.resolve();
    let sum = this.#sums.get(bucket);
    if (!sum) {
      sum = this.#last.then(() => this.#sum(bucket));
      sum.catch(() => {}); // whoever waits for it hears
      this.#sums.set(bucket, sum);
      this.#last = sum;
    }
    return sum;
  }

  /** Resolves when the sums that have begun are there, or have failed. */
  settled(): Promise<void> {
    return this.#last.catch(() => {});
  }

  /**
   * The same for several buckets, in the layout's order, while other programs are to run: without shards, buckets side by side are summed
   * at once. Each sum is begun by this thread when the one before has ended, and ONNX Runtime blocks it while it computes: of several
   * sums the first alone would travel meanwhile.
   */
  async sumGradientsAtOnce(buckets: readonly Bucket[]): Promise<void> {
    const runs: Bucket[][] = [];
    for (const bucket of buckets) {
      if (this.#sums.has(bucket)) continue;
      const last = runs.at(-1)?.at(-1);
      if (!this.layout.sharded && last?.block === bucket.block && last.end === bucket.start)
        runs.at(-1)!.push(bucket);
      else runs.push([bucket]);
    }
    for (const run of runs) {
      const sum = this.sumGradients(run.length === 1 ? run[0] : { ...run[0], end: run.at(-1)!.end });
      for (const bucket of run) this.#sums.set(bucket, sum);
    }
    await Promise.all(buckets.map((bucket) => this.sumGradients(bucket)));
  }

  async #sum(bucket: Bucket): Promise<void> {
    const gradients = this.layout.bucketView(this.buffers, "gradient", bucket);
    if (!this.layout.sharded) return this.communicator.allReduce(gradients);
    const own = this.layout.inbox(this.buffers, bucket);
    await this.communicator.reduceScatter(gradients, own);
    gradients.set(own, this.communicator.rank * own.length);
  }

  /** The sum over everything, given this rank's: without shards every rank has everything already. */
  async sumOverShards(value: number): Promise<number> {
    if (!this.layout.sharded) return value;
    const sum = Float64Array.of(value);
    await this.communicator.allReduce(sum);
    return sum[0];
  }

  /** The bucket's values, each updated by one rank, reach all. */
  async shareValues(bucket: Bucket): Promise<void> {
    if (this.layout.sharded)
      await this.communicator.allGather(this.layout.bucketView(this.buffers, "value", bucket));
  }
}
