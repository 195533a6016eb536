/**
 * @file Who started this process, told by its environment: nobody in particular, or a launcher of several processes.
 *
 *     OMPI_COMM_WORLD_SIZE, OMPI_COMM_WORLD_RANK   Open MPI's mpirun
 *     PMIX_RANK, SLURM_STEP_NUM_TASKS              srun --mpi=pmix
 *     PMI_SIZE, PMI_RANK and none of the above     MPICH's or Intel MPI's mpiexec, or srun --mpi=pmi2
 */
import { availableParallelism, cpus } from "node:os";

export interface Launch {
  readonly rank: number;
  readonly size: number;
  /** Whether it was another MPI's launcher, with whose ranks Open MPI cannot talk. */
  readonly foreign: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

const launch = (rank: string | undefined, size: string | undefined, foreign = false): Launch | null => {
  const found = { rank: Number(rank), size: Number(size), foreign };
  return Number.isInteger(found.rank) && Number.isInteger(found.size) && found.size > 1 ? found : null;
};

/** This process's place among those that were started together; null when it was started alone. */
export function launchOf(environment: Environment): Launch | null {
  const { OMPI_COMM_WORLD_SIZE, OMPI_COMM_WORLD_RANK } = environment;
  if (OMPI_COMM_WORLD_SIZE !== undefined) return launch(OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE);
  if (environment.PMIX_RANK !== undefined)
    return launch(environment.PMIX_RANK, environment.SLURM_STEP_NUM_TASKS);
  return launch(environment.PMI_RANK, environment.PMI_SIZE, true);
}

/** How many tasks a step of srun has that cannot find each other, as no protocol was asked for (`--mpi`); null: this is no such step. */
export function strangersOf(environment: Environment): number | null {
  const { SLURM_STEP_NUM_TASKS: tasks, OMPI_COMM_WORLD_SIZE, PMIX_RANK, PMI_RANK } = environment;
  const known = OMPI_COMM_WORLD_SIZE ?? PMIX_RANK ?? PMI_RANK;
  return known === undefined && Number(tasks) > 1 ? Number(tasks) : null;
}

/**
 * Threads for the arithmetic of this process: the processors it may use (mpirun binds ranks to cores), and no more than its share of
 * the machine.
 */
export function threadsOfRank(
  environment: Environment = process.env,
  { available, processors } = { available: availableParallelism(), processors: cpus().length },
): number {
  const localSize = Number(environment.OMPI_COMM_WORLD_LOCAL_SIZE ?? 1);
  return Math.max(1, Math.min(available, Math.floor(processors / localSize)));
}
