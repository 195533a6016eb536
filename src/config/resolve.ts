/** @file From what the command line gives (preset, file, settings) to one checked configuration. Node only: reads files. */
import { UserError } from "../errors.js";
import { checkObject } from "./check-object.js";
import { type ConfigLayer, configFromLayers, isTree, parseSetting, show } from "./layers.js";
import { defaultPreset, findPreset, type PresetName } from "./presets.js";
import { readConfigFile } from "./read-file.js";
import type { PartialRunConfig, RunConfig } from "./run-config.js";

export interface ResolveOptions {
  /** Name of a preset. Default: the `preset` key of the overrides, else of the file, else `moe-diffuseq`. */
  preset?: PresetName | (string & {}) | undefined;
  /** The `config.json` of a run to start from, instead of a preset. `preset` may then only repeat what it has. */
  base?: string | undefined;
  /** JSON file with any part of a configuration; its `preset` key, if any, names what it builds on. */
  configFile?: string | undefined;
  /** `a.b.c=value` settings as the command line takes them, in order. */
  sets?: readonly string[] | undefined;
  /** Any part of a configuration; it wins over everything else. The command line puts its flags (`--max-steps`) here. */
  overrides?: PartialRunConfig | undefined;
  /** What messages call the overrides. Default "overrides". */
  overridesName?: string | undefined;
}

/** What everything else is laid over: the configuration of a run, or a preset. */
function foundation(
  { base, preset, configFile = "", overrides, overridesName }: ResolveOptions & { overridesName: string },
  file: unknown,
): { layer: ConfigLayer; preset: string | null } {
  const [asked, where] = askedPreset([
    [preset ?? null, "--preset"],
    [presetOf(overrides, overridesName), overridesName],
    [presetOf(file, configFile), configFile],
  ]);
  if (base === undefined) {
    const found = findPreset(asked ?? defaultPreset);
    return { layer: { name: `preset ${found.name}`, config: found.config }, preset: found.name };
  }
  const config = readConfigFile(base);
  const own = presetOf(config, base);
  if (asked !== null && asked !== own) {
    throw new UserError(
      `${base} was made from preset ${own ?? "(none)"}, so it cannot become ${asked}, which ${where} asks for; leave it out there.`,
    );
  }
  return { layer: { name: base, config }, preset: own };
}

/** The first preset that is asked for, and where. */
const askedPreset = (places: readonly (readonly [string | null, string])[]) =>
  places.find(([name]) => name !== null) ?? [null, ""];

/** The preset that a configuration names, if it does. @param where what it is called in messages */
function presetOf(config: unknown, where: string): string | null {
  const preset: unknown = (config as PartialRunConfig | null | undefined)?.preset ?? null;
  if (preset === null || typeof preset === "string") return preset;
  throw new UserError(`${where}: preset: expected the name of a preset, got ${show(preset)}.`);
}

/** A preset is what settings are laid over, so it cannot be one of them. */
function settingOf(setting: string): unknown {
  const config = parseSetting(setting);
  const preset = presetOf(config, "--set");
  if (preset !== null)
    throw new UserError(
      `--set ${setting} would change no field: a preset is what the settings are laid over. Pass --preset ${preset} instead.`,
    );
  return config;
}

const isText = (value: unknown): boolean => typeof value === "string";
const isTextList = (value: unknown): boolean => Array.isArray(value) && value.every(isText);

/** What each option must be, and in words. */
const kinds: Record<keyof ResolveOptions, readonly [is: (value: unknown) => boolean, what: string]> = {
  preset: [isText, "the name of a preset"],
  base: [isText, "the path of a config.json"],
  configFile: [isText, "the path of a JSON file"],
  sets: [isTextList, 'a list of settings such as ["model.numLayers=6"]'],
  overrides: [isTree, "an object of settings such as { model: { numLayers: 6 } }"],
  overridesName: [isText, "what messages call the overrides"],
};

/** Options from TypeScript or JavaScript; what is undefined is not given. */
function checkOptions(given: ResolveOptions): void {
  checkObject("resolveConfig", given, Object.keys(kinds), '{ preset: "masked" }');
  for (const [name, [is, what]] of Object.entries(kinds)) {
    const value = given[name as keyof ResolveOptions];
    if (value !== undefined && !is(value))
      throw new UserError(`resolveConfig: ${name}: expected ${what}, got ${show(value)}.`);
  }
}

/** Defaults < preset (or `base`) < file < `sets` < `overrides`, checked; throws a UserError that names every fault. */
export function resolveConfig(given: ResolveOptions = {}): RunConfig {
  checkOptions(given);
  const { overridesName = "overrides" } = given;
  const options = { ...given, overridesName };
  const { configFile } = options;
  const file = configFile === undefined ? undefined : readConfigFile(configFile);
  const { layer, preset } = foundation(options, file);
  const layers: ConfigLayer[] = [layer];
  if (configFile !== undefined) layers.push({ name: configFile, config: file });
  for (const setting of options.sets ?? []) layers.push({ name: "--set", config: settingOf(setting) });
  if (options.overrides) layers.push({ name: overridesName, config: options.overrides });
  layers.push({ name: "preset", config: { preset } });
  return configFromLayers(layers);
}
