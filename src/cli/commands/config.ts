/** @file `moe-diffuseq config`: what a configuration comes to, or the list of all settings. */
import type { Command } from "commander";
import { configFields } from "../../config/index.js";
import { resolveConfig } from "../../config/resolve.js";
import { type CommandHost, defineCommand } from "../command.js";
import { refuseFlags } from "../idle-flags.js";
import type { Flags } from "../options.js";

function describeFields(): string {
  return configFields()
    .map(
      ({ path, type, default: value, description }) =>
        `${path} (${type}; ${JSON.stringify(value)})\n    ${description}`,
    )
    .join("\n");
}

export function registerConfig(program: Command, host: CommandHost): void {
  const command = program
    .command("config")
    .description("show the configuration that preset, file and settings come to, or list every setting")
    .option("--list", "list every setting: type, default, meaning");
  defineCommand<Flags & { list?: boolean }>(command, host, ["config", "preset", "set"], async (flags) => {
    if (flags.list) {
      const why = "says nothing beside --list, which lists defaults; leave one of them out";
      refuseFlags(command, ["config", "preset", "set"], why);
      return { json: { fields: configFields() }, text: describeFields() };
    }
    const config = resolveConfig({ preset: flags.preset, configFile: flags.config, sets: flags.set });
    return { json: config, text: JSON.stringify(config, null, 2) };
  });
}
