#!/usr/bin/env node
/** @file The executable: one command line, then the exit code. */
import { launchOf } from "../distributed/launcher.js";
import { runCommandLine } from "./program.js";
import { flush } from "./terminal.js";

for (const stream of [process.stdout, process.stderr]) {
  // A reader that has seen enough (`| head`) is no error; the work may end.
  stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
}

const exitCode = await runCommandLine(process.argv.slice(2), process, launchOf(process.env)?.rank);
await Promise.all([flush(process.stdout), flush(process.stderr)]);
process.exit(exitCode);
