/** @file `moe-diffuseq train`: a training run, new or resumed. */
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Command } from "commander";
import { refuseIdleSettings } from "../../config/idle.js";
import type { GenerationConfig, PartialRunConfig } from "../../config/index.js";
import { mergeConfig, parseSetting, show } from "../../config/layers.js";
import { readConfigFile } from "../../config/read-file.js";
import { resolveConfig } from "../../config/resolve.js";
import type { RunConfig } from "../../config/run-config.js";
import { broadcastJson, joinRanks, leaveRanks, threadsOfRank } from "../../distributed/index.js";
import { PROGRAM, shellWord, UserError } from "../../errors.js";
import { writeFileAtomic } from "../../hub/index.js";
import type { DeviceKind } from "../../runtime/device.js";
import type { TrainEvent, TrainSummary, ValidMetrics } from "../../training/trainer.js";
import { type CommandHost, defineCommand } from "../command.js";
import { formatCount, formatDuration } from "../format.js";
import { refuseFlags } from "../idle-flags.js";
import { Interrupted } from "../interrupt.js";
import { type Flags, trainingOverrides } from "../options.js";
import { ProgressLine, trainingLine } from "../progress-line.js";
import type { CommandResult, OutputStream } from "../terminal.js";

const examples = `
Examples:
  npx moe-diffuseq train --preset masked --data texts.jsonl --max-minutes 60 --out runs/masked
  npx moe-diffuseq train --preset masked --max-steps 1 --profile --out runs/profile
  npx moe-diffuseq train --resume --out runs/masked --max-minutes 120
  mpirun -n 4 node_modules/.bin/moe-diffuseq train --preset masked --data texts.jsonl --max-minutes 60 --out runs/masked`;

type TrainFlags = Flags & { out: string; fallback?: boolean; profile?: boolean };

function describeValidation({ loss, crossEntropy, bitsPerByte }: ValidMetrics): string {
  const bound = bitsPerByte === undefined ? "" : `, at most about ${bitsPerByte.toFixed(3)} bits per byte`;
  // Of next to no text, nothing may have been absorbed; the log has null for it then.
  const nats = Number.isFinite(crossEntropy) ? `${crossEntropy.toFixed(4)} nats` : "of no token";
  return `loss ${loss.toFixed(4)}, cross entropy ${nats}${bound}`;
}

function describeStart({ data, parameters, step, ranks }: Extract<TrainEvent, { kind: "ready" }>): string {
  const { size, tokens } = data.trainCorpus;
  const skipped = data.skipped > 0 ? `, ${data.skipped} broken records skipped` : "";
  const shortened = data.shortened > 0 ? `, ${data.shortened} pairs cut to what a row holds` : "";
  const unpadded =
    data.unpadded > 0
      ? `, ${data.unpadded} documents longer than data.padTargets and so not filled up with [PAD]`
      : "";
  const together = ranks > 1 ? `; ${ranks} ranks` : "";
  const from = step > 0 ? `; continuing from step ${step}` : "";
  return (
    `${formatCount(parameters)} parameters; ${formatCount(size)} documents, ` +
    `${formatCount(tokens)} tokens of ${data.source}${skipped}${shortened}${unpadded}${from}${together}`
  );
}

/** Shows the events of a training run on standard error: one live line, and lines that stay. */
export function showTraining(stream: OutputStream, totalSteps: number | null) {
  const line = new ProgressLine(stream);
  const onEvent = (event: TrainEvent) => {
    switch (event.kind) {
      case "preparing":
        line.update(`${event.what} ...`);
        break;
      case "ready":
        line.note(describeStart(event));
        break;
      case "step": {
        const { step, loss, tokensPerSecond } = event.metrics;
        line.update(
          trainingLine({ step, totalSteps, loss, tokensPerSecond, secondsLeft: event.secondsLeft }),
        );
        break;
      }
      case "validation":
        line.note(`step ${event.metrics.step}  validation: ${describeValidation(event.metrics)}`);
        break;
      case "notice":
        line.note(event.message);
        break;
      case "validating":
      case "profile":
      case "checkpoint":
        break;
      default:
        event satisfies never;
    }
  };
  return { onEvent, end: () => line.end() };
}

function describeSummary(summary: TrainSummary, resume: string): string {
  const { out, steps, tokens, seconds, validation, interrupted } = summary;
  return [
    `${interrupted ? "Stopped after" : "Trained"} ${steps} steps, ${formatCount(tokens)} tokens, ${formatDuration(seconds)}: ${out}`,
    ...(validation ? [`Validation: ${describeValidation(validation)}`] : []),
    interrupted ? `Everything is saved. To continue:\n  ${resume}` : "",
    !interrupted && summary.loss === null
      ? "It had used up its budget before, so no step was taken. To train on, give a larger one (--max-steps, --max-tokens or --max-minutes)."
      : "",
  ]
    .filter((line) => line !== "")
    .join("\n");
}

async function configOf({ out, resume, preset, config, set, ...flags }: TrainFlags): Promise<RunConfig> {
  const { NOTHING_TO_RESUME, RunDirectory } = await import("../../training/run-directory.js");
  const { checkSettings } = await import("../../sampling/sampling-settings.js");
  const run = resume ? await RunDirectory.open(out, NOTHING_TO_RESUME) : null;
  const resolved = resolveConfig({
    base: run?.configPath,
    preset,
    configFile: config,
    sets: set,
    overridesName: "command line",
    overrides: trainingOverrides(flags),
  });
  refuseIdleSettings(set ?? [], resolved);
  // What the run comes to have: what was edited in generation_config.json stays.
  const after = run ? run.withConfig(resolved).config : resolved;
  if (!isDeepStrictEqual(after, resolved)) refuseEdited({ out, config, set }, after);
  // Settings of generation that the model cannot have: said now, not after the training. Those that a run has already stay as they are.
  if (!isDeepStrictEqual(after.generation, run?.config.generation)) checkSettings(after, {});
  return resolved;
}

