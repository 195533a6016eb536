/** @file `moe-diffuseq task`: synthetic {src, trg} pairs that tell whether conditional generation conditions. */
import { writeFile } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import { UserError } from "../../errors.js";
import { type CommandHost, defineCommand } from "../command.js";
import type { Flags } from "../options.js";

interface TaskFlags extends Flags {
  out: string;
  documents: number;
  words: number;
  first: number;
}

const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError("Expected a whole number.");
  return value;
};

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
      .option("--documents <n>", "pairs to write", count, 20_000)
      .option("--words <n>", "words of a source", count, 64)
      .option("--first <n>", "number of the first pair: other numbers are other draws", count, 0);
    defineCommand<TaskFlags>(command, host, ["seed"], async (flags) => {
      const { out, documents, words, first, seed } = flags;
      const { copyTask, reverseTask, taskLines, taskVocabSize } = await import("../../evaluation/index.js");
      const pairs = (name === "copy" ? copyTask : reverseTask)({ documents, words, first, seed });
      await writeFile(out, taskLines(pairs)).catch((error: Error) => {
        throw new UserError(`Cannot write ${out}: ${error.message}.`);
      });
      const vocabSize = taskVocabSize();
      return {
        json: { task: name, documents, words, first, out, vocabSize },
        text: `${documents} pairs: ${out} (one token a word with --set model.vocabSize=${vocabSize})`,
      };
    });
  }
}
