/** @file `moe-diffuseq report`: how a run has learned, on a page. */
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { UserError } from "../../errors.js";
import { writeFileAtomic } from "../../hub/index.js";
import type { ReportData } from "../../report/data.js";
import { type CommandHost, defineCommand } from "../command.js";
import { type Flags, pathName } from "../options.js";
import { ProgressLine } from "../progress-line.js";
import { requireResultFile } from "../result-file.js";

const examples = `
Examples:
  npx moe-diffuseq report --model runs/mine
  npx moe-diffuseq report --model runs/masked --baselines --out masked.html`;

interface ReportFlags extends Flags {
  baselines?: boolean;
}

export function registerReport(program: Command, host: CommandHost): void {
  const command = program
    .command("report")
    .description(
      "a page of how a run has learned, with pictures: losses, experts, attention; also while it goes on",
    )
    .option("--out <file.html>", "where the page goes (default: report.html in the run)", pathName)
    .option(
      "--baselines",
      "draw what n-gram models reach beside its bits per byte (they take seconds per million tokens)",
    )
    .addHelpText("after", examples);
  defineCommand<ReportFlags>(command, host, ["model"], async (flags, { terminal, signal }) => {
    const model = flags.model ?? command.error("error: pass --model with the directory of a run");
    const out = flags.out ?? join(model, "report.html");
    const { runReport } = await import("../run-report.js");
    const { trainingReport } = await import("../../report/training-report.js");
    const data = await runReport(resolve(model));
    if (flags.baselines) requireBitsPerByte(model, data.metrics);
    await requireResultFile(out, { flag: "--out", ending: ".html" });
    const line = new ProgressLine(terminal.stderr);
    const baselines = flags.baselines
      ? await baselinesOf(model, (what) => line.update(what), signal).finally(() => line.end())
      : [];
    await writeFileAtomic(out, trainingReport({ ...data, baselines }), "--out");
    const lines = data.metrics.length;
    return {
      json: { report: out, lines, baselines },
      text: `${lines === 0 ? "Nothing is logged yet. " : ""}Report with pictures: ${out}`,
    };
  });
}

/** @throws UserError for a run that n-gram models cannot stand beside */
function requireBitsPerByte(model: string, metrics: ReportData["metrics"]): void {
  if (!metrics.some(({ bitsPerByte }) => typeof bitsPerByte === "number"))
    throw new UserError(
      `--baselines: ${model} has logged no bits per byte to compare with: a Gaussian process has none, others log them when they validate; leave it out.`,
    );
}

async function baselinesOf(model: string, onProgress: (what: string) => void, signal: AbortSignal) {
  const { runBaselines } = await import("../../evaluation/index.js");
  return runBaselines(model, { onProgress, signal });
}
