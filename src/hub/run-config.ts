/**
 * @file The configuration of a run's directory: `config.json`, and `generation_config.json` laid over its settings of generation, which
 * may be edited at any time.
 */
import { join } from "node:path";
import { configFromLayers, type RunConfig } from "../config/index.js";
import { readConfigFile } from "../config/read-file.js";
import { isMissing } from "../errors.js";

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

/** What `generation_config.json` has, as it stands; undefined: there is none. @throws UserError when it is broken or may not be read */
export const readGenerationConfig = (folder: string): Promise<unknown> =>
  readJson(join(folder, "generation_config.json"));

async function readJson(file: string): Promise<unknown> {
  try {
    return readConfigFile(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
