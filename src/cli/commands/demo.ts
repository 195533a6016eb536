/** @file `moe-diffuseq demo`: trains a small model on the embedded corpus, writes a document and a report, all in under five minutes. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { resolveConfig } from "../../config/resolve.js";
import type { RunConfig } from "../../config/run-config.js";
import { PROGRAM, shellWord } from "../../errors.js";
import type { DenoisingStep, ReportData } from "../../report/data.js";
import type { TrainSummary } from "../../training/trainer.js";
import { type CommandHost, defineCommand } from "../command.js";
import { denoisingStep } from "../denoising-view.js";
import { formatCount, formatDuration } from "../format.js";
import { type Flags, generationOverrides, trainingOverrides } from "../options.js";
import { type CommandResult, isLive, type Terminal } from "../terminal.js";
import { showSteps } from "./generate.js";
import { showTraining } from "./train.js";

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
  "training.maxMinutes=2",
  "generation.length=1024",
  "generation.steps=32",
];
/** Denoising steps that the report shows. */
const FRAMES = 8;

/** What is given wins over the demo's own settings; --max-steps alone is the whole budget. */
export const demoConfig = (flags: Flags): RunConfig =>
  resolveConfig({
    preset: flags.preset,
    sets: [
      ...demoSettings,
      ...(flags.maxSteps === undefined ? [] : ["training.maxMinutes=null"]),
      ...(flags.set ?? []),
    ],
    overridesName: "command line",
    overrides: { ...trainingOverrides(flags), ...generationOverrides(flags) },
  });

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
    );
  defineCommand<Flags>(
    command,
    host,
    ["preset", "set", "out", "maxMinutes", "maxSteps", "length", "steps", "seed", "threads"],
    async (flags, { terminal, signal }): Promise<CommandResult> => {
      const out = flags.out ?? freeFolder(join("runs", "demo"));
      const config = demoConfig(flags);
      const { stderr } = terminal;
      const { checkSettings } = await import("../../sampling/sampling-settings.js");
      checkSettings(config, ONE_TEXT); // said now, not after the training
      stderr.write(`1/3  Training the preset ${config.preset} on the embedded corpus, into ${out}\n`);
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
          `What it has learned is in ${out}. To go on: ${PROGRAM} train --resume --out ${shellWord(out)}\n`,
        );
      signal.throwIfAborted();
      const inSteps =
        config.diffusion.objective === "next-token" ? "" : ` in ${config.generation.steps} steps`;
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

/** What the report shows, whatever else is set. */
const ONE_TEXT = { num: 1, candidates: 1, blockLength: 0 };

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
  const { RunDirectory } = await import("../../training/run-directory.js");
  const { readMetrics } = await import("../../training/metrics-log.js");
  const { costOf } = await import("../../model/cost.js");
  const { attentionGroups } = await import("../attention-groups.js");
  const { trainingReport } = await import("../../report/training-report.js");
  const { writeFileAtomic } = await import("../../hub/index.js");
  const { version } = await import("../../version.js");
  const { config, metricsPath } = await RunDirectory.open(out);
  const { batchSize, sequenceLength } = config.training;
  const { parameters } = costOf(config.model, { batchSize, length: sequenceLength });
  const data: ReportData = {
    title: "A first run",
    run: {
      preset: config.preset ?? undefined,
      parameters: { total: parameters.total, active: parameters.active },
      tokens: summary.tokens,
      tokensPerSecond: summary.tokens / summary.seconds,
      minutes: summary.seconds / 60,
      corpus: "State of the Union addresses, 1790 to 2021 (embedded)",
      seed: config.training.seed,
      versions: { "moe-diffuseq": version, node: process.versions.node },
    },
    metrics: readMetrics(metricsPath),
    attention: attentionGroups(config),
    denoising,
    finalText: { text },
    nextCommands: nextCommands(shellWord(out)),
  };
  await writeFileAtomic(path, trainingReport(data));
}
