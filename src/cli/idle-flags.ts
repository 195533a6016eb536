/** @file Flags that say nothing beside others are refused: ignored ones would be taken for heeded. */
import type { Command } from "commander";

/** Ends the command where one of these flags (by attribute: "maxMinutes") was given. @param why follows the flag in the message */
export function refuseFlags(command: Command, names: readonly string[], why: string): void {
  const given = names.find((name) => command.getOptionValueSource(name) === "cli");
  const flag = command.options.find((option) => option.attributeName() === given)?.long;
  if (flag) command.error(`error: ${flag} ${why}`);
}
