/** @file `moe-diffuseq demo`: trains a small model on the embedded corpus, writes a document and a report, all in under five minutes. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { ONE_TEXT } from "../../config/generation-config.js";
import { refuseIdleSettings } from "../../config/idle.js";
import { settingFields } from "../../config/layers.js";
import { resolveConfig } from "../../config/resolve.js";
import type { RunConfig } from "../../config/run-config.js";
import { PROGRAM, shellWord } from "../../errors.js";
import type { DenoisingStep } from "../../report/data.js";
import type { TrainSummary } from "../../training/trainer.js";
import { type CommandHost, defineCommand } from "../command.js";
import { denoisingStep } from "../denoising-view.js";
import { formatCount, formatDuration } from "../format.js";
import { refuseIdle } from "../generation-settings.js";
import { type Flags, generationOverrides, trainingOverrides, worded } from "../options.js";
import { type OwnedSettings, refuseOwned } from "../owned-settings.js";
import { type CommandResult, isLive, type Terminal } from "../terminal.js";
import { showSteps } from "./generate.js";
import { showTraining } from "./train.js";

const defaults = { minutes: 2, length: 1024, steps: 32, out: join("runs", "demo") } as const;

/** Small enough to learn something in two minutes on two cores; every part of the method is there. */
const demoSettings = [
  "model.vocabSize=4096",
  "model.attention.window=64",
  "training.sequenceLength=1024",
  "training.batchSize=1",
  "training.evalEvery=60",
  "training.evalSequences=8",
  "training.checkpointEvery=100000",
  "training.logEvery=1",
  "training.emaDecay=0.99",
  `training.maxMinutes=${defaults.minutes}`,
  `generation.length=${defaults.length}`,
  `generation.steps=${defaults.steps}`,
];
/** Denoising steps that the report shows. */
const FRAMES = 8;

/** It reads the embedded corpus and writes one text, all of it at once. */
const ownedByDemo: OwnedSettings = {
  "data.train": "--data of train",
  "data.valid": "--valid of train",
  "data.documentPer": null,
  "data.onBadRecord": null,
  "generation.num": "--num of generate",
  "generation.candidates": "--candidates of generate",
  "generation.blockLength": "--block-length of generate",
};

/**
 * What is given wins over the demo's own settings; a budget of steps or tokens alone is the whole budget.
 * @throws UserError for what the demo decides itself, and for what would say nothing
 */
export function demoConfig(flags: Flags): RunConfig {
  const { set: sets = [] } = flags;
  refuseOwned(sets, ownedByDemo, "the demo");
  const config = resolveConfig({
    preset: flags.preset,
    sets: [...demoSettings, ...(countsWork(flags) ? ["training.maxMinutes=null"] : []), ...sets],
    overridesName: "command line",
    overrides: { ...trainingOverrides(flags), ...generationOverrides(flags) },
  });
  refuseIdle(flags, config, { conditioned: false });
  refuseIdleSettings(sets, config);
  return config;
}

/** Whether a budget of steps or tokens is given, by a flag or a setting. */
const countsWork = ({ maxSteps, set = [] }: Flags): boolean =>
  maxSteps !== undefined ||
  set
    .flatMap(settingFields)
    .some(
      ({ path, value }) => (path === "training.maxSteps" || path === "training.maxTokens") && value !== null,
    );

/** `runs/demo`, or the first free `runs/demo-2`, `runs/demo-3` ... */
function freeFolder(wanted: string): string {
  for (let n = 1; ; n++) {
    const folder = n === 1 ? wanted : `${wanted}-${n}`;
    if (!existsSync(folder)) return folder;
  }
}

