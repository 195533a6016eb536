/**
 * @file `data.json` of a run: what its texts and its vocabulary were when it began. A resumed run that would train on other texts stops instead: its rows
 * would not be those that the checkpoint counts.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { modifiedAt, type TextRecord } from "../data/index.js";
import { explainReadError, isMissing, UserError } from "../errors.js";
import { writeFileAtomic } from "../hub/durable-file.js";
import type { RunTexts } from "./training-data.js";

const records = z.array(
  z.strictObject({
    path: z.string(),
    files: z.int(),
    bytes: z.int(),
    sha256: z.string(),
    modified: z.string().nullable(),
  }),
);
/** Runs of before have no checksum of their vocabulary, and do not say whether they saw pairs. */
const schema = z.strictObject({
  train: records,
  valid: records,
  tokenizer: z.string().optional(),
  pairs: z.boolean().optional(),
});

/** Writes the record. Empty lists: the embedded corpus, or held out of the training texts. */
export async function recordTexts(path: string, { train, valid, tokenizer, pairs }: RunTexts): Promise<void> {
  const dated = (list: readonly TextRecord[]) =>
    Promise.all(list.map(async (record) => ({ ...record, modified: await modifiedAt(record.path) })));
  const content = { train: await dated(train), valid: await dated(valid), tokenizer, pairs };
  await writeFileAtomic(path, `${JSON.stringify(content, null, 2)}\n`);
}

/** The order that validation rows come in; to be raised with every other one, as the first rows are then others. 1, without a number: the texts'. */
const ROW_ORDER = 2;

/**
 * Tells validations on other rows apart: by the texts, whatever they are called, and the order of their rows. No texts: the embedded corpus,
 * or held out of the training texts.
 */
export const nameOfTexts = (texts: readonly TextRecord[]): string =>
  createHash("sha256")
    .update([ROW_ORDER, ...texts.map(({ sha256 }) => sha256)].join())
    .digest("hex")
    .slice(0, 12);

/**
 * Holds texts against the record at `path` (older runs have none). Training texts may have moved; validation texts may be others if they
 * were named anew. The run's vocabulary is the one it began with.
 * @param instead what else can be done where texts have changed. Default: a new run
 * @throws UserError naming the first path that holds something else than it did
 */
export async function checkTexts(
  path: string,
  { train, valid, tokenizer }: RunTexts,
  instead = "or start a new run with another --out",
): Promise<void> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw explainReadError(error, path);
  });
  if (text === null) return;
  let stored: z.infer<typeof schema>;
  try {
    stored = schema.parse(JSON.parse(text));
  } catch {
    throw new UserError(
      `${path} is damaged. Remove it to continue without comparing the texts with those the run began with.`,
    );
  }
  if (stored.tokenizer !== undefined && stored.tokenizer !== tokenizer)
    throw new UserError(
      `${join(dirname(path), "tokenizer.json")} is not the vocabulary the run began with (its checksum was ${stored.tokenizer.slice(0, 12)}, ` +
        `now ${tokenizer.slice(0, 12)}), so ids would stand for other tokens than those learned. Bring back the file as it was.`,
    );
  if (stored.train.length !== train.length)
    throw new UserError(
      `The run began with ${names(stored.train)} and would go on with ${names(train)}. ` +
        `Give the --data it began with, ${instead}.`,
    );
  if (train.length > 0 && (stored.valid.length === 0) !== (valid.length === 0))
    throw new UserError(
      stored.valid.length === 0
        ? "The run holds out a share of its training texts and would now be validated on others, which would put that share among the " +
            "texts it trains on. Leave out --valid (evaluate --valid takes any texts), or start a new run with another --out."
        : "The run began with texts to validate on and would go on without. Give its --valid, or start a new run with another --out.",
    );
  for (const [i, record] of train.entries()) await refuseOther(stored.train[i], record, instead);
  for (const record of valid) {
    const known = stored.valid.find((other) => other.path === record.path);
    if (known) await refuseOther(known, record, instead);
  }
}

/** Whether a run has seen sources with their targets; null: its record is missing, damaged or too old to say. */
export async function trainedOnPairs(path: string): Promise<boolean | null> {
  const text = await readFile(path, "utf8").catch(() => "null");
  try {
    return schema.parse(JSON.parse(text)).pairs ?? null;
  } catch {
    return null;
  }
}

const names = (list: readonly { readonly path: string }[]): string =>
  list.length === 0 ? "the embedded corpus" : list.map(({ path }) => path).join(", ");

async function refuseOther(
  before: z.infer<typeof records>[number],
  { path, bytes, sha256 }: TextRecord,
  instead: string,
): Promise<void> {
  if (before.sha256 === sha256 && before.bytes === bytes) return;
  const what =
    before.bytes === bytes ? "the same size but another checksum" : `${bytes} bytes, not ${before.bytes}`;
  const when = (await modifiedAt(path)) ?? "unknown";
  throw new UserError(
    `${path} has changed since the run began: it has ${what} (last modified ${when}; then ${before.modified ?? "unknown"}). ` +
      `Bring back the texts as they were, ${instead}.`,
  );
}
