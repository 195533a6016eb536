/**
 * @file One sample on its way from noise to text: its tokens, what is absorbed, what is settled, and how a prediction moves it.
 * All arrays have the canvas's own n positions, and random numbers belong to (seed, stream, sample, step, position): neither the
 * batch a sample runs in nor its padding can reach it.
 */
import type { GenerationConfig } from "../config/index.js";
import type { DiffusionProcess } from "../diffusion/process.js";
import { type CounterRandom, Stream } from "../random/index.js";
import type { Canvas } from "./canvas.js";
import { type RoundedTokens, roundLogits } from "./rounding.js";
import { startAbsorbed, startState, stepGaussian } from "./steppers.js";
import { type ReleaseContext, releaseAbsorbed } from "./steppers-release.js";

/** What all samples of a run share. */
export interface SampleSetting {
  readonly process: DiffusionProcess;
  /** Times t_0 = 1 .. t_S = 0. */
  readonly times: Float64Array;
  readonly config: GenerationConfig;
  /** Not "auto". */
  readonly sampler: "ancestral" | "ddim" | "absorbing";
  readonly random: CounterRandom;
  readonly vocabSize: number;
  /** [V, D] and [D]; null in the masked limit, which has no codes. */
  readonly codebook: Float32Array | null;
  readonly absorbing: Float32Array | null;
  /** Ids never drawn: inside the text, and where it may end. */
  readonly forbidden: { readonly inside: readonly number[]; readonly ending: readonly number[] };
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
  /** [n, V] */
  readonly logits: Float32Array;
  /** [n, D]; null in the masked limit. */
  readonly x0: Float32Array | null;
}

/** A token counts as settled in a Gaussian process when its probability reaches this. */
const SETTLED_FROM = 0.9;

export class SampleState {
  /** int32 [n]: the best guess at every position; given tokens from the start. */
  readonly guess: Int32Array;
  /** uint8 [n]: masked limit: written for good; Gaussian processes: the guess is all but certain. Given positions are 1. */
  readonly settled: Uint8Array;
  /** float32 [n]: probability of the guess when it was made; 1 where given. */
  readonly probability: Float32Array;
  private readonly target: Uint8Array;

  /** @param sequence number of the sample */
  constructor(
    readonly canvas: Canvas,
    readonly sequence: number,
    private readonly setting: SampleSetting,
    private readonly memory: SampleMemory,
  ) {
    this.target = canvas.target;
    this.guess = canvas.row.ids.slice();
    this.settled = canvas.target.map((flag) => 1 - flag);
    this.probability = Float32Array.from(this.settled);
    const { process, random, absorbing } = setting;
    const start = { process, absorbed: memory.absorbed, target: this.target, random, sequence };
    if (absorbing) startState({ ...start, z: memory.z, m: absorbing });
    else startAbsorbed(start);
  }

  /**
   * Goes from t_{step - 1} to t_step.
   * @param look whether somebody will look at guess, settled and probability (else they are right only after the last step)
   */
  advance(prediction: Prediction, step: number, look: boolean): void {
    if (this.setting.absorbing) this.advanceGaussian(prediction, step, look);
    else this.advanceMasked(prediction, step, look);
  }

  /** Mean probability of the guesses at the targets. */
  get confidence(): number {
    let sum = 0;
    let count = 0;
    for (let p = 0; p < this.target.length; p++) {
      if (this.target[p] === 0) continue;
      sum += this.probability[p];
      count++;
    }
    return sum / count;
  }

  /** Masked limit: released positions take a drawn token, for good. */
  private advanceMasked({ logits }: Prediction, step: number, look: boolean): void {
    const { ids, absorbed } = this.memory;
    const before = absorbed.slice();
    const drawn = this.drawReleased(logits, step);
    for (let p = 0; p < before.length; p++) {
      if (before[p] === 0 || absorbed[p] === 1) continue;
      ids[p] = drawn.ids[p];
      this.guess[p] = drawn.ids[p];
      this.probability[p] = drawn.confidence[p];
      this.settled[p] = 1;
    }
    if (look) this.guessAt(absorbed, logits);
  }

  /** Draws tokens where they are wanted and releases positions: [n], tokens at all released positions at least. */
  private drawReleased(logits: Float32Array, step: number): RoundedTokens {
    const { absorbed } = this.memory;
    const { release } = this.setting.config;
    if (release === "confidence") {
      const drawn = this.draw(logits, absorbed, step);
      releaseAbsorbed(this.releaseContext(step, absorbed), {
        release,
        confidence: drawn.confidence.map(Math.log),
      });
      return drawn;
    }
    const before = absorbed.slice();
    releaseAbsorbed(this.releaseContext(step, absorbed));
    return this.draw(
      logits,
      before.map((flag, p) => flag - absorbed[p]),
      step,
    );
  }

