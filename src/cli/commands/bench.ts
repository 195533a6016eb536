/** @file `moe-diffuseq bench`: how fast, on how much memory, beside what the machine can do and beside PyTorch. */
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import type { BenchTask } from "../../benchmark/index.js";
import { resolveConfig } from "../../config/resolve.js";
import { UserError } from "../../errors.js";
import type { TwinName } from "../../evaluation/suite/twins.js";
import { type CommandHost, defineCommand } from "../command.js";
import { refuseFlags } from "../idle-flags.js";
import { type Flags, nameList, numberList, pathName, wholeNumber } from "../options.js";
import { type OwnedSettings, refuseOwned } from "../owned-settings.js";
import { ProgressLine } from "../progress-line.js";

const examples = `
Examples:
  npx moe-diffuseq bench
  npx moe-diffuseq bench --lengths 512,2048,8192 --twins moe-diffuseq,dense-active,sparse-attention
  npx moe-diffuseq bench --python venv/bin/python --variants eager,compiled,compiled-bfloat16 --json
  npx moe-diffuseq bench --device webgpu --lengths 2048 --rounds 3`;

interface BenchFlags extends Flags {
  twins: string[];
  lengths: number[];
  tasks: string[];
  /** False: none. */
  python?: string | false;
  variants: string[];
  rounds: number;
  count: number;
  tokens: number;
  samplingSteps: number;
  alone?: boolean;
}

/**
 * What a benchmark decides itself: how long a row and a document are and how many there are, and the steps and the sampler of a document;
 * and what it does not time.
 */
export const ownedByBench: OwnedSettings = {
  "model.dropout": null,
  "model.selfConditioning": null,
  "training.batchSize": "--tokens",
  "training.sequenceLength": "--lengths",
  "training.gradientAccumulation": "--tokens",
  "generation.length": "--lengths",
  "generation.blockLength": null,
  "generation.num": "--count",
  "generation.candidates": null,
  "generation.steps": "--sampling-steps",
  "generation.sampler": null,
  "generation.earlyStop": null,
};

/** The names among `known`. @throws UserError for one that is not */
function checked<T extends string>(what: string, given: readonly string[], known: readonly T[]): T[] {
  const wrong = given.find((name) => !(known as readonly string[]).includes(name));
  if (wrong !== undefined)
    throw new UserError(`--${what}: expected some of ${known.join(", ")}, got "${wrong}".`);
  return [...given] as T[];
}

export function registerBench(program: Command, host: CommandHost): void {
  const command = program
    .command("bench")
    .description(
      "time and memory of training steps and written documents over lengths, for twins of a model and for PyTorch",
    )
    .option("--lengths <n,...>", "positions of a document", numberList, [512, 2048])
    .option("--twins <name,...>", "what is compared, the first with all others", nameList, [
      "moe-diffuseq",
      "dense-active",
    ])
    .option("--tasks <name,...>", "training, sampling", nameList, ["training", "sampling"])
    .option("--python <path>", "a Python that has PyTorch (default: python3, if it has)", pathName)
    .option("--no-python", "leave PyTorch out")
    .option("--variants <name,...>", "of PyTorch: eager, compiled, bfloat16, compiled-bfloat16", nameList, [
      "eager",
    ])
    .option("--tokens <n>", "positions of a training step, in whole rows (at least one)", wholeNumber, 4096)
    .option("--rounds <n>", "turns each side takes", wholeNumber, 5)
    .option("--count <n>", "training steps, or documents, in a turn", wholeNumber, 1)
    .option("--alone", "end a side before the next one starts: for sizes of which two do not fit in memory")
    .option("--sampling-steps <n>", "runs of the network for a document", wholeNumber, 20)
    .addHelpText("after", examples);
  defineCommand<BenchFlags>(
    command,
    host,
    ["config", "set", "threads", "device"],
    async (flags, { terminal, signal }) => {
      const { benchTasks, findPeer, formatBench, peerVariants, requirePeer, runBench } = await import(
        "../../benchmark/index.js"
      );
      const { twinNames } = await import("../../evaluation/suite/twins.js");
      // What is wrong with them is said before Python is started, which takes seconds.
      const asked = {
        twins: checked<TwinName>("twins", flags.twins, twinNames),
        tasks: checked<BenchTask>("tasks", flags.tasks, benchTasks),
        variants: checked("variants", flags.variants, peerVariants),
      };
      refuseOwned(flags.set ?? [], ownedByBench, "a benchmark");
      const base = resolveConfig({ preset: "moe-diffuseq", configFile: flags.config, sets: flags.set });
      const { python } = flags;
      if (python === false)
        refuseFlags(command, ["variants"], "says how PyTorch computes: leave out --no-python");
      const peer =
        python === false
          ? undefined
          : python === undefined
            ? await findPeer("python3", flags.device)
            : await requirePeer(python, "--python", flags.device);
      const line = new ProgressLine(terminal.stderr);
      const report = await runBench({
        ...asked,
        base,
        lengths: flags.lengths,
        peer,
        rounds: flags.rounds,
        count: flags.count,
        tokens: flags.tokens,
        device: flags.device,
        samplingSteps: flags.samplingSteps,
        alone: flags.alone,
        threads: flags.threads ?? availableParallelism(),
        signal,
        onProgress: (what) => line.update(`${what} ...`),
      }).finally(() => line.end());
      return {
        json: { ...report },
        text: formatBench(report),
        exitCode: report.parities.every(({ holds }) => holds) ? 0 : 1,
      };
    },
  );
}
