/** @file `moe-diffuseq tokenizer train`: a byte-level BPE vocabulary from texts. */
import { join } from "node:path";
import type { Command } from "commander";
import { modelConfigSchema } from "../../config/index.js";
import { UserError } from "../../errors.js";
import { requireWritable } from "../../hub/index.js";
import { type CommandHost, defineCommand } from "../command.js";
import { formatBytes } from "../format.js";
import { type Flags, pathName } from "../options.js";
import { ProgressLine } from "../progress-line.js";

export function registerTokenizer(program: Command, host: CommandHost): void {
  const tokenizer = program.command("tokenizer").description("vocabularies");
  const train = tokenizer
    .command("train")
    .description("train a byte-level BPE vocabulary (without --data: on the embedded corpus)")
    .requiredOption("--out <dir>", "folder for tokenizer.json", pathName);
  defineCommand<Flags & { out: string }>(
    train,
    host,
    ["data", "vocabSize", "onBadRecord"],
    async (flags, { terminal, signal }) => {
      const { embeddedCorpus, readDocuments, refuseInside, Tokenizer } = await import("../../data/index.js");
      await refuseOthers(flags.out);
      await refuseInside(flags.out, flags.data ?? []);
      await requireWritable(join(flags.out, "tokenizer.json"));
      const reader = flags.data ? readDocuments(flags.data, { onBadRecord: flags.onBadRecord }) : null;
      const progress = new ProgressLine(terminal.stderr);
      let documents = 0;
      let characters = 0;
      async function* texts(): AsyncGenerator<string> {
        for await (const { text, src, trg } of reader ?? embeddedCorpus()) {
          documents++;
          for (const part of [text, src, trg]) {
            if (part === undefined) continue;
            characters += part.length;
            yield part;
          }
          progress.update(`${documents} documents, ${formatBytes(characters)}`);
        }
        progress.update(`${documents} documents, ${formatBytes(characters)}: merging`);
      }
      const vocabulary = await Tokenizer.train(texts(), {
        vocabSize: flags.vocabSize ?? modelConfigSchema.parse({}).vocabSize,
        signal,
      }).finally(() => progress.end());
      signal.throwIfAborted();
      await vocabulary.save(flags.out);
      const skipped = reader?.counts.skippedRecords ?? 0;
      const note = skipped > 0 ? `, ${skipped} broken records skipped` : "";
      return {
        json: {
          vocabSize: vocabulary.vocabSize,
          documents,
          characters,
          skippedRecords: skipped,
          out: flags.out,
        },
        text: `${vocabulary.vocabSize} tokens from ${documents} documents${note}: ${flags.out}/tokenizer.json`,
      };
    },
  );
}

/** A run and a token cache have a vocabulary of their own, which their other files count on. */
async function refuseOthers(out: string): Promise<void> {
  const { isTokenCache } = await import("../../data/index.js");
  const { RunDirectory } = await import("../../training/run-directory.js");
  const what = (await RunDirectory.holdsRun(out)) ? "run" : (await isTokenCache(out)) ? "token cache" : null;
  if (what === null) return;
  throw new UserError(
    `${out} holds a ${what}, whose files count on the vocabulary it has; give --out another folder.`,
  );
}
