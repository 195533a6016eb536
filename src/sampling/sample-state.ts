/**
 * @file One sample on its way from noise to text: its tokens, what is absorbed, what is settled, and how a prediction moves it.
 * All arrays have the canvas's own n positions, and random numbers belong to (seed, stream, sample, step, position): neither the
 * batch a sample runs in nor its padding can reach it.
 */
import type { GenerationConfig } from "../config/index.js";
import type { SpecialIds } from "../data/tokenizer.js";
import { UserError } from "../errors.js";
import { type CounterRandom, Stream } from "../random/index.js";
import { type Canvas, countTargets } from "./canvas.js";
import { createSolver, type Solver } from "./dpm-solver.js";
import { Reabsorption } from "./reabsorption.js";
import { RepetitionControl } from "./repetition.js";
import { RowSampler, roundLogits } from "./rounding.js";
import { releasesBlindly, type Sampler } from "./sampling-settings.js";
import type { SamplingProcess } from "./sampling-times.js";
import type { Keeping } from "./step-rows.js";
import { startAbsorbed, startState, stepGaussian } from "./steppers.js";
import {
  type DrawnScores,
  type ReleaseContext,
  type ReleasePolicy,
  releaseAbsorbed,
  releaseScores,
} from "./steppers-release.js";
import { TokenDraw } from "./token-draw.js";

/** What all samples of a run share. */
export interface SampleSetting {
  readonly process: SamplingProcess;
  /** Times t_0 = 1 .. t_S = 0. At the last step, everything still absorbed is released. */
  readonly times: Float64Array;
  readonly config: GenerationConfig;
  readonly sampler: Sampler;
  /** One token a step, from left to right: the model predicts a token from those before it. Default false. */
  readonly autoregressive?: boolean;
  /** Which keys and values are kept between steps. Default "none". */
  readonly keeping?: Keeping;
  readonly random: CounterRandom;
  /** Random numbers of step k are those of step firstStep + k; the start's are those of step firstStep. Default 0. */
  readonly firstStep?: number;
  readonly vocabSize: number;
  readonly special: SpecialIds;
  /** float32 [V, D] and [D]; null in the masked limit, which has no codes. */
  readonly codebook: Float32Array | null;
  readonly absorbing: Float32Array | null;
}

/** Memory of one sample inside a batch: views that the network's inputs are made of. */
export interface SampleMemory {
  /** int32 [n]: tokens of the row as the network sees them. */
  readonly ids: Int32Array;
  /** uint8 [n] */
  readonly absorbed: Uint8Array;
  /** float32 [n, D]; empty in the masked limit. */
  readonly z: Float32Array;
}

/** What the network predicts for one sample. */
export interface Prediction {
  readonly drawn: DrawnTokens;
  /** float32 [n, D]; null in the masked limit. */
  readonly x0: Float32Array | null;
  /** int64 [n] and float32 [n]: the likeliest tokens and their probabilities, 0 where nothing is predicted; null where nobody looks. */
  readonly likeliest: BigInt64Array | null;
  readonly probability: Float32Array | null;
}

/** Tokens drawn with the numbers of `uniformsAt`, and what the model thinks of them. */
export interface DrawnTokens {
  /** Those asked for by `positionsToDraw`, R of them. */
  readonly positions: readonly number[];
  /** int32 [R] */
  readonly ids: Int32Array;
  /** float32 [R] */
  readonly confidence: Float32Array;
  /** null: nothing is released by them. */
  readonly scores: DrawnScores | null;
}

/** A token counts as settled in a Gaussian process when its probability reaches this. */
const SETTLED_FROM = 0.9;

export class SampleState {
  /** int32 [n]: the best guess at every position; given tokens from the start. */
  readonly guess: Int32Array;
  /** uint8 [n]: masked limit: written (for good, unless generation.reabsorb takes it back); Gaussian processes: the guess is all but certain. Given positions are 1. */
  readonly settled: Uint8Array;
  /** float32 [n]: probability of the guess when it was made; 1 where given. */
  readonly probability: Float32Array;
  /** Steps done. */
  steps = 0;
  /** Whether the text is done: after the last step, or settled before (generation.earlyStop). From then on it is frozen. */
  finished = false;
  /** Positions that are written. */
  readonly targets: number;
  private readonly target: Uint8Array;
  private readonly solver: Solver | undefined;
  private readonly reabsorption: Reabsorption | null;
  private readonly repetition: RepetitionControl | null;

  /** @param sequence number of the sample */
  constructor(
    readonly canvas: Canvas,
    readonly sequence: number,
    private readonly setting: SampleSetting,
    private readonly memory: SampleMemory,
  ) {
    this.target = canvas.target;
    this.targets = countTargets(canvas);
    const { solverMethod, order, reabsorb, confidenceThreshold, noiseTemperature } = setting.config;
    this.solver = setting.sampler === "dpm-solver++" ? createSolver(solverMethod, order) : undefined;
    this.reabsorption =
      reabsorb > 0 ? new Reabsorption(reabsorb, confidenceThreshold, this.target.length) : null;
    this.repetition = RepetitionControl.wanted(setting.config)
      ? new RepetitionControl(canvas, setting.special, setting.config)
      : null;
    this.guess = canvas.row.ids.slice();
    this.settled = canvas.target.map((flag) => 1 - flag);
    this.probability = Float32Array.from(this.settled);
    const { process, random, absorbing, firstStep: step } = setting;
    const start = { process, absorbed: memory.absorbed, target: this.target, random, sequence, step };
    if (absorbing) startState({ ...start, z: memory.z, m: absorbing, noiseTemperature });
    else startAbsorbed(start);
  }

