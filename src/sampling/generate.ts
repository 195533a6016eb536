/**
 * @file `generate` and `generateSteps`: texts from requests, all at once or watched step by step.
 *
 *     const [{ text }] = await generate(model, { src: "..." });
 *     for await (const { samples, step, of } of generateSteps(model, [{ prompt: "We show" }])) console.log(step, of, samples[0].text);
 *
 * A text depends on the model, its request, the settings, the seed and its sample number; not on what else is written at the
 * same time, nor on batch size, padding and threads (as far as the device computes a row alike in every batch).
 */
import { checkObject, checkSignal } from "../config/check-object.js";
import type { GenerationConfig } from "../config/index.js";
import { show } from "../config/layers.js";
import { MOST } from "../config/limits.js";
import { UserError } from "../errors.js";
import { CounterRandom } from "../random/index.js";
import { CanvasBlocks } from "./blocks.js";
import { type Candidate, Candidates, type Choice } from "./candidates.js";
import { buildCanvas } from "./canvas.js";
import { checkCount } from "./check-request.js";
import type { DiffusionModel } from "./model.js";
import type { GenerationRequest } from "./request.js";
import type { ExpertLoad, SampleBatch } from "./sample-batch.js";
import type { SampleSetting } from "./sample-state.js";
import {
  chooseSampler,
  chooseTimes,
  type GenerationSettings,
  generationConfig,
} from "./sampling-settings.js";
import { SamplingProcess } from "./sampling-times.js";
import { chooseKeeping } from "./step-rows.js";
import { BlockText, writeBlocks } from "./write-blocks.js";

/** One text. */
export interface Generation {
  /** Number of its request, from 0. */
  readonly request: number;
  /** Number of the sample (see `firstSample`). */
  readonly sample: number;
  /** Given parts to the byte, what was written between them; without the source; cut where the model ended it. */
  readonly text: string;
  /** What was written, gap by gap. */
  readonly gaps: readonly string[];
  /** int32, tokens of the text. */
  readonly ids: Int32Array;
  /** Whether the text came to its end; false: the length ran out. */
  readonly ended: boolean;
  /** Steps it took: `steps` of the settings for each block, or fewer where it settled before (`earlyStop`). */
  readonly steps: number;
  /** Blocks it took (`blockLength`). */
  readonly blocks: number;
  /** How it was chosen among `candidates` of the settings; null: there was only one. */
  readonly choice: Choice | null;
}

/**
 * One sample as it stands after a step: `before + text` is the text so far. Where a text is written in blocks (`blockLength`), all but
 * `before` is about the current block alone, so that a step costs the same however long the text is. `before` is one string for all
 * steps of a block; at a block's last step, `before + text` is the next block's `before`.
 */
export interface SampleProgress {
  readonly request: number;
  readonly sample: number;
  /** The text in front of the current block, settled for good; "" in the first. Half a character at its end waits for the next block. */
  readonly before: string;
  /** int32 [n]: best guess at every position of the canvas; from the second block on, of the block. */
  readonly ids: Int32Array;
  /** uint8 [n]: 1 where the guess stands: for good in the masked limit (without `reabsorb`), else with a probability of 0.9 or more. */
  readonly settled: Uint8Array;
  /** Mean probability of the guesses; left to right, of the tokens written so far. */
  readonly confidence: number;
  /** The text of the block (the first: of the canvas), a placeholder for every token that is not settled. */
  readonly text: string;
}

export interface StepEvent {
  /** Steps done in this block, from 1. That of a block's last event says how many ran. */
  readonly step: number;
  /** Steps this block has, if no early stop comes before. */
  readonly of: number;
  /** Noise level reached: 0 after the last of them. */
  readonly time: number;
  /** Samples are written in batches, one after the other: which one this is, from 1. */
  readonly batch: number;
  readonly batches: number;
  /** The texts of a batch are written block by block (`blockLength`): which one this is, from 1. */
  readonly block: number;
  /** Blocks of the batch's longest text, if it does not end before (`untilEnd`). */
  readonly blocks: number;
  /** The samples that have this block: those whose text is done are left out. Empty where nobody looks (`StepOptions.samples`). */
  readonly samples: readonly SampleProgress[];
  /** [layer][expert], 1: even share; null without experts. */
  readonly expertLoad: ExpertLoad | null;
  /** Positions the network computed in this step: all of the samples', or (left to right, `cacheInterval`) some. A twin (guidance) is not counted. */
  readonly computed: number;
  /** Wall-clock time of this step. */
  readonly milliseconds: number;
  /** With the last step that runs: the texts of this batch, with `candidates` those whose candidates are all there now. Else empty. */
  readonly finished: readonly Generation[];
}

