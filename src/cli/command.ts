/** @file What every command is built from: its options, and a body that turns flags into a result. */
import type { Command } from "commander";
import { withInterrupt } from "./interrupt.js";
import { addOptions, type Flags, type OptionName } from "./options.js";
import { type CommandResult, printResult, type Terminal } from "./terminal.js";

/** What a command's body is given besides its flags. */
export interface CommandContext {
  terminal: Terminal;
  /** Aborted by the first Ctrl-C; a body that can stop early looks at it. */
  signal: AbortSignal;
}

export type CommandBody<F extends Flags = Flags> = (
  flags: F,
  context: CommandContext,
) => Promise<CommandResult>;

/** Where commands are hung and how they end; made once for each run of the program. */
export interface CommandHost {
  terminal: Terminal;
  /** Told the exit code of the command that ran. */
  onExit(code: number): void;
}

/**
 * Gives `command` its shared options (and `--json`) and its body. Options of its own are added to `command` before.
 * Bodies import the rooms they need when they run, so that `--help` stays quick.
 */
export function defineCommand<F extends Flags = Flags>(
  command: Command,
  host: CommandHost,
  options: readonly (OptionName | `${OptionName}!`)[],
  body: CommandBody<F>,
): Command {
  return addOptions(command, [...options, "json"])
    .allowExcessArguments(false)
    .action(async (flags: F) => {
      const result = await withInterrupt(host.terminal, (signal) =>
        body(flags, { terminal: host.terminal, signal }),
      );
      printResult(host.terminal, result, flags.json ?? false);
      host.onExit(result.exitCode ?? 0);
    });
}
