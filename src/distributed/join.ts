/**
 * @file How a process joins the others that mpirun started with it, and how it leaves them.
 *
 * A process that ends with an error before it has left takes the others along (MPI_Abort): they would wait for it forever.
 */
import { writeSync } from "node:fs";
import { UserError } from "../errors.js";
import { alone, type Communicator } from "./communicator.js";
import { launchOf, strangersOf } from "./launcher.js";
import type { OpenMpi } from "./open-mpi.js";

/** How long mpirun is given to pass on what a failing rank has said: at the abort it throws away what it has not read. */
const LAST_WORDS = 200; // milliseconds

let joined: Promise<Communicator> | undefined;
let library: OpenMpi | undefined;

/**
 * All processes of the job; `alone` for a process that was not started by mpirun. A second call gives the same communicator.
 *
 * @throws UserError when there is no Open MPI, or the launcher is another MPI's, or none where several tasks were started
 */
export function joinRanks(): Promise<Communicator> {
  joined ??= join();
  return joined;
}

async function join(): Promise<Communicator> {
  const strangers = strangersOf(process.env);
  if (strangers !== null)
    throw new UserError(
      `srun started ${strangers} tasks that cannot find each other: they would all train the same run. Use srun --mpi=pmix, or mpirun in the ` +
        "batch script. For runs that have nothing to do with each other, start each in a step of its own (srun -n 1).",
    );
  const launch = launchOf(process.env);
  if (!launch) return alone;
  if (launch.foreign)
    throw new UserError(
      "Expected to be started by Open MPI, but the environment (PMI_RANK, PMI_SIZE) is that of MPICH, Intel MPI or srun --mpi=pmi2, " +
        "whose libraries are called in another way. Use Open MPI's launcher (Debian: apt-get install openmpi-bin, then " +
        "mpirun.openmpi -n 2 moe-diffuseq train ...), or srun --mpi=pmix.",
    );
  const { OpenMpi } = await import("./open-mpi.js");
  const { MOE_DIFFUSEQ_MPI_LIBRARY: file } = process.env;
  const mpi = await OpenMpi.open(file ? [file] : undefined);
  const ranks = mpi.initialise();
  if (ranks.size !== launch.size)
    throw new UserError(
      `mpirun started ${launch.size} processes, but ${mpi.library} knows of ${ranks.size}: it is not the library of this mpirun. ` +
        "Name the right file in MOE_DIFFUSEQ_MPI_LIBRARY.",
    );
  library = mpi;
  // Node.js prints what nobody caught after its last event, but the abort comes first.
  process.on("uncaughtExceptionMonitor", (error) => {
    if (library) writeSync(process.stderr.fd, `Rank ${ranks.rank}: ${error?.stack ?? error}\n`);
  });
  process.on("exit", (code) => {
    if (code === 0) leaveRanks();
    else if (library) {
      sleep(LAST_WORDS);
      library.abort(code);
    }
  });
  return ranks;
}

function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Waits for all ranks and parts from them. Without it, a process parts when it ends with code 0. A second call does nothing. */
export function leaveRanks(): void {
  library?.finalise();
  library = undefined;
}
