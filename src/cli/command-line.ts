/** @file The command line that runs a command again, made from its flags. */
import type { Command } from "commander";
import { PROGRAM, shellWord } from "../errors.js";

export interface CommandLineOptions {
  /** Flags to leave out, by attribute ("maxMinutes"). */
  readonly without?: ReadonlySet<string>;
  /** Words for the values of some flags. */
  readonly words?: Readonly<Record<string, string>>;
}

/** "npx moe-diffuseq NAME --a b --c d": what was given, or is a default of the command. */
export function commandLine(
  command: Command,
  flags: object,
  { without = new Set(), words = {} }: CommandLineOptions = {},
): string {
  const given = command.options.flatMap((option): string[] => {
    const name = option.attributeName();
    const value: unknown = (flags as Record<string, unknown>)[name];
    if (value === undefined || without.has(name)) return [];
    if (option.negate) return value === false ? [option.long!] : [];
    if (value === false) return [];
    if (value === true) return [option.long!];
    if (Object.hasOwn(words, name)) return [`${option.long} ${words[name]}`];
    // Settings and paths may hold commas; lists of names and numbers are written with them.
    const values = option.variadic || name === "set" ? [value].flat() : [[value].flat().join(",")];
    return values.map((one) => `${option.long} ${shellWord(String(one))}`);
  });
  return [`${PROGRAM} ${command.name()}`, ...given].join(" ");
}
