/** @file `moe-diffuseq evaluate`: a trained run on held-out text, beside the baselines that make its figures mean something. */
import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { UserError } from "../../errors.js";
import type { TargetScores } from "../../evaluation/index.js";
import { type CommandHost, defineCommand } from "../command.js";
import { commandLine } from "../command-line.js";
import { evaluateSuite, type SuiteFlags } from "../evaluate-suite.js";
import { generationSettings } from "../generation-settings.js";
import { nameList, wholeNumber } from "../options.js";
import { ProgressLine } from "../progress-line.js";

const examples = `
Examples:
  moe-diffuseq evaluate --model runs/masked
  moe-diffuseq evaluate --model runs/masked --valid other.jsonl --sequences 200
  moe-diffuseq evaluate --model runs/copy --accuracy 50
  moe-diffuseq evaluate --model runs/pairs --accuracy 100 --candidates 5 --temperature 0.8 --set generation.topP=0.9
  moe-diffuseq evaluate --suite addresses --quick
  moe-diffuseq evaluate --suite science --data corpora --twins moe-diffuseq,dense-active --seeds 1,2,3 --max-minutes 20`;

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
      "also write the targets of this many held-out {src, trg} pairs: exact tokens, BLEU, ROUGE-L, chrF",
      wholeNumber,
    )
    .option("--report <file.json>", "write every figure into this file")
    .option("--suite <name>", "instead of --model: train twins for one budget each and judge their texts")
    .option("--twins <name,...>", "suite: which twins, the first over all others", nameList, [
      "moe-diffuseq",
      "dense-active",
      "masked",
      "autoregressive",
    ])
    .option(
      "--seeds <n,...>",
      "suite: a training run for each",
      (text) => nameList(text).map(wholeNumber),
      [1],
    )
    .option("--items <n>", "suite: held-out sources to write for", wholeNumber)
    .option("--pairs <n>", "suite: pairs to train on, at most", wholeNumber)
    .option("--jobs <n>", "suite: twins trained side by side, sharing the threads (default: 1)", wholeNumber)
    .option("--quick", "suite: tiny models and budgets, to see that everything works")
    .addHelpText("after", examples);
  defineCommand<EvaluateFlags>(
    command,
    host,
    [
      "model",
      "valid",
      "steps",
      "temperature",
      "seed",
      "guidance",
      "candidates",
      "select",
      "dtype",
      "data",
      "maxMinutes",
      "maxTokens",
      "set",
      "out",
      "threads",
      "device",
    ],
    async (flags, context) => {
      const { terminal, signal } = context;
      if (flags.suite !== undefined) return evaluateSuite(flags, context, commandLine(command, flags));
      const model =
        flags.model ??
        command.error("error: pass --model with a trained run, or --suite with the name of a suite");
      const { evaluateRun, formatEvaluation } = await import("../../evaluation/index.js");
      const line = new ProgressLine(terminal.stderr);
      const report = await evaluateRun(model, {
        data: flags.valid,
        sequences: flags.sequences,
        baselines: flags.baselines,
        threads: flags.threads,
        device: flags.device,
        dtype: flags.dtype,
        signal,
        onProgress: ({ what, done, total }) =>
          line.update(total > 0 ? `${what}: ${Math.round((100 * done) / total)}%` : `${what} ...`),
      }).finally(() => line.end());
      const accuracy =
        flags.accuracy === undefined ? null : await pairAccuracy(model, flags, flags.accuracy, signal);
      const json = { ...report, accuracy };
      if (flags.report !== undefined)
        await writeFile(flags.report, `${JSON.stringify(json, null, 2)}\n`).catch((error: Error) => {
          throw new UserError(`Cannot write the report ${flags.report}: ${error.message}.`);
        });
      const exact = accuracy
        ? `\n\nExact tokens of ${accuracy.pairs} written targets: ${(100 * accuracy.tokenAccuracy).toFixed(1)} % (whole targets: ${(100 * accuracy.exactMatch).toFixed(1)} %)\n${formatScores(accuracy.scores)}`
        : "";
      return { json, text: `${formatEvaluation(report)}${exact}` };
    },
  );
}

const formatScores = ({ bleu, sentenceBleu, rougeL, chrf }: TargetScores): string =>
  `BLEU ${bleu.toFixed(2)} (sacrebleu), ${sentenceBleu.toFixed(4)} (sentences, as DiffuSeq), ROUGE-L ${rougeL.toFixed(4)}, chrF ${chrf.toFixed(2)}`;

/** Writes the target of each held-out source and compares. */
async function pairAccuracy(folder: string, flags: EvaluateFlags, count: number, signal: AbortSignal) {
  const { readDocuments } = await import("../../data/index.js");
  const { exactAccuracy } = await import("../../evaluation/index.js");
  const { DiffusionModel, generate } = await import("../../sampling/index.js");
  const model = await DiffusionModel.fromPretrained(folder, {
    threads: flags.threads,
    device: flags.device,
    dtype: flags.dtype,
  });
  try {
    const paths = flags.valid ?? model.config.data.valid;
    const pairs: { src: string; trg: string }[] = [];
    for await (const { src, trg } of readDocuments(paths, { part: "valid" })) {
      if (src !== undefined && trg !== undefined) pairs.push({ src, trg });
      if (pairs.length === count) break;
    }
    if (pairs.length === 0)
      throw new UserError(
        '--accuracy needs held-out pairs {"src", "trg"}: pass a file that has them with --valid.',
      );
    const longest = Math.max(...pairs.map(({ trg }) => model.tokenizer.encode(trg).length)) + 1;
    const asked = generationSettings(model.config, flags);
    const settings = { ...asked, length: longest, num: 1, temperature: flags.temperature ?? 0 };
    // Random numbers of its own for every source: errors made from one noise would be counted as many.
    let firstSample = 0;
    const write = async (sources: readonly string[]): Promise<string[]> => {
      const requests = sources.map((src, i) => ({ src, firstSample: firstSample + i * settings.candidates }));
      firstSample += sources.length * settings.candidates;
      return (await generate(model, requests, settings, { signal })).map(({ text }) => text);
    };
    return await exactAccuracy(pairs, write, { tokensOf: (text) => model.tokenizer.encode(text), signal });
  } finally {
    await model.dispose();
  }
}
