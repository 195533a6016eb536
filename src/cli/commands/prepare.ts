/** @file `moe-diffuseq prepare`: texts of any size into a token cache that training streams from the disk. */
import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import type { PartSummary, PrepareProgress, PrepareSummary } from "../../data/index.js";
import { PROGRAM, shellWord } from "../../errors.js";
import { type CommandHost, defineCommand } from "../command.js";
import { commandLine } from "../command-line.js";
import { formatBytes, formatCount, formatDuration } from "../format.js";
import { Interrupted } from "../interrupt.js";
import { type Flags, pathName } from "../options.js";
import { ProgressLine } from "../progress-line.js";
import type { CommandResult } from "../terminal.js";

interface PrepareFlags extends Flags {
  out: string;
  documentPer?: "file" | "folder";
}

const examples = `
Examples:
  npx moe-diffuseq prepare --data texts.jsonl.gz --vocab-size 8192 --out caches/texts
  npx moe-diffuseq train --data caches/texts --out runs/texts --max-minutes 60
Killed or stopped, the same command goes on where it was; on a damaged cache it writes what is damaged anew.`;

/** `tokenizing 42%  12.3 MB/s  3.21M tokens  1m 05s left` */
export function prepareLine(progress: PrepareProgress, seconds: number): string {
  const { what, bytes, totalBytes, tokens, textBytes } = progress;
  const share = totalBytes > 0 ? Math.min(1, bytes / totalBytes) : 0;
  const left = share > 0.01 && seconds > 2 ? (seconds * (1 - share)) / share : null;
  return [
    bytes > 0 ? `${what} ${Math.floor(100 * share)}%` : `${what} ...`,
    tokens > 0 && seconds > 1 ? `${formatBytes(textBytes / seconds)}/s` : "",
    tokens > 0 ? `${formatCount(tokens)} tokens` : "",
    left === null ? "" : `${formatDuration(left)} left`,
  ]
    .filter((part) => part !== "")
    .join("  ");
}

const describePart = ({ documents, tokens, textBytes, shards, skippedRecords }: PartSummary): string =>
  `${formatCount(documents)} documents, ${formatCount(tokens)} tokens of ${formatBytes(textBytes)} in ${shards} shard${shards === 1 ? "" : "s"}` +
  (skippedRecords > 0 ? `, ${skippedRecords} broken records skipped` : "");

function describe(summary: PrepareSummary): string {
  const { out, train, valid, interrupted, command, shardsWritten, textBytesTokenized, secondsTokenizing } =
    summary;
  const speed =
    secondsTokenizing > 0
      ? ` at ${formatBytes(textBytesTokenized / secondsTokenizing)} of text a second`
      : "";
  if (interrupted)
    return `Stopped. What is finished stays: ${describePart(train)}. To continue:\n  ${command}`;
  return [
    `${out}: ${describePart(train)}`,
    ...(valid.documents > 0 ? [`to validate on: ${describePart(valid)}`] : []),
    shardsWritten > 0
      ? `Wrote ${shardsWritten} shard${shardsWritten === 1 ? "" : "s"}${speed}.`
      : "Everything was there and whole.",
    `Train with: ${PROGRAM} train --data ${shellWord(out)} --set model.vocabSize=${summary.vocabSize} ...`,
  ].join("\n");
}

export function registerPrepare(program: Command, host: CommandHost): void {
  const command = program
    .command("prepare")
    .description(
      "turn texts of any size into a token cache that training streams from the disk (without --data: the embedded corpus)",
    )
    .requiredOption("--out <dir>", "folder of the cache", pathName)
    .addOption(
      new Option(
        "--document-per <what>",
        "one document inside a folder: each file (default), or all files of a folder",
      ).choices(["file", "folder"]),
    )
    .addHelpText("after", examples);
  defineCommand<PrepareFlags>(
    command,
    host,
    ["data", "valid", "tokenizer", "vocabSize", "onBadRecord", "threads"],
    async (flags, { terminal, signal }): Promise<CommandResult> => {
      const { prepareCache } = await import("../../data/index.js");
      const line = new ProgressLine(terminal.stderr);
      let phase = "";
      let began = performance.now();
      const summary = await prepareCache({
        data: flags.data ?? [],
        valid: flags.valid,
        out: flags.out,
        tokenizer: flags.tokenizer,
        vocabSize: flags.vocabSize,
        onBadRecord: flags.onBadRecord,
        documentPer: flags.documentPer,
        threads: flags.threads ?? availableParallelism(),
        signal,
        onProgress: (progress) => {
          if (progress.what !== phase) began = performance.now();
          phase = progress.what;
          line.update(prepareLine(progress, (performance.now() - began) / 1000));
        },
      }).finally(() => line.end());
      const { interrupted } = summary;
      // As it was given, with what says how it is to be done and not what is made.
      const told = { ...summary, command: commandLine(command, flags) };
      return {
        json: told,
        text: describe(told),
        exitCode: interrupted && signal.reason instanceof Interrupted ? signal.reason.exitCode : 0,
      };
    },
  );
}
