/** @file `moe-diffuseq task`: synthetic {src, trg} pairs that tell whether conditional generation conditions. */
import type { Command } from "commander";
import type { TaskName } from "../../evaluation/tasks.js";
import { requireWritable, writeFileAtomic } from "../../hub/index.js";
import { type CommandHost, defineCommand } from "../command.js";
import { atLeast, type Flags, pathName, wholeNumber } from "../options.js";

interface TaskFlags extends Flags {
  out: string;
  documents: number;
  words: number;
  first: number;
}

const descriptions: Readonly<Record<TaskName, string>> = {
  copy: "pairs of random words whose target is the source",
  reverse: "pairs of random words whose target is the source backwards",
};

export function registerTask(program: Command, host: CommandHost): void {
  const group = program
    .command("task")
    .description("synthetic pairs that tell whether conditional generation conditions");
  for (const name of Object.keys(descriptions) as TaskName[]) {
    const command = group
      .command(name)
      .description(`write ${descriptions[name]}`)
      .requiredOption("--out <file.jsonl>", "file for the pairs", pathName)
      .option("--documents <n>", "pairs to write", wholeNumber, 20_000)
      .option("--words <n>", "words of a source", wholeNumber, 64)
      .option("--first <n>", "number of the first pair: other numbers are other draws", atLeast(0), 0);
    defineCommand<TaskFlags>(command, host, ["seed"], async (flags, { signal }) => {
      const { out, documents, words, first, seed } = flags;
      const { taskDocuments, taskLines, taskVocabSize } = await import("../../evaluation/tasks.js");
      const pairs = taskDocuments(name, { documents, words, first, seed });
      await requireWritable(out);
      await writeFileAtomic(out, whileWanted(taskLines(pairs), signal));
      const vocabSize = taskVocabSize();
      return {
        json: { task: name, documents, words, first, out, vocabSize },
        text: `${documents} pairs: ${out} (one token a word with --set model.vocabSize=${vocabSize})`,
      };
    });
  }
}

/** The pieces, until the signal is aborted: it is heard while a piece is being written. */
function* whileWanted<T>(pieces: Iterable<T>, signal: AbortSignal): Generator<T> {
  for (const piece of pieces) {
    signal.throwIfAborted();
    yield piece;
  }
}