export interface GenerateOptions {
  /** Stops the run before its next step: the iteration throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Most samples in one batch. Default: as many as make 4,096 positions (2,048 with guidance), at least one. */
  readonly maxBatch?: number | undefined;
  /** Rows are padded to a multiple of this many positions, so that similar lengths share a compiled program. Default 64. */
  readonly lengthMultiple?: number | undefined;
}

export interface StepOptions extends GenerateOptions {
  /**
   * Whether steps tell of the samples as they stand. Default true. false: the network is not asked for guesses that nobody sees, nor run
   * in steps that draw nothing, as in `generate`; the texts are the same.
   */
  readonly samples?: boolean | undefined;
}

/** Positions in a batch, by default. */
const BATCH_POSITIONS = 4096;

interface Plan {
  readonly request: number;
  readonly blocks: CanvasBlocks;
  readonly sequence: number;
  /** Number of the text it is a candidate for, among all of the run. */
  readonly group: number;
}

/**
 * Writes the texts of all requests, `settings.num` for each, chosen among `settings.candidates`, and tells of every step.
 * @throws UserError for requests or settings that make no sense, before the first step
 */
export async function* generateSteps(
  model: DiffusionModel,
  requests: readonly GenerationRequest[],
  settings: GenerationSettings = {},
  options: StepOptions = {},
): AsyncGenerator<StepEvent, void, undefined> {
  if (!Array.isArray(requests))
    throw new UserError(
      "requests: expected a list of requests, got something else; pass one request as [request]",
    );
  checkObject("options", options, [...optionKeys, "samples"], "{ maxBatch: 8 }");
  const { samples = true, ...own } = options;
  if (typeof samples !== "boolean")
    throw new UserError(
      `options.samples: expected true or false, got ${show(samples)}; leave it out for true`,
    );
  yield* run(model, requests, settings, own, samples);
}

/**
 * The texts of one request or of several, in the order of requests and, for each, of samples. The same seed (`settings.seed`, default the
 * model's, 1) gives the same texts: pass another for others.
 * @throws UserError for requests or settings that make no sense; the signal's reason when it is aborted
 */
export function generate(
  model: DiffusionModel,
  request: GenerationRequest,
  settings?: GenerationSettings,
  options?: GenerateOptions,
): Promise<[Generation, ...Generation[]]>;
export function generate(
  model: DiffusionModel,
  requests: GenerationRequest | readonly GenerationRequest[],
  settings?: GenerationSettings,
  options?: GenerateOptions,
): Promise<Generation[]>;
export async function generate(
  model: DiffusionModel,
  request: GenerationRequest | readonly GenerationRequest[],
  settings: GenerationSettings = {},
  options: GenerateOptions = {},
): Promise<Generation[]> {
  const requests = Array.isArray(request)
    ? (request as readonly GenerationRequest[])
    : [request as GenerationRequest];
  const texts: Generation[] = [];
  for await (const { finished } of run(model, requests, settings, options, false)) texts.push(...finished);
  return texts.sort((a, b) => a.request - b.request || a.sample - b.sample);
}

const optionKeys: readonly (keyof GenerateOptions)[] = ["signal", "maxBatch", "lengthMultiple"];

/** @param look whether anybody will look at the samples before they are done */
async function* run(
  model: DiffusionModel,
  requests: readonly GenerationRequest[],
  settings: GenerationSettings,
  options: GenerateOptions,
  look: boolean,
): AsyncGenerator<StepEvent, void, undefined> {
  const asked = generationConfig(model.config, settings);
  checkObject("options", options, optionKeys, "{ maxBatch: 8 }");
  const { signal, maxBatch, lengthMultiple = 64 } = options;
  checkSignal(signal);
  checkCount("maxBatch", maxBatch ?? 1);
  checkCount("lengthMultiple", lengthMultiple);
  const plans = requests.flatMap((request, number) => planRequest(model, request, number, asked));
  if (plans.length === 0) return;
  const autoregressive = model.config.diffusion.objective === "next-token";
  // A token a step, whatever was asked for.
  const config = autoregressive
    ? { ...asked, steps: plans.reduce((most, { blocks }) => Math.max(most, blocks.block), 1) }
    : asked;
  const sampler = chooseSampler(model.config.diffusion, config);
  const process = new SamplingProcess(model.config.diffusion);
  const times = chooseTimes(process, config, sampler, model.config.diffusion.minTime);
  const keeping = chooseKeeping(model.config, config);
  signal?.throwIfAborted();
  const codes = process.gaussian ? await model.hostCodes() : null;
  const setting: SampleSetting = {
    process,
    times,
    config,
    sampler,
    autoregressive,
    keeping: model.keeps ? keeping : "none",
    random: new CounterRandom(config.seed),
    vocabSize: model.config.model.vocabSize,
    special: model.tokenizer.special,
    codebook: codes?.codebook ?? null,
    absorbing: codes?.absorbing ?? null,
  };
  const candidates = new Candidates<Omit<Generation, "choice">>(model, config, signal);
  // Guided, a sample is two rows.
  const positions = config.guidance === 1 ? BATCH_POSITIONS : BATCH_POSITIONS / 2;
  const batches = planBatches(plans, lengthMultiple, positions, maxBatch);
  for (const [number, { plans: part, batchSize, length }] of batches.entries()) {
    const texts = part.map(({ blocks, sequence }) => new BlockText(blocks, sequence, model.tokenizer));
    const steps = writeBlocks(model, setting, texts, { batchSize, length }, look, signal);
    for await (const { block, blocks, step, batch, writing, milliseconds, finished } of steps)
      yield {
        step,
        of: autoregressive ? mostTargets(batch) : config.steps,
        time: setting.times[step],
        batch: number + 1,
        batches: batches.length,
        block,
        blocks,
        samples: look
          ? writing.map((text, i) => ({
              request: part[texts.indexOf(text)].request,
              ...text.show(batch.samples[i]),
            }))
          : [],
        expertLoad: batch.expertLoad,
        computed: batch.computed,
        milliseconds,
        finished: finished ? await candidates.take(writtenBy(texts, part), batchSize, lengthMultiple) : [],
      };
  }
}

