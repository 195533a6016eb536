/**
 * @file `manifest.json` of a token cache: what it was made from, how far it is, and what every file must be. It is written again, in one
 * step, after each shard, so that a kill at any moment leaves a cache that the same command completes.
 *
 *     CACHE/manifest.json            this
 *     CACHE/tokenizer.json           the vocabulary
 *     CACHE/train-00000.tokens ...   shards
 *     CACHE/valid-00000.tokens ...   shards of the validation texts, when there are any
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { explainReadError, isMissing, PROGRAM, shellWord, UserError } from "../../errors.js";
import { writeFileAtomic } from "../../hub/durable-file.js";
import { version } from "../../version.js";

const FORMAT = "moe-diffuseq token cache";
const count = z.int().min(0);
const checksum = z.string().regex(/^[0-9a-f]{64}$/);

const shardSchema = z.strictObject({
  file: z.string(),
  bytes: count,
  sha256: checksum.describe("of the file"),
  indexSha256: checksum.describe("of its header and index"),
  texts: checksum.describe("of the checksums of its documents"),
  documents: count,
  conditional: count.describe("documents that are a source with its target"),
  tokens: count.describe("tokens of text; special tokens are added when a document is read"),
  textBytes: count.describe("UTF-8 bytes of the text"),
});

const textsSchema = z.strictObject({
  corpora: z.array(z.strictObject({ path: z.string(), files: count, bytes: count, sha256: checksum })),
  skippedRecords: count,
  empty: count,
  skippedFiles: count,
});

const partSchema = z.strictObject({
  texts: textsSchema.nullable().describe("what was read; null: not all of it yet"),
  shards: z.array(shardSchema),
});

const requestSchema = z.strictObject({
  data: z.array(z.string()),
  valid: z.array(z.string()),
  tokenizer: z.string().nullable(),
  vocabSize: z.int().nullable(),
  onBadRecord: z.enum(["stop", "skip"]),
  documentPer: z.enum(["file", "folder"]),
  shardBytes: z.int().min(1),
});

const manifestSchema = z.strictObject({
  format: z.literal(FORMAT),
  formatVersion: z.literal(1),
  version: z.string().describe("version of the program that began it"),
  complete: z.boolean(),
  request: requestSchema.describe("what was asked for: the same command completes or mends the cache"),
  tokenizer: z.strictObject({ sha256: checksum, vocabSize: z.int() }).nullable(),
  parts: z.strictObject({ train: partSchema, valid: partSchema }),
  sha256: checksum.describe("of JSON.stringify of everything above"),
  stamps: z
    .strictObject({ train: checksum.nullable(), valid: checksum.nullable() })
    .describe("of names, sizes and times of the files read, by which a change is suspected")
    .default({ train: null, valid: null }),
});

export type ShardRecord = z.infer<typeof shardSchema>;
export type CachePart = z.infer<typeof partSchema>;
export type PrepareRequest = z.infer<typeof requestSchema>;
export type Manifest = z.infer<typeof manifestSchema>;
export type PartName = keyof Manifest["parts"];

export const manifestPath = (cache: string): string => join(cache, "manifest.json");
export const shardName = (part: PartName, number: number): string =>
  `${part}-${String(number).padStart(5, "0")}.tokens`;

/** Whether a file is called as a shard is. */
export const isShardName = (name: string): boolean => /^(train|valid)-\d{5,}\.tokens$/.test(name);

export function newManifest(request: PrepareRequest): Manifest {
  const part = (): CachePart => ({ texts: null, shards: [] });
  return {
    format: FORMAT,
    formatVersion: 1,
    version,
    complete: false,
    request,
    tokenizer: null,
    parts: { train: part(), valid: part() },
    sha256: "",
    stamps: { train: null, valid: null },
  };
}

/** Stamps are not among it: the same texts make the same cache, whenever they were written. */
function checksumOf({ sha256: _, stamps: __, ...rest }: Manifest): string {
  return createHash("sha256").update(JSON.stringify(rest)).digest("hex");
}