  /**
   * Positions at which step number `step` draws tokens, ascending: those it releases, or may release by their score; all targets where a
   * Gaussian process reads off its text and must not repeat itself.
   */
  positionsToDraw(step: number): number[] {
    const { absorbed } = this.memory;
    if (this.finished) return [];
    if (this.readsOff(step)) return Array.from(this.target.keys()).filter((p) => this.target[p] === 1);
    if (this.blind) {
      const extra = this.unsure(step).length;
      return releaseAbsorbed(this.releaseContext(step, absorbed.slice()), { ...this.policy(), extra });
    }
    return Array.from(absorbed.keys()).filter((p) => absorbed[p] === 1);
  }

  /**
   * Goes from t_{step - 1} to t_step.
   * @param look whether somebody will look at guess, settled and probability (else they are right only after the last step)
   */
  advance(prediction: Prediction, step: number, look: boolean): void {
    if (this.finished) return;
    const { absorbed } = this.memory;
    const watched = this.setting.absorbing !== null && this.setting.config.earlyStop === "on";
    const before = watched ? this.guess.slice() : null;
    const last = step === this.setting.times.length - 1;
    const { drawn } = prediction;
    if (drawn.confidence.some(Number.isNaN)) throw brokenWeights();
    const context = this.releaseContext(step, absorbed);
    const unsure = this.unsure(step);
    if (!this.setting.absorbing) {
      const extra = unsure.length;
      const released = releaseAbsorbed(context, { ...this.policy(drawn), extra });
      this.reabsorption?.record(unsure, released.length);
    } else if (last) absorbed.fill(0);
    else this.move(context, prediction, drawn);
    if (look || last || watched) this.takeGuesses(prediction);
    // What was drawn and released stands where no guess does: for good in the masked limit.
    for (const [i, p] of drawn.positions.entries()) {
      if (absorbed[p] === 1) continue;
      this.guess[p] = drawn.ids[i];
      this.probability[p] = drawn.confidence[i];
    }
    this.settle(drawn, last);
    this.takeBack(unsure);
    this.steps = step;
    this.finished = last || this.isSettled(before);
    if (this.finished) this.settled.fill(1);
  }

  /** Whether step number `step` reads the text of a Gaussian process off its prediction, token by token. */
  private readsOff(step: number): boolean {
    const { absorbing, times } = this.setting;
    return absorbing !== null && this.repetition !== null && step === times.length - 1;
  }

  /** Whether no further step is wanted. before: int32 [n], the guesses before this step, where a Gaussian process may stop. */
  private isSettled(before: Int32Array | null): boolean {
    const { absorbing, config } = this.setting;
    if (this.setting.autoregressive && config.earlyStop !== "off" && this.ended) return true;
    if (this.memory.absorbed.includes(1)) return false;
    if (!absorbing) return config.earlyStop !== "off" || (this.setting.autoregressive ?? false);
    // At full noise the guesses stand still too, as nothing is known; hence the probability. What must not repeat is known at the end.
    return (
      before !== null &&
      this.repetition === null &&
      this.guess.every((id, p) => id === before[p]) &&
      this.confidence >= SETTLED_FROM
    );
  }

  /** Whether the end of the text is written. */
  private get ended(): boolean {
    const { canvas, guess, settled, setting } = this;
    const end = guess.indexOf(setting.special.sep, canvas.endFrom);
    return end >= 0 && settled[end] === 1;
  }

  /** Mean probability of the guesses at the targets, as far as there are any: left to right, what is not written has none. */
  get confidence(): number {
    let sum = 0;
    let count = 0;
    for (let p = 0; p < this.target.length; p++) {
      if (this.target[p] === 0 || this.probability[p] === 0) continue;
      sum += this.probability[p];
      count++;
    }
    return count === 0 ? 0 : sum / count;
  }

  /** Gaussian processes: the state moves; released positions join it at the code of a drawn token. */
  private move(context: ReleaseContext, { x0 }: Prediction, drawn: DrawnTokens): void {
    const { sampler, config, absorbing } = this.setting;
    stepGaussian(
      { ...context, m: absorbing!, x0: x0!, drawn: this.codesOf(drawn), z: this.memory.z },
      {
        ...this.policy(drawn),
        sampler,
        eta: config.eta,
        noiseTemperature: config.noiseTemperature,
        solver: this.solver,
      },
    );
  }

