/** @file For tests: Open MPI's mpirun, where it is installed. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";

function findMpirun(): string | null {
  for (const command of ["mpirun.openmpi", "mpirun"])
    try {
      const version = execFileSync(command, ["--version"], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
      if (version.includes("Open MPI")) return command;
    } catch {
      // not there, or another MPI's that knows no --version
    }
  return null;
}

const command = findMpirun();
/** Why tests that need mpirun are skipped; null when they are not. */
export const noMpirun =
  command === null ? "Open MPI is not installed (Debian: apt-get install openmpi-bin)" : null;

export interface Ended {
  readonly code: number | null;
  /** Standard output and standard error, as they came. */
  readonly output: string;
}

/** A job of `ranks` processes `node ...args`; `options` are further ones of mpirun. */
export function mpirun(
  ranks: number,
  args: readonly string[],
  options: readonly string[] = [],
): { child: ChildProcess; ended: Promise<Ended> } {
  const root = process.getuid?.() === 0 ? ["--allow-run-as-root"] : [];
  // Reading another process's memory directly is forbidden in many containers.
  const copies = ["--mca", "btl_vader_single_copy_mechanism", "none"];
  // Ranks that wait give way: other tests run at the same time.
  const patience = ["--mca", "mpi_yield_when_idle", "1"];
  const all = [
    ...root,
    "--oversubscribe",
    ...copies,
    ...patience,
    ...options,
    "-n",
    String(ranks),
    process.execPath,
  ];
  const child = spawn(command!, [...all, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data: Buffer) => {
      output += data;
    });
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => resolve({ code, output }));
  });
  return { child, ended };
}