  /** Gaussian processes: the state moves; released positions join it at the code of a drawn token. */
  private advanceGaussian({ logits, x0 }: Prediction, step: number, look: boolean): void {
    const { setting, memory, target } = this;
    const { release, eta } = setting.config;
    const { absorbed, z } = memory;
    const last = step === setting.times.length - 1;
    const before = absorbed.slice();
    // Released positions depend on random numbers and confidence alone, so they can be known before the step is made.
    const after = absorbed.slice();
    let drawn: RoundedTokens;
    if (last || release === "confidence") drawn = this.draw(logits, before, step);
    else {
      releaseAbsorbed(this.releaseContext(step, after));
      drawn = this.draw(
        logits,
        before.map((flag, p) => flag - after[p]),
        step,
      );
    }
    if (last) absorbed.fill(0);
    else
      stepGaussian(
        {
          ...this.releaseContext(step, absorbed),
          m: setting.absorbing!,
          x0: x0!,
          drawn: this.codesOf(drawn.ids),
          z,
        },
        { sampler: setting.sampler, eta, release, confidence: drawn.confidence.map(Math.log) },
      );
    if (!look && !last) return;
    // Where the state says what stands there, the likeliest token is it: a draw would undo what the steps have settled.
    this.guessAt(
      target.map((flag, p) => (flag === 1 && (before[p] === 0 || !last) ? 1 : 0)),
      logits,
    );
    for (let p = 0; p < target.length; p++) {
      if (target[p] === 0) continue;
      if (last && before[p] === 1) {
        this.guess[p] = drawn.ids[p];
        this.probability[p] = drawn.confidence[p];
      }
      this.settled[p] = Number(
        last || (absorbed[p] === 0 && before[p] === 0 && this.probability[p] >= SETTLED_FROM),
      );
    }
  }

  private releaseContext(step: number, absorbed: Uint8Array): ReleaseContext {
    const { process, times, random } = this.setting;
    const [t, s] = [times[step - 1], times[step]];
    return { process, t, s, absorbed, target: this.target, random, sequence: this.sequence, step };
  }

  /** Takes the likeliest token as guess at the positions flagged in `where` [n]. */
  private guessAt(where: Uint8Array, logits: Float32Array): void {
    const { ids, confidence } = this.round(logits, where, new Float32Array(where.length), true);
    for (let p = 0; p < where.length; p++) {
      if (where[p] === 0) continue;
      this.guess[p] = ids[p];
      this.probability[p] = confidence[p];
    }
  }

  /** Draws tokens at the positions flagged in `where` [n]. */
  private draw(logits: Float32Array, where: Uint8Array, step: number): RoundedTokens {
    const uniforms = new Float32Array(where.length);
    this.setting.random.fillUniform(uniforms, Stream.Draw, this.sequence, step);
    return this.round(logits, where, uniforms, false);
  }

  /** Rounds the two stretches of the canvas that differ in what is forbidden. */
  private round(
    logits: Float32Array,
    where: Uint8Array,
    uniforms: Float32Array,
    likeliest: boolean,
  ): RoundedTokens {
    const { config, forbidden, vocabSize } = this.setting;
    const { temperature, topK, topP } = config;
    const n = where.length;
    const out = {
      ids: new Int32Array(n).fill(-1),
      confidence: new Float32Array(n),
      entropy: new Float32Array(n),
    };
    const stretches = [
      { start: 0, end: this.canvas.endFrom, forbidden: forbidden.inside },
      { start: this.canvas.endFrom, end: n, forbidden: forbidden.ending },
    ];
    for (const { start, end, forbidden: ids } of stretches) {
      const active = where.subarray(start, end);
      if (!active.includes(1)) continue;
      const part = roundLogits(
        logits.subarray(start * vocabSize, end * vocabSize),
        vocabSize,
        uniforms.subarray(start, end),
        { temperature: likeliest ? 0 : temperature, topK, topP, forbidden: ids, active },
      );
      out.ids.set(part.ids, start);
      out.confidence.set(part.confidence, start);
      out.entropy.set(part.entropy, start);
    }
    return out;
  }

  /** Codes of drawn tokens: [n, D], zeros where none was drawn (id -1). */
  private codesOf(ids: Int32Array): Float32Array {
    const { codebook, absorbing } = this.setting;
    const width = absorbing!.length;
    const codes = new Float32Array(ids.length * width);
    for (let p = 0; p < ids.length; p++)
      if (ids[p] >= 0) codes.set(codebook!.subarray(ids[p] * width, (ids[p] + 1) * width), p * width);
    return codes;
  }
}
