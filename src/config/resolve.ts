/** @file From what the command line gives (preset, file, settings) to one checked configuration. Node only: reads files. */
import { readFileSync } from "node:fs";
import { UserError } from "../errors.js";
import { parseJson } from "./json.js";
import { type ConfigLayer, configFromLayers, parseSetting } from "./layers.js";
import { defaultPreset, findPreset } from "./presets.js";
import type { PartialRunConfig, RunConfig } from "./run-config.js";

export interface ResolveOptions {
  /** Name of a preset. Default: the file's `preset` key, else `moe-diffuseq`. */
  preset?: string;
  /** JSON file with any part of a configuration; its `preset` key, if any, names what it builds on. */
  configFile?: string;
  /** `a.b.c=value` settings, in order. */
  sets?: readonly string[];
  /** Settings made by flags of their own (`--max-steps`); they win over everything else. */
  overrides?: PartialRunConfig;
}

/** The text of a configuration file as a value. Throws a UserError with file, line and column when it is broken. */
export function readConfigFile(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : String(error);
    throw new UserError(`Cannot read the configuration ${path}: ${reason}.`);
  }
  return parseJson(text, path);
}

/** Defaults < preset < file < `sets` < `overrides`, checked; throws a UserError that names every fault. */
export function resolveConfig(options: ResolveOptions = {}): RunConfig {
  const file = options.configFile === undefined ? undefined : readConfigFile(options.configFile);
  const named = (file as PartialRunConfig | null | undefined)?.preset;
  const preset = findPreset(options.preset ?? (typeof named === "string" ? named : defaultPreset));
  const layers: ConfigLayer[] = [{ name: `preset ${preset.name}`, config: preset.config }];
  if (file !== undefined) layers.push({ name: options.configFile!, config: file });
  for (const setting of options.sets ?? []) layers.push({ name: "--set", config: parseSetting(setting) });
  if (options.overrides) layers.push({ name: "command line", config: options.overrides });
  layers.push({ name: "preset", config: { preset: preset.name } });
  return configFromLayers(layers);
}
