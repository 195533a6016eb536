/**
 * @file The configuration of a run's directory: `config.json`, and `generation_config.json` laid over its settings of generation, which
 * may be edited at any time.
 */
import { join } from "node:path";
import { configFromLayers, type RunConfig } from "../config/index.js";
import { readConfigFile } from "../config/read-file.js";
import { isMissing, PROGRAM, shellWord, UserError } from "../errors.js";

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

/** The same of a folder that is to be a run's. @throws UserError when it is none, too */
export async function requireRunConfig(folder: string, options?: { edited?: boolean }): Promise<RunConfig> {
  const config = await readRunConfig(folder, options);
  if (config) return config;
  throw new UserError(
    `${folder} is not the directory of a run: expected the directory of a trained run, found no config.json in it; pass what ` +
      `\`train --out\` wrote. To begin a new run there: ${PROGRAM} train --out ${shellWord(folder)}, without --resume.`,
  );
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
