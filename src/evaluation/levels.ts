/**
 * @file The network against the channel at single noise levels. How hard a level is depends on the noise, so a cross entropy means
 * little until it stands beside what the noisy codes say without a network:
 *
 *     channel alone: p(token | z) = softmax(log p(z | token) + log unigram);     gain = its nats - the network's, on the same noise
 *
 * An absorbed position says nothing, so there the channel is the unigram model; the masked limit knows no others.
 */
import type { RunConfig } from "../config/index.js";
import { type ExpertUse, ExpertUseCounter } from "../diffusion/expert-use.js";
import { forEachTargetOf, type NoisyRows } from "./noisy-rows.js";
import { RatioEstimate } from "./statistics.js";

/** Nats a token over some positions. Plain JSON. */
export interface Comparison {
  readonly tokens: number;
  readonly model: number;
  readonly channel: number;
  /** channel - model: what context adds. */
  readonly gain: number;
  /** Standard error of the gain over documents; null: one document cannot tell. */
  readonly gainError: number | null;
}

/** Plain JSON. */
export interface LevelResult {
  /** t. */
  readonly time: number;
  /** Share of the target positions that were absorbed. */
  readonly absorbedShare: number;
  /** All target positions; masked limit: the absorbed ones, since the others are seen. null: there were none. */
  readonly targets: Comparison | null;
  /** Soft absorbing process only, else null: the two kinds of positions apart. */
  readonly absorbed: Comparison | null;
  readonly gaussian: Comparison | null;
}

class Comparing {
  private readonly model = new RatioEstimate();
  private readonly channel = new RatioEstimate();
  private readonly gain = new RatioEstimate();

  /** Adds a token: its nats. */
  add(document: number, model: number, channel: number): void {
    this.model.add(document, model, 1);
    this.channel.add(document, channel, 1);
    this.gain.add(document, channel - model, 1);
  }

  result(): Comparison | null {
    const [model, channel, gain] = [this.model, this.channel, this.gain].map((r) => r.estimate());
    if (!model || !channel || !gain) return null;
    return {
      tokens: this.gain.size,
      model: model.mean,
      channel: channel.mean,
      gain: gain.mean,
      gainError: gain.standardError,
    };
  }
}

/** Runs all rows at each level. */
export async function compareLevels(
  config: RunConfig,
  noisy: NoisyRows,
  options: { levels: readonly number[]; signal?: AbortSignal; onBatch?: () => void },
): Promise<{ levels: LevelResult[]; experts: ExpertUse | null }> {
  const { levels, signal, onBatch = () => {} } = options;
  const { gaussian, absorbRate } = config.diffusion;
  const experts = new ExpertUseCounter();
  const results: LevelResult[] = [];
  for (const time of levels) {
    const kinds = { targets: new Comparing(), absorbed: new Comparing(), gaussian: new Comparing() };
    let targets = 0;
    let gone = 0;
    for await (const batch of noisy.pass({ time, weighting: "unweighted", baseline: true, signal })) {
      const { rows, nll, baseline, outputs } = batch;
      forEachTargetOf(batch, (document, _b, _position, at, absorbed) => {
        targets++;
        gone += Number(absorbed);
        if (gaussian || absorbed) kinds.targets.add(document, nll[at], baseline![at]);
        kinds[absorbed ? "absorbed" : "gaussian"].add(document, nll[at], baseline![at]);
      });
      experts.add(
        rows.map(() => time),
        outputs,
      );
      onBatch();
    }
    const apart = gaussian && absorbRate > 0;
    results.push({
      time,
      absorbedShare: targets === 0 ? 0 : gone / targets,
      targets: kinds.targets.result(),
      absorbed: apart ? kinds.absorbed.result() : null,
      gaussian: apart ? kinds.gaussian.result() : null,
    });
  }
  return { levels: results, experts: experts.result() };
}