/**
 * A setting that config.json has already cannot be told from one that was not asked for, and what was edited in generation_config.json would
 * stay.
 */
function refuseEdited(
  { out, config, set = [] }: Pick<TrainFlags, "out" | "config" | "set">,
  { generation }: RunConfig,
): void {
  const layers = [...(config === undefined ? [] : [readConfigFile(config)]), ...set.map(parseSetting)];
  const asked = layers.reduce(mergeConfig, {}) as PartialRunConfig;
  for (const [name, value] of Object.entries(asked.generation ?? {})) {
    const stays = generation[name as keyof GenerationConfig];
    if (stays !== value)
      throw new UserError(
        `generation.${name}: expected a change in ${join(out, "generation_config.json")}, where it was edited to ${show(stays)}; ` +
          "change it there, or leave it out.",
      );
  }
}

const describeRun = ({ preset, model, training }: RunConfig): string =>
  `${preset ?? "a model"} of ${model.numLayers} layers, hidden ${model.hiddenSize}, ` +
  `${training.batchSize} x ${training.sequenceLength} tokens`;

/** Where a profile was made: what `train` takes when it is not told. */
export const whereOf = (device: DeviceKind = "cpu", threads = threadsOfRank()): string =>
  device === "webgpu"
    ? "webgpu, copies and waiting left out"
    : `${threads} ${threads === 1 ? "thread" : "threads"}`;

/** Writes the tables, the picture and the data of a profile into a run's directory; returns the tables. */
async function writeProfile(
  out: string,
  title: string,
  { profile, tokens }: Extract<TrainEvent, { kind: "profile" }>,
  where: string,
): Promise<string> {
  const { profileSvg, profileText } = await import("../../report/profile-report.js");
  const { svgDocument } = await import("../../report/charts/svg-document.js");
  const data = { title, where, tokens, ...profile };
  const text = profileText(data);
  await writeFileAtomic(join(out, "profile.txt"), text);
  await writeFileAtomic(join(out, "profile.svg"), svgDocument(profileSvg(data)));
  await writeFileAtomic(join(out, "profile.json"), `${JSON.stringify(data, null, 2)}\n`);
  return text;
}

export function registerTrain(program: Command, host: CommandHost): void {
  const command = program
    .command("train")
    .description("train a model, or continue training with --resume (without --data: on the embedded corpus)")
    .option(
      "--profile",
      "first measure where the time of a step goes: profile.txt, profile.svg and profile.json in --out",
    )
    .option("--fallback", "with --resume: when the latest checkpoint is damaged, use the newest whole one")
    .addHelpText("after", examples);
  defineCommand<TrainFlags>(
    command,
    host,
    [
      "config",
      "preset",
      "set",
      "data",
      "valid",
      "onBadRecord",
      "tokenizer",
      "out!",
      "resume",
      "maxSteps",
      "maxMinutes",
      "maxTokens",
      "seed",
      "threads",
      "device",
    ],
    async (flags, { terminal, signal }): Promise<CommandResult> => {
      const { out, resume, fallback, profile, threads, device } = flags;
      if (!resume)
        refuseFlags(command, ["fallback"], "chooses what a run goes on from: give --resume with it");
      const communicator = await joinRanks();
      // Files may be seen by rank 0 alone.
      const config = await broadcastJson(
        communicator,
        communicator.rank === 0 ? await configOf(flags) : null,
      );
      if (communicator.size > 1 && process.env.OMPI_MCA_odls_base_sigkill_timeout === undefined)
        terminal.stderr.write(
          "To save and stop: kill -USR2 the process of mpirun. Ctrl-C gives the ranks one second; " +
            "more with mpirun --mca odls_base_sigkill_timeout 10.\n",
        );
      const { train } = await import("../../training/trainer.js");
      const show = showTraining(terminal.stderr, config.training.maxSteps);
      let summary: TrainSummary;
      let profiled: Promise<string> | null = null;
      const onEvent = (event: TrainEvent) => {
        if (event.kind === "profile") {
          profiled = writeProfile(out, describeRun(config), event, whereOf(device, threads));
          profiled.catch(() => {}); // told below, when training is done
        }
        show.onEvent(event);
      };
      try {
        summary = await train({
          config,
          out,
          resume,
          fallback,
          profile,
          threads,
          device,
          communicator,
          signal,
          onEvent,
        });
        if (profiled) {
          show.end(); // the line that tells how far it is
          terminal.stderr.write(`${await profiled}\n`);
        }
      } finally {
        show.end();
      }
      leaveRanks();
      // npx does not hand on the signals by which mpirun stops its ranks.
      const program =
        communicator.size > 1 ? `mpirun -n ${communicator.size} node ${shellWord(process.argv[1])}` : PROGRAM;
      const where = device === undefined ? "" : ` --device ${device}`;
      const on = flags.threads === undefined ? "" : ` --threads ${flags.threads}`;
      const resumeCommand = `${program} train --resume --out ${shellWord(out)}${where}${on}`;
      return {
        json: {
          ...summary,
          config: join(out, "config.json"),
          resume: summary.interrupted ? resumeCommand : null,
        },
        text: describeSummary(summary, resumeCommand),
        // mpirun ends a job at the first exit code that is not 0: rank 0's says how it went.
        exitCode:
          summary.interrupted && communicator.rank === 0 && signal.reason instanceof Interrupted
            ? signal.reason.exitCode
            : 0,
      };
    },
  );
}