  /** The likeliest tokens, wherever nothing is written for good. */
  private takeGuesses({ likeliest, probability }: Prediction): void {
    if (!likeliest || !probability) return;
    const final = this.setting.absorbing === null;
    for (let p = 0; p < this.target.length; p++) {
      if (this.target[p] === 0 || probability[p] === 0 || (final && this.settled[p] === 1)) continue;
      if (Number.isNaN(probability[p])) throw brokenWeights();
      this.guess[p] = Number(likeliest[p]);
      this.probability[p] = probability[p];
    }
  }

  private settle({ positions }: DrawnTokens, last: boolean): void {
    const { absorbed, ids } = this.memory;
    if (this.setting.absorbing) {
      for (let p = 0; p < this.target.length; p++)
        if (this.target[p] === 1)
          this.settled[p] = Number(last || (absorbed[p] === 0 && this.probability[p] >= SETTLED_FROM));
      return;
    }
    for (const p of positions) {
      if (absorbed[p] === 1) continue;
      ids[p] = this.guess[p];
      this.settled[p] = 1;
    }
  }

  /** Written tokens that step number `step` takes back, ascending. */
  private unsure(step: number): number[] {
    if (!this.reabsorption || step === this.setting.times.length - 1) return [];
    const { target, probability } = this;
    return this.reabsorption.choose({ target, absorbed: this.memory.absorbed, probability });
  }

  /** Back to the absorbing state; the guess stays as long as there is no better one. */
  private takeBack(positions: readonly number[]): void {
    const { absorbed, ids } = this.memory;
    for (const p of positions) {
      absorbed[p] = 1;
      ids[p] = this.canvas.row.ids[p];
      this.settled[p] = 0;
    }
  }

  private releaseContext(step: number, absorbed: Uint8Array): ReleaseContext {
    const { process, times, random } = this.setting;
    const [t, s] = [times[step - 1], times[step]];
    const { target, sequence } = this;
    return { process, t, s, absorbed, target, random, sequence, step: this.counter(step) };
  }

  /** The number that random numbers of step `step` are addressed by. */
  private counter(step: number): number {
    return (this.setting.firstStep ?? 0) + step;
  }

  /** Whether positions are released whatever tokens they take. */
  private get blind(): boolean {
    const { autoregressive, config } = this.setting;
    return releasesBlindly({ objective: autoregressive ? "next-token" : "denoising" }, config);
  }

  private policy(drawn?: DrawnTokens): ReleasePolicy {
    const { autoregressive, config } = this.setting;
    const { release, confidenceThreshold } = config;
    if (autoregressive) return { release: "left-to-right", count: 1 };
    if (this.blind || !drawn?.scores) return { release };
    const score = new Float32Array(this.target.length);
    const scores = releaseScores(release, drawn.scores);
    for (const [i, p] of drawn.positions.entries()) score[p] = scores[i];
    return { release, score, threshold: Math.log(confidenceThreshold) };
  }

  /** The numbers in [0, 1) that step number `step` draws tokens with, at these positions. */
  uniformsAt(positions: readonly number[], step: number): Float32Array {
    const uniforms = new Float32Array(this.target.length);
    this.setting.random.fillUniform(uniforms, Stream.Draw, this.sequence, this.counter(step));
    return Float32Array.from(positions, (p) => uniforms[p]);
  }

  /** Draws on the host what step number `step` draws at these positions. */
  hostDraw(positions: readonly number[], step: number): TokenDraw {
    const { config, vocabSize, times } = this.setting;
    const { temperature, topK, topP } = config;
    const options = { temperature, topK, topP };
    const { repetition } = this;
    const gaussian = this.setting.absorbing !== null;
    const last = step === times.length - 1;
    const uniforms = this.uniformsAt(positions, step);
    // Tokens that a Gaussian process draws on its way do not stay.
    if (!repetition || (gaussian && !last)) {
      let row: RowSampler | undefined;
      return new TokenDraw(positions, uniforms, (_, logits, own) => {
        row ??= new RowSampler(vocabSize);
        return roundLogits(logits, vocabSize, own, options, row);
      });
    }
    // At its end the likeliest tokens are read off, where nothing is known yet but what was given.
    repetition.read(gaussian ? { ids: this.memory.ids, absorbed: this.target } : this.memory);
    const chosen = gaussian ? { temperature: 0 } : options;
    const allStay = this.blind || last;
    return new TokenDraw(positions, uniforms, (some, logits, own) =>
      repetition.round(some, logits, own, chosen, allStay),
    );
  }

  /** Codes of drawn tokens: float32 [n, D], zeros where none was drawn. */
  private codesOf({ positions, ids }: DrawnTokens): Float32Array {
    const { codebook, absorbing } = this.setting;
    const width = absorbing!.length;
    const codes = new Float32Array(this.target.length * width);
    for (const [i, p] of positions.entries())
      codes.set(codebook!.subarray(ids[i] * width, (ids[i] + 1) * width), p * width);
    return codes;
  }
}

const brokenWeights = () =>
  new UserError(
    "The network's logits are not finite: expected numbers, got NaN; the weights of the model are broken, take another checkpoint.",
  );