/** Tokens of the longest block: the steps of a left-to-right batch. */
const mostTargets = ({ samples }: SampleBatch): number =>
  samples.reduce((most, { targets }) => Math.max(most, targets), 0);

const writtenBy = (
  texts: readonly BlockText[],
  plans: readonly Plan[],
): Candidate<Omit<Generation, "choice">>[] =>
  texts.map((text, i) => ({
    group: plans[i].group,
    canvas: plans[i].blocks.whole,
    ids: text.ids,
    generation: {
      request: plans[i].request,
      sample: text.sequence,
      ...text.read(),
      steps: text.steps,
      blocks: text.blocks,
    },
  }));

function planRequest(
  model: DiffusionModel,
  request: GenerationRequest,
  number: number,
  config: GenerationConfig,
): Plan[] {
  const canvas = buildCanvas(request, model.config, model.tokenizer, config.length);
  const blocks = new CanvasBlocks(canvas, { ...model.config, generation: config });
  const { firstSample = 0 } = request;
  const samples = config.num * config.candidates;
  if (samples > MOST)
    throw new UserError(
      `generation.num: expected at most ${MOST} samples of a request, generation.candidates of each text counted, got ${samples}`,
    );
  if (firstSample + samples > 2 ** 32)
    throw new UserError(
      `firstSample: expected at most ${2 ** 32 - samples} where ${samples} samples are written, got ${firstSample}; ` +
        "random numbers know 2^32 samples",
    );
  if (blocks.count > 1) checkBlocks(config);
  return Array.from({ length: samples }, (_, k) => ({
    request: number,
    blocks,
    sequence: firstSample + k,
    group: number * config.num + Math.floor(k / config.candidates),
  }));
}

/** A text of several blocks has no canvas that the model could see as a whole. */
function checkBlocks({ candidates, select, guidance }: GenerationConfig): void {
  if (guidance !== 1)
    throw new UserError(
      `generation.guidance: expected 1 in a text of several blocks, got ${guidance}; guidance would take the text before a block ` +
        "for a condition: leave --guidance out, or write the text without blocks",
    );
  if (candidates > 1 && select === "bound")
    throw new UserError(
      'generation.select: expected "mbr" in a text of several blocks, got "bound"; the model sees no more than a block and its context: ' +
        "take --select mbr, or write the text without blocks",
    );
}

interface PlannedBatch {
  readonly plans: readonly Plan[];
  readonly batchSize: number;
  readonly length: number;
}

/** Samples of one padded length run together, in batches of one size. */
function planBatches(
  plans: readonly Plan[],
  multiple: number,
  positions: number,
  maxBatch?: number,
): PlannedBatch[] {
  const byLength = new Map<number, Plan[]>();
  for (const plan of plans) {
    const length = Math.ceil(plan.blocks.longest / multiple) * multiple;
    const group = byLength.get(length);
    if (group) group.push(plan);
    else byLength.set(length, [plan]);
  }
  return [...byLength].flatMap(([length, group]) => {
    const most = maxBatch ?? Math.max(1, Math.floor(positions / length));
    const count = Math.ceil(group.length / most);
    const batchSize = Math.ceil(group.length / count);
    return Array.from({ length: Math.ceil(group.length / batchSize) }, (_, i) => ({
      plans: group.slice(i * batchSize, (i + 1) * batchSize),
      batchSize,
      length,
    }));
  });
}
