/** @file `moe-diffuseq task`: synthetic {src, trg} pairs that tell whether conditional generation conditions. */
import type { Command } from "commander";
import { requireWritable, writeFileAtomic } from "../../hub/index.js";
import { type CommandHost, defineCommand } from "../command.js";
import { atLeast, type Flags, wholeNumber } from "../options.js";

interface TaskFlags extends Flags {
  out: string;
  documents: number;
  words: number;
  first: number;
}

const descriptions = {
  copy: "pairs of random words whose target is the source",
  reverse: "pairs of random words whose target is the source backwards",
} as const;

export function registerTask(program: Command, host: CommandHost): void {
  const group = program
    .command("task")
    .description("synthetic pairs that tell whether conditional generation conditions");
  for (const [name, description] of Object.entries(descriptions)) {
    const command = group
      .command(name)
      .description(`write ${description}`)
      .requiredOption("--out <file.jsonl>", "file for the pairs")
      .option("--documents <n>", "pairs to write", wholeNumber, 20_000)
      .option("--words <n>", "words of a source", wholeNumber, 64)
      .option("--first <n>", "number of the first pair: other numbers are other draws", atLeast(0), 0);
    defineCommand<TaskFlags>(command, host, ["seed"], async (flags) => {
      const { out, documents, words, first, seed } = flags;
      const { copyTask, reverseTask, taskLines, taskVocabSize } = await import("../../evaluation/index.js");
      await requireWritable(out);
      const pairs = (name === "copy" ? copyTask : reverseTask)({ documents, words, first, seed });
      await writeFileAtomic(out, taskLines(pairs));
      const vocabSize = taskVocabSize();
      return {
        json: { task: name, documents, words, first, out, vocabSize },
        text: `${documents} pairs: ${out} (one token a word with --set model.vocabSize=${vocabSize})`,
      };
    });
  }
}
