/** @file A tokenizer on disk: `tokenizer.json` and `tokenizer_config.json` in a model's folder. */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isMissing, UserError } from "../errors.js";
import { makeFolder, writeFileAtomic } from "../hub/durable-file.js";
import { readTextFile } from "./bytes.js";
import { checkTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";

/** Reads and checks a `tokenizer.json`, or the one in a folder. */
export async function loadTokenizerJson(path: string): Promise<TokenizerJson> {
  const found = await stat(path).catch(() => null);
  const file = found?.isDirectory() ? join(path, "tokenizer.json") : path;
  const text = await readTextFile(file).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
    const mend = existsSync(join(dirname(file), "config.json"))
      ? "it belongs to the run in that folder, whose weights fit no other: bring it back from where the run was made"
      : "train one with `npx moe-diffuseq tokenizer train`";
    throw new UserError(`${file}: expected a tokenizer, found no such file; ${mend}`);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UserError(
      `${file}: expected JSON, got ${error instanceof Error ? error.message : error}; the file is damaged: write it again`,
    );
  }
  checkTokenizerJson(json, file);
  return json as TokenizerJson;
}

/** Writes both files into a folder, which is made if need be. */
export async function saveTokenizerJson(
  folder: string,
  json: TokenizerJson,
  config: Record<string, unknown>,
): Promise<void> {
  await makeFolder(folder);
  await writeFileAtomic(join(folder, "tokenizer.json"), `${JSON.stringify(json, null, 1)}\n`);
  await writeFileAtomic(join(folder, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
}
