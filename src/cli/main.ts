#!/usr/bin/env node
/** @file The executable: one command line, then the exit code. */
import { launchOf } from "../distributed/launcher.js";
import { runCommandLine } from "./program.js";
import { flush } from "./terminal.js";

let lost = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE" || lost) return; // a reader that has seen enough (`| head`) is no error
  lost = true;
  process.stderr.write(`Cannot write to standard output: ${error.message}.\n`);
});
// Talk about progress that nobody hears: the work goes on and is saved.
process.stderr.on("error", () => {});

const exitCode = await runCommandLine(process.argv.slice(2), process, launchOf(process.env)?.rank);
await Promise.all([flush(process.stdout), flush(process.stderr)]);
process.exit(lost ? exitCode || 1 : exitCode);
