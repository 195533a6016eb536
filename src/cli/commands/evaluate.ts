/** @file `moe-diffuseq evaluate`: a trained run on held-out text, beside the baselines that make its figures mean something. */
import type { Command } from "commander";
import type { GenerationConfig } from "../../config/index.js";
import { UserError } from "../../errors.js";
import type { AccuracyResult, TargetScores } from "../../evaluation/index.js";
import { writeFileAtomic } from "../../hub/index.js";
import { type CommandHost, defineCommand } from "../command.js";
import { commandLine } from "../command-line.js";
import { addSuiteOptions, evaluateSuite, type SuiteFlags } from "../evaluate-suite.js";
import { generationSettings, givenSettings } from "../generation-settings.js";
import { refuseFlags } from "../idle-flags.js";
import { orKeep } from "../interrupt.js";
import { pathName, wholeNumber, worded } from "../options.js";
import { ProgressLine } from "../progress-line.js";
import { requireResultFile } from "../result-file.js";
import type { CommandResult } from "../terminal.js";

const examples = `
Examples:
  npx moe-diffuseq evaluate --model runs/masked
  npx moe-diffuseq evaluate --model runs/masked --valid other.jsonl --sequences 200
  npx moe-diffuseq evaluate --model runs/copy --accuracy 50
  npx moe-diffuseq evaluate --model runs/pairs --accuracy 100 --candidates 5 --temperature 0.8 --set generation.topP=0.9
  npx moe-diffuseq evaluate --suite addresses --quick
  npx moe-diffuseq evaluate --suite science --data corpora --twins moe-diffuseq,dense-active --seeds 1,2,3 --max-minutes 20`;

interface EvaluateFlags extends SuiteFlags {
  sequences?: number;
  baselines: boolean;
  accuracy?: number;
  report?: string;
}

export function registerEvaluate(program: Command, host: CommandHost): void {
  const command = program
    .command("evaluate")
    .description(
      "losses on held-out text (masked: bits per byte), beside the channel alone and n-gram models",
    )
    .option("--sequences <n>", "held-out sequences to use (default: as many as while training)", wholeNumber)
    .option("--no-baselines", "leave the n-gram models out (they take seconds per million tokens)")
    .option(
      "--accuracy <n>",
      "also write the targets of this many held-out {src, trg} pairs, from all over them: exact tokens, BLEU, ROUGE-L, chrF",
      wholeNumber,
    )
    .option("--report <file.json>", "write every figure into this file", pathName)
    .option(
      "--suite <name>",
      "instead of --model: train twins for one budget each and judge their texts; addresses, science, code, dialogue, seq2seq, or a part such as code.lines",
    )
    .option(
      "--out <dir>",
      "suite: folder for its runs (default: runs/suite-NAME, quick: ...-quick)",
      pathName,
    )
    .option("--quick", "suite: tiny models and budgets, to see that everything works")
    .option("--train-only", "suite: train the twins; a later call without it judges them")
    .addOption(worded("temperature", "--accuracy: of the draw of tokens (default: 0, the likeliest)"))
    .addOption(worded("steps", "denoising steps (default: the model's; suite: 32, quick: 8)"))
    .addHelpText("after", examples);
  const ofSuites = ["quick", "out", "trainOnly", ...addSuiteOptions(command, "suite: ")];
  defineCommand<EvaluateFlags>(
    command,
    host,
    [
      "model",
      "valid",
      "onBadRecord",
      "seed",
      "guidance",
      "candidates",
      "select",
      "dtype",
      "set",
      "threads",
      "device",
    ],
    async (flags, context) => {
      const { terminal, signal } = context;
      refuseIdleFlags(command, flags, ofSuites);
      if (flags.report !== undefined)
        await requireResultFile(flags.report, { flag: "--report", ending: ".json", inputs: flags.valid });
      if (flags.suite !== undefined) return evaluateSuite(flags, context, commandLine(command, flags));
      const model =
        flags.model ??
        command.error("error: pass --model with a trained run, or --suite with the name of a suite");
      const { evaluateRun, formatEvaluation } = await import("../../evaluation/index.js");
      // What is wrong with it is said now, not after minutes.
      const asked =
        flags.accuracy === undefined ? null : await pairsToWrite(model, flags, flags.accuracy, signal);
      const line = new ProgressLine(terminal.stderr);
      const report = await evaluateRun(model, {
        data: flags.valid,
        onBadRecord: flags.onBadRecord,
        sequences: flags.sequences,
        baselines: flags.baselines,
        threads: flags.threads,
        device: flags.device,
        dtype: flags.dtype,
        signal,
        onProgress: ({ what, done, total }) =>
          line.update(total > 0 ? `${what}: ${Math.round((100 * done) / total)}%` : `${what} ...`),
      }).finally(() => line.end());
      const keep = async (result: CommandResult): Promise<CommandResult> => {
        if (flags.report !== undefined)
          await writeFileAtomic(flags.report, `${JSON.stringify(result.json, null, 2)}\n`, "--report");
        return result;
      };
      const text = formatEvaluation(report);
      const alone = { json: { ...report, accuracy: null }, text };
      return orKeep(alone, context, async () => {
        // Written before the targets are, which take long and may fail.
        await keep(alone);
        if (!asked) return alone;
        const accuracy = await pairAccuracy(model, flags, asked, signal);
        return keep({ json: { ...report, accuracy }, text: `${text}\n\n${formatAccuracy(accuracy)}` });
      });
    },
  );
}