/** Writes the manifest in one step. */
export async function writeManifest(cache: string, manifest: Manifest): Promise<void> {
  const parsed = manifestSchema.parse({ ...manifest, sha256: "0".repeat(64) });
  const text = JSON.stringify({ ...parsed, sha256: checksumOf(parsed) }, null, 1);
  await writeFileAtomic(manifestPath(cache), `${text}\n`);
}

/** A manifest that cannot be used: why, and what the cache was made from where that can still be read. */
interface Damaged {
  readonly manifest: null;
  readonly damage: string;
  readonly request: PrepareRequest | null;
}

export type FoundManifest = { readonly manifest: Manifest; readonly damage: null } | Damaged;

/** The manifest of a cache, or what is wrong with it; null: the folder is no token cache. */
export async function inspectManifest(cache: string): Promise<FoundManifest | null> {
  const path = manifestPath(cache);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw explainReadError(error, existsSync(cache) ? path : cache);
  });
  if (text === null) return null;
  // A folder of other things may have a manifest.json too.
  if (!text.includes(FORMAT)) return null;
  let json: { formatVersion?: unknown; request?: unknown };
  try {
    json = JSON.parse(text) as typeof json;
  } catch {
    return { manifest: null, damage: "it is not whole JSON", request: null };
  }
  if (json.formatVersion !== 1) {
    const damage = `it has format version ${json.formatVersion}, expected 1 (another version of the program made it)`;
    return { manifest: null, damage, request: null };
  }
  const parsed = manifestSchema.safeParse(json);
  const request = requestSchema.safeParse(json.request).data ?? null;
  if (!parsed.success) return { manifest: null, damage: z.prettifyError(parsed.error), request };
  if (checksumOf(parsed.data) !== parsed.data.sha256)
    return { manifest: null, damage: "it is not what was written (its checksum differs)", request };
  return { manifest: parsed.data, damage: null };
}

/** Whether a path is the folder of a token cache, whole or not. */
export const isTokenCache = async (path: string): Promise<boolean> => (await inspectManifest(path)) !== null;

/** @throws UserError when the cache is not complete or its manifest is damaged, with the command that mends it */
export async function readManifest(cache: string): Promise<Manifest> {
  const found = await inspectManifest(cache);
  if (!found) throw new UserError(`${cache} is not a token cache: expected ${manifestPath(cache)}`);
  if (found.damage !== null) throw refuseDamaged(cache, found);
  if (!found.manifest.complete)
    throw new UserError(
      `${cache} is a token cache that is not complete. To complete it:\n  ${prepareCommand(cache, found.manifest.request)}`,
    );
  return found.manifest;
}

/** The error for a manifest that cannot be used, and what makes the cache again. */
export function refuseDamaged(cache: string, { damage, request }: Damaged): UserError {
  const again = request
    ? `This command makes the cache again:\n  ${prepareCommand(cache, request)}`
    : `To make the cache again, remove ${cache}, or give ${PROGRAM} prepare another --out; its --data, --valid and --tokenizer are those of before.`;
  return new UserError(`${manifestPath(cache)} is damaged: ${damage}. ${again}`);
}

/** The command that completes a cache, or mends it. The cache knows how large its shards are. */
export function prepareCommand(cache: string, request: PrepareRequest): string {
  const { data, valid, tokenizer, vocabSize, onBadRecord, documentPer } = request;
  const words = ["prepare"];
  if (data.length > 0) words.push("--data", ...data);
  if (valid.length > 0) words.push("--valid", ...valid);
  if (tokenizer !== null) words.push("--tokenizer", tokenizer);
  if (vocabSize !== null) words.push("--vocab-size", String(vocabSize));
  if (onBadRecord !== "stop") words.push("--on-bad-record", onBadRecord);
  if (documentPer !== "file") words.push("--document-per", documentPer);
  return `${PROGRAM} ${[...words, "--out", cache].map(shellWord).join(" ")}`;
}
