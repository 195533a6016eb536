/**
 * @file The options that several commands share, each defined once, and how they become a configuration.
 * A flag of its own (`--max-steps`) is the same as `--set training.maxSteps=...`, and wins over it.
 */
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type ModelDType, modelDTypes, type PartialRunConfig, presetNames } from "../config/index.js";
import { type DeviceKind, deviceKinds } from "../runtime/device.js";

function number(text: string, accept: (value: number) => boolean, expected: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!accept(value)) throw new InvalidArgumentError(`Expected ${expected}.`);
  return value;
}
/** The parser of a whole number of at least `least`. */
export const atLeast = (least: number) => (text: string) =>
  number(
    text,
    (value) => Number.isSafeInteger(value) && value >= least,
    `a whole number of at least ${least}`,
  );
/** The parser of an option that counts something. */
export const wholeNumber = atLeast(1);
/** The parser of "a,b": ["a", "b"]. */
export function nameList(text: string): string[] {
  const names = text.split(",").filter((name) => name !== "");
  if (names.length === 0)
    throw new InvalidArgumentError("Expected at least one, several with commas between.");
  return names;
}
/** The parser of "1,2": [1, 2]. */
export const numberList = (text: string): number[] => nameList(text).map(wholeNumber);
/** The parser of a path: what names no place would be read as this folder, or as a file that stands in the way. */
export function pathName(text: string): string {
  if (text === "")
    throw new InvalidArgumentError("Expected a path, got none; is a variable of the shell not set?");
  return text;
}
/** More threads than this share the cores without any gain, and each takes memory. */
function threadCount(text: string): number {
  const cores = availableParallelism();
  const most = 4 * cores;
  return number(
    text,
    (value) => Number.isSafeInteger(value) && value >= 1 && value <= most,
    `a whole number from 1 to ${most}, four threads for each of the ${cores} cores of this machine`,
  );
}
const positive = (text: string) =>
  number(text, (value) => value > 0 && Number.isFinite(value), "a number above 0");
const notNegative = (text: string) =>
  number(text, (value) => value >= 0 && Number.isFinite(value), "a number of at least 0");
const share = (text: string) =>
  number(text, (value) => value > 0 && value <= 1, "a number above 0 and at most 1");
const collect = (text: string, earlier: readonly string[] = []) => [...earlier, text];
const pathNames = (text: string, earlier: readonly string[] = []) => [...earlier, pathName(text)];

/** Every shared option, by the name it has in the parsed flags. */
const definitions = {
  config: () =>
    new Option("--config <file>", "JSON file with any part of a configuration").argParser(pathName),
  preset: () => new Option("--preset <name>", `${presetNames.join(", ")} (default: moe-diffuseq)`),
  set: () =>
    new Option(
      "--set <key=value>",
      "one setting, such as model.numLayers=6 (repeatable; `config` lists them)",
    ).argParser(collect),
  data: () =>
    new Option("--data <path...>", "files or folders of text (.jsonl, .txt, code, .gz)").argParser(pathNames),
  valid: () => new Option("--valid <path...>", "files or folders to validate on").argParser(pathNames),
  onBadRecord: () =>
    new Option("--on-bad-record <what>", "broken lines: stop, or skip and count").choices(["stop", "skip"]),
  tokenizer: () =>
    new Option("--tokenizer <path>", "tokenizer.json to use instead of training one").argParser(pathName),
  vocabSize: () =>
    new Option(
      "--vocab-size <n>",
      "tokens in the vocabulary, 256 bytes and the special ones included",
    ).argParser(atLeast(1)),
  out: () => new Option("--out <dir>", "directory of the run").argParser(pathName),
  resume: () => new Option("--resume", "continue the run in --out from its latest checkpoint"),
  maxSteps: () =>
    new Option("--max-steps <n>", "stop after this many steps of the whole run").argParser(atLeast(1)),
  maxMinutes: () =>
    new Option("--max-minutes <n>", "stop after this many minutes of training, of the whole run").argParser(
      positive,
    ),
  maxTokens: () =>
    new Option("--max-tokens <n>", "stop after this many tokens of the whole run").argParser(atLeast(1)),
  model: () => new Option("--model <dir>", "directory of a trained run").argParser(pathName),
  prompt: () => new Option("--prompt <text>", "text to continue"),
  src: () => new Option("--src <text>", "source text to write a target for"),
  infill: () =>
    new Option("--infill <file>", "file whose gaps ([MASK], or [MASK:n] for n tokens) are filled").argParser(
      pathName,
    ),
  length: () => new Option("--length <n>", "tokens to write, the given text included").argParser(atLeast(1)),
  blockLength: () =>
    new Option(
      "--block-length <n>",
      "write the text in blocks of n tokens, for any length; 0: all at once",
    ).argParser(atLeast(0)),
  contextLength: () =>
    new Option(
      "--context-length <n>",
      "tokens in view before a block (default: as far as attention reaches and training went)",
    ).argParser(atLeast(0)),
  untilEnd: () =>
    new Option("--until-end", "blocks: stop where the model ends the text, after --length tokens at most"),
  steps: () => new Option("--steps <n>", "denoising steps").argParser(atLeast(1)),
  cacheInterval: () =>
    new Option(
      "--cache-interval <n>",
      "keep keys and values of unchanged positions for n steps: faster, an approximation; 1: off",
    ).argParser(atLeast(1)),
  sampler: () => new Option("--sampler <name>", "auto, ancestral, ddim, dpm-solver++ or absorbing"),
  order: () => new Option("--order <n>", "order of dpm-solver++: 1, 2 or 3").argParser(atLeast(1)),
  timeGrid: () =>
    new Option("--time-grid <name>", "noise levels of the steps: work, uniform, quadratic or log-snr"),
  release: () =>
    new Option(
      "--release <name>",
      "absorbed positions released first: random, confidence, margin, entropy, confidence-threshold or left-to-right",
    ),
  guidance: () =>
    new Option(
      "--guidance <x>",
      "push the text towards its source or given text; 1: off (wants training with diffusion.conditionDropout)",
    ).argParser(notNegative),
  candidates: () =>
    new Option("--candidates <n>", "write each text n times and take the best").argParser(atLeast(1)),
  select: () => new Option("--select <by>", "which candidate is the best: mbr or bound"),
  repetitionPenalty: () =>
    new Option("--repetition-penalty <x>", "make tokens that stand nearby less likely; 1: off").argParser(
      positive,
    ),
  temperature: () =>
    new Option("--temperature <x>", "of the draw of tokens; 0: the likeliest").argParser(notNegative),
  topK: () => new Option("--top-k <n>", "draw among the n likeliest tokens; 0: all").argParser(atLeast(0)),
  topP: () =>
    new Option("--top-p <x>", "draw among the likeliest tokens that reach this mass").argParser(share),
  seed: () => new Option("--seed <n>", "seed of every random number").argParser(atLeast(0)),
  num: () => new Option("--num <n>", "texts to write").argParser(atLeast(1)),
  stream: () => new Option("--stream", "show the text as it settles, step by step"),
  threads: () =>
    new Option("--threads <n>", "threads for the arithmetic (default: all cores)").argParser(threadCount),
  device: () =>
    new Option(
      "--device <name>",
      "where programs run: cpu, webgpu (a graphics card) or reference (slow, exact) (default: cpu)",
    ).choices(deviceKinds),
  dtype: () =>
    new Option(
      "--dtype <name>",
      "weights while running: fp32, or q8 (eight bits: faster, a little less exact)",
    ).choices(modelDTypes),
  json: () => new Option("--json", "print one JSON object as the last line of standard output"),
} satisfies Record<string, () => Option>;