export function registerDemo(program: Command, host: CommandHost): void {
  const command = program
    .command("demo")
    .description(
      "train a small model on the embedded corpus, write a document, make a report (under five minutes)",
    )
    .addOption(worded("out", `directory of the run (default: ${defaults.out}, or the next that is free)`))
    .addOption(
      worded(
        "maxMinutes",
        `stop training after this many minutes (default: ${defaults.minutes}; with --max-steps: none)`,
      ),
    )
    .addOption(worded("length", `tokens to write (default: ${defaults.length})`))
    .addOption(worded("steps", `denoising steps (default: ${defaults.steps})`));
  defineCommand<Flags>(
    command,
    host,
    ["preset", "set", "maxSteps", "seed", "threads"],
    async (flags, { terminal, signal }): Promise<CommandResult> => {
      const out = flags.out ?? freeFolder(defaults.out);
      const config = demoConfig(flags);
      const { stderr } = terminal;
      const { checkSettings } = await import("../../sampling/sampling-settings.js");
      checkSettings(config, ONE_TEXT); // said now, not after the training
      const denoises = config.diffusion.objective === "denoising";
      stderr.write(`1/3  Training the preset ${config.preset} on the embedded corpus, into ${out}\n`);
      if (denoises)
        stderr.write(
          "     Losses swing with the noise that each step draws: validation, at the same noise each time, tells how it goes.\n",
        );
      const { train } = await import("../../training/trainer.js");
      const show = showTraining(stderr, config.training.maxSteps);
      let summary: TrainSummary;
      try {
        summary = await train({ config, out, threads: flags.threads, signal, onEvent: show.onEvent });
      } finally {
        show.end();
      }
      if (summary.interrupted)
        stderr.write(
          `What it has learned is in ${out}. To go on training: ${PROGRAM} train --resume --out ${shellWord(out)}\n` +
            `The other two steps are commands of their own: ${PROGRAM} generate --model ${shellWord(out)} and ${PROGRAM} report --model ${shellWord(out)}\n`,
        );
      signal.throwIfAborted();
      const inSteps = denoises ? ` in ${config.generation.steps} steps` : "";
      stderr.write(`2/3  Writing a document of ${formatCount(config.generation.length)} tokens${inSteps}\n`);
      const { frames, text, seconds } = await writeDocument(out, flags.threads, terminal, signal);
      stderr.write("3/3  Drawing the report\n");
      const report = join(out, "report.html");
      await writeReport(report, out, summary, frames, text);
      const next = nextCommands(shellWord(out));
      return {
        json: {
          ...summary,
          report,
          text,
          generationSeconds: seconds,
          next: next.map(({ command }) => command),
        },
        text: [
          text,
          "",
          `Trained ${summary.steps} steps (${formatCount(summary.tokens)} tokens) in ${formatDuration(summary.seconds)}, wrote the document above in ${formatDuration(seconds)}.`,
          "Minutes teach word frequencies and short phrases, not sentences; hours do more.",
          `Report with pictures: ${report}`,
          "",
          "Worth trying next:",
          ...next.map(({ command, note }) => `  ${command}\n      ${note}`),
        ].join("\n"),
      };
    },
  );
}

/** @param out the run, as a word of a command */
const nextCommands = (out: string) => [
  {
    command: `${PROGRAM} generate --model ${out} --prompt "My fellow citizens," --length 256 --stream`,
    note: "continues a sentence, shown as it settles",
  },
  {
    command: `${PROGRAM} evaluate --model ${out}`,
    note: "what it has learned, beside n-gram models and the channel-only baseline",
  },
  {
    command: `${PROGRAM} train --preset masked --data your-texts.jsonl --max-minutes 60 --out runs/mine`,
    note: "your own documents: JSON lines, plain text or a folder of code",
  },
];

async function writeDocument(
  out: string,
  threads: number | undefined,
  { stderr }: Terminal,
  signal: AbortSignal,
) {
  const { DiffusionModel, generateSteps } = await import("../../sampling/index.js");
  const began = performance.now();
  const model = await DiffusionModel.fromPretrained(out, { threads });
  const { tokenizer } = model;
  const shown = showSteps(stderr, isLive(stderr) ? tokenizer : null);
  const frames: DenoisingStep[] = [];
  let text = "";
  try {
    for await (const event of generateSteps(model, [{}], ONE_TEXT, { signal })) {
      shown.onStep(event);
      const every = Math.max(1, Math.floor(event.of / FRAMES));
      if (event.step === 1 || event.step % every === 0 || event.finished.length > 0)
        frames.push(denoisingStep(event, tokenizer));
      if (event.finished.length > 0) text = event.finished[0].text;
    }
  } finally {
    shown.end();
    await model.dispose();
  }
  return { frames, text, seconds: (performance.now() - began) / 1000 };
}

async function writeReport(
  path: string,
  out: string,
  summary: TrainSummary,
  denoising: readonly DenoisingStep[],
  text: string,
): Promise<void> {
  const { runReport } = await import("../run-report.js");
  const { trainingReport } = await import("../../report/training-report.js");
  const { writeFileAtomic } = await import("../../hub/index.js");
  const data = await runReport(out);
  const { tokens, seconds } = summary;
  const page = trainingReport({
    ...data,
    title: "A first run",
    run: { ...data.run, tokens, tokensPerSecond: tokens / seconds, minutes: seconds / 60 },
    denoising,
    finalText: text,
    nextCommands: nextCommands(shellWord(out)),
  });
  await writeFileAtomic(path, page);
}