const formatAccuracy = ({ pairs, tokenAccuracy, exactMatch, scores }: AccuracyResult): string =>
  `Exact tokens of ${pairs} written targets: ${(100 * tokenAccuracy).toFixed(1)} % (whole targets: ${(100 * exactMatch).toFixed(1)} %)\n${formatScores(scores)}`;

const formatScores = ({ bleu, sentenceBleu, rougeL, chrf }: TargetScores): string =>
  `BLEU ${bleu.toFixed(2)} (sacrebleu), ${sentenceBleu.toFixed(4)} (sentences, as DiffuSeq), ROUGE-L ${rougeL.toFixed(4)}, chrF ${chrf.toFixed(2)}`;

const ofRuns = ["model", "valid", "sequences", "baselines", "accuracy", "dtype"];
const ofWriting = ["temperature", "seed", "guidance", "candidates", "select"];
const ofBoth = ["steps", "set"];

function refuseIdleFlags(
  command: Command,
  { suite, accuracy, trainOnly }: EvaluateFlags,
  ofSuites: readonly string[],
): void {
  const refuse = (names: readonly string[], why: string) => refuseFlags(command, names, why);
  if (suite !== undefined) {
    refuse(ofRuns, "is for a trained run (--model), not for a suite");
    if (trainOnly) refuse(["report"], "is written when twins are judged, and --train-only judges none");
    refuse(
      ofWriting,
      "is not for a suite, which chooses temperature, candidates and seed itself; other settings: --set generation.*",
    );
    return;
  }
  refuse(["data"], "is for a suite; the held-out texts of a run are given with --valid");
  refuse(ofSuites, "is for a suite (--suite), not for a trained run");
  if (accuracy === undefined)
    refuse([...ofWriting, ...ofBoth], "says how targets are written: give --accuracy with it");
}

interface PairsToWrite {
  readonly pairs: readonly { readonly src: string; readonly trg: string }[];
  readonly settings: GenerationConfig;
}

/** The held-out pairs of a run, and how their targets are to be written. */
async function pairsToWrite(
  folder: string,
  flags: EvaluateFlags,
  count: number,
  signal: AbortSignal,
): Promise<PairsToWrite> {
  const { readDocuments } = await import("../../data/index.js");
  const { takeEvenly } = await import("../../evaluation/spread.js");
  const { readPretrainedConfig } = await import("../../sampling/pretrained.js");
  const { checkSettings } = await import("../../sampling/sampling-settings.js");
  const { heldOutTexts, withValidTexts } = await import("../../training/training-data.js");
  const config = await readPretrainedConfig(folder);
  const given = givenSettings(flags);
  for (const name of ["num", "length", "blockLength"])
    if (given.has(name))
      throw new UserError(
        `${given.get(name)}: --accuracy writes one text for each source, as long as its target may be; leave it out.`,
      );
  // The likeliest tokens, at once, whatever the run's own settings are.
  const likeliest = { ...config.generation, num: 1, blockLength: 0, temperature: 0 };
  const asked = generationSettings({ ...config, generation: likeliest }, flags, { conditioned: true });
  const settings = checkSettings(config, asked);
  const { train, valid } = config.data;
  const { onBadRecord = config.data.onBadRecord } = flags;
  const paths = flags.valid ?? (valid.length > 0 ? valid : await withValidTexts(train));
  async function* heldOut() {
    const documents =
      paths.length > 0
        ? readDocuments(paths, { part: "valid", onBadRecord })
        : heldOutTexts({ ...config, data: { ...config.data, onBadRecord } }, signal);
    for await (const { src, trg } of documents)
      if (src !== undefined && trg !== undefined) {
        signal.throwIfAborted();
        yield { src, trg };
      }
  }
  const pairs = await takeEvenly(heldOut(), count);
  if (pairs.length === 0)
    throw new UserError(
      `--accuracy needs held-out pairs {"src", "trg"}, and there are none ${paths.length > 0 ? `in ${paths.join(", ")}` : "among what the run holds out"}: ` +
        "pass a file that has them, and that the run has not learned from, with --valid.",
    );
  return { pairs, settings };
}

/** Writes the target of each held-out source and compares. */
async function pairAccuracy(
  folder: string,
  { threads, device, dtype }: EvaluateFlags,
  { pairs, settings }: PairsToWrite,
  signal: AbortSignal,
) {
  const { exactAccuracy } = await import("../../evaluation/index.js");
  const { DiffusionModel, generate } = await import("../../sampling/index.js");
  const model = await DiffusionModel.fromPretrained(folder, { threads, device, dtype });
  try {
    const tokens = (text: string) => model.tokenizer.encode(text).length;
    const length = pairs.reduce((most, { trg }) => Math.max(most, tokens(trg)), 0) + 1;
    // A source longer than the documents of training leaves the target no room of its own: it is told its length.
    const room = (src: string) =>
      (model.config.data.padTargets ?? Number.POSITIVE_INFINITY) - tokens(src) - 3;
    // Random numbers of its own for every source: errors made from one noise would be counted as many.
    let firstSample = 0;
    const write = async (sources: readonly string[]): Promise<string[]> => {
      const requests = sources.map((src, i) => ({
        src,
        firstSample: firstSample + i * settings.candidates,
        ...(room(src) < 1 ? { length } : {}),
      }));
      firstSample += sources.length * settings.candidates;
      return (await generate(model, requests, { ...settings, length }, { signal })).map(({ text }) => text);
    };
    return await exactAccuracy(pairs, write, { tokensOf: (text) => model.tokenizer.encode(text), signal });
  } finally {
    await model.dispose();
  }
}
