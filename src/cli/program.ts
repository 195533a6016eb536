/**
 * @file The program `moe-diffuseq`: its commands, and what becomes of errors. A mistake of the user is a message on
 * standard error, never a stack trace (unless MOE_DIFFUSEQ_DEBUG=1). Exit codes: 0 done, 1 failed, 2 wrong usage,
 * 129, 130, 140 or 143 interrupted.
 */
import { setTimeout } from "node:timers/promises";
import { Command, CommanderError } from "commander";
import { UserError } from "../errors.js";
import { version } from "../version.js";
import type { CommandHost } from "./command.js";
import { registerBench } from "./commands/bench.js";
import { registerClaims } from "./commands/claims.js";
import { registerConfig } from "./commands/config.js";
import { registerDemo } from "./commands/demo.js";
import { registerEvaluate } from "./commands/evaluate.js";
import { registerGenerate } from "./commands/generate.js";
import { registerInspect } from "./commands/inspect.js";
import { registerPrepare } from "./commands/prepare.js";
import { registerReport } from "./commands/report.js";
import { registerTask } from "./commands/task.js";
import { registerTokenizer } from "./commands/tokenizer.js";
import { registerTrain } from "./commands/train.js";
import { Interrupted } from "./interrupt.js";
import { silent, type Terminal } from "./terminal.js";

const register: readonly ((program: Command, host: CommandHost) => void)[] = [
  registerPrepare,
  registerTrain,
  registerReport,
  registerGenerate,
  registerEvaluate,
  registerBench,
  registerClaims,
  registerInspect,
  registerTokenizer,
  registerTask,
  registerConfig,
  registerDemo,
];

function buildProgram(host: CommandHost): Command {
  const { stdout, stderr } = host.terminal;
  const program = new Command("moe-diffuseq")
    .description(
      "Text diffusion for long documents: sparse attention, mixture of experts, soft absorbing state.",
    )
    .version(version)
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => stdout.columns || 100,
      getErrHelpWidth: () => stderr.columns || 100,
    })
    .showHelpAfterError("(--help lists what there is)")
    .exitOverride();
  for (const add of register) add(program, host);
  return program;
}

/** Says what went wrong and returns the exit code for it. */
function reportError(error: unknown, { stderr }: Terminal, debug: boolean): number {
  // Commander has printed its message (or the help that was asked for) already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof Interrupted) {
    stderr.write("Stopped without a result.\n");
    return error.exitCode;
  }
  const expected = error instanceof UserError;
  const { stack, message } = error instanceof Error ? error : new Error(String(error));
  if (debug) stderr.write(`${stack ?? message}\n`);
  else if (expected) stderr.write(`${message}\n`);
  else
    stderr.write(
      `${message}\nThis is a fault of the program. MOE_DIFFUSEQ_DEBUG=1 shows where it happened.\n`,
    );
  return 1;
}

/** A rank that fails alone says so; when all fail alike, rank 0 has spoken and ended the job by then. */
const RANK_ZERO_FIRST = 1000; // milliseconds

/**
 * Runs one command line.
 *
 * @param args arguments without the interpreter and the script.
 * @param rank this process's number among those that mpirun started, from 0: all but 0 are silent, errors apart.
 * @returns the exit code.
 */
export async function runCommandLine(args: readonly string[], terminal: Terminal, rank = 0): Promise<number> {
  let exitCode = 0;
  const program = buildProgram({
    terminal: rank === 0 ? terminal : silent,
    onExit: (code) => {
      exitCode = code;
    },
  });
  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCode;
  } catch (error) {
    if (rank > 0 && !(error instanceof Interrupted) && !(error instanceof CommanderError)) {
      await setTimeout(RANK_ZERO_FIRST);
      terminal.stderr.write(`Rank ${rank}: `);
    }
    return reportError(error, terminal, process.env.MOE_DIFFUSEQ_DEBUG === "1");
  }
}