export type OptionName = keyof typeof definitions;

/** A shared option in the words of one command. */
export function worded(name: OptionName, description: string): Option {
  const option = definitions[name]();
  option.description = description;
  return option;
}

/** The parsed values of the shared options; a command sees those it has added. */
export interface Flags {
  config?: string;
  preset?: string;
  set?: string[];
  data?: string[];
  valid?: string[];
  onBadRecord?: "stop" | "skip";
  tokenizer?: string;
  vocabSize?: number;
  out?: string;
  resume?: boolean;
  maxSteps?: number;
  maxMinutes?: number;
  maxTokens?: number;
  model?: string;
  prompt?: string;
  src?: string;
  infill?: string;
  length?: number;
  blockLength?: number;
  contextLength?: number;
  untilEnd?: boolean;
  steps?: number;
  cacheInterval?: number;
  sampler?: string;
  order?: number;
  timeGrid?: string;
  release?: string;
  guidance?: number;
  candidates?: number;
  select?: string;
  repetitionPenalty?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number;
  num?: number;
  stream?: boolean;
  threads?: number;
  device?: DeviceKind;
  dtype?: ModelDType;
  json?: boolean;
}

/** Gives `command` the named options, in that order. A name with `!` is mandatory. */
export function addOptions(command: Command, names: readonly (OptionName | `${OptionName}!`)[]): Command {
  for (const name of names) {
    const mandatory = name.endsWith("!");
    const option = definitions[(mandatory ? name.slice(0, -1) : name) as OptionName]();
    command.addOption(option.makeOptionMandatory(mandatory));
  }
  return command;
}

type Plain = Record<string, unknown>;

/** Leaves out what was not given, so that it does not hide what a file or preset says. */
function given(fields: Plain): Plain {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** What the flags of `train` say, as a layer of configuration. `--seed` is the run's. */
export function trainingOverrides(flags: Flags): PartialRunConfig {
  const { maxSteps, maxMinutes, maxTokens, seed, data, valid, onBadRecord, tokenizer } = flags;
  return {
    training: given({ maxSteps, maxMinutes, maxTokens, seed }),
    data: given({ train: data, valid, onBadRecord, tokenizer }),
  };
}

/** What the flags of `generate` say, as a layer of configuration. `--seed` is the text's. */
export function generationOverrides(flags: Flags): PartialRunConfig {
  const { length, blockLength, contextLength, untilEnd } = flags;
  const { steps, cacheInterval, sampler, order, timeGrid, release, temperature, topK, topP, seed, num } =
    flags;
  const { guidance, candidates, select, repetitionPenalty } = flags;
  return {
    generation: given({
      length,
      blockLength,
      contextLength,
      untilEnd,
      steps,
      cacheInterval,
      sampler,
      order,
      timeGrid,
      release,
      temperature,
      topK,
      topP,
      seed,
      num,
      guidance,
      candidates,
      select,
      repetitionPenalty,
    }),
  };
}
