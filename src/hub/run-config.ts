/**
 * @file The configuration of a run's directory: `config.json`, and `generation_config.json` laid over its settings of generation, which
 * may be edited at any time.
 */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { configFromLayers, type RunConfig } from "../config/index.js";
import { readConfigFile } from "../config/read-file.js";
import { isMissing, UserError } from "../errors.js";

/**
 * The configuration of a run; null: there is none in the folder.
 * @param edited whether `generation_config.json` counts. Default: true
 * @throws UserError when a file is broken or may not be read
 */
export async function readRunConfig(folder: string, { edited = true } = {}): Promise<RunConfig | null> {
  const file = join(folder, "config.json");
  const config = await readJson(file);
  if (config === undefined) return null;
  const layers = [{ name: file, config }];
  const generation = edited ? await readGenerationConfig(folder) : undefined;
  if (generation !== undefined)
    layers.push({ name: join(folder, "generation_config.json"), config: { generation } });
  return configFromLayers(layers);
}

/**
 * The same of a folder that is to be a run's.
 * @param instead a sentence: what can be done where there is no run and none could be meant
 * @throws UserError when it is none, too
 */
export async function requireRunConfig(
  folder: string,
  { instead, ...options }: { edited?: boolean; instead?: string | undefined } = {},
): Promise<RunConfig> {
  const config = await readRunConfig(folder, options);
  if (config) return config;
  const [found, where] = await whatStandsAt(folder);
  throw new UserError(
    `${folder} is not the directory of a run: expected the directory of a trained run, found ${found}; pass ${where}.` +
      (instead === undefined || found === "a file" ? "" : ` ${instead}`),
  );
}

/** What is found where no run is, and what to pass instead. */
async function whatStandsAt(path: string): Promise<readonly [found: string, where: string]> {
  const there = await stat(path).catch(() => null);
  const found = !there ? "nothing there" : there.isDirectory() ? "no config.json in it" : "a file";
  const inside = [dirname(path), dirname(dirname(path))].find((folder) =>
    existsSync(join(folder, "config.json")),
  );
  return [found, there && inside !== undefined ? `${inside}, whose it is` : "what `train --out` wrote"];
}

/** What `generation_config.json` has, as it stands; undefined: there is none. @throws UserError when it is broken or may not be read */
export const readGenerationConfig = (folder: string): Promise<unknown> =>
  readJson(join(folder, "generation_config.json"));

async function readJson(file: string): Promise<unknown> {
  try {
    return readConfigFile(file, file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
