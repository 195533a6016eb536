import { describe, expect, it } from "vitest";
import { launchOf, strangersOf, threadsOfRank } from "./launcher.js";

describe("launchOf", () => {
  it.each([
    ["nobody", {}, null],
    [
      "mpirun",
      { OMPI_COMM_WORLD_SIZE: "4", OMPI_COMM_WORLD_RANK: "3" },
      { rank: 3, size: 4, foreign: false },
    ],
    ["mpirun -n 1", { OMPI_COMM_WORLD_SIZE: "1", OMPI_COMM_WORLD_RANK: "0" }, null],
    ["srun --mpi=pmix", { PMIX_RANK: "1", SLURM_STEP_NUM_TASKS: "2" }, { rank: 1, size: 2, foreign: false }],
    [
      "mpirun inside a step of srun",
      { PMI_RANK: "0", PMI_SIZE: "2", OMPI_COMM_WORLD_SIZE: "8", OMPI_COMM_WORLD_RANK: "5" },
      { rank: 5, size: 8, foreign: false },
    ],
    ["MPICH's mpiexec", { PMI_RANK: "1", PMI_SIZE: "2" }, { rank: 1, size: 2, foreign: true }],
    ["MPICH's mpiexec -n 1", { PMI_RANK: "0", PMI_SIZE: "1" }, null],
    ["a batch script that starts one process", { SLURM_NTASKS: "16", SLURM_PROCID: "0" }, null],
  ])("%s", (_who, environment, expected) => {
    expect(launchOf(environment)).toEqual(expected);
  });
});

it.each([
  ["srun -n 4 without a protocol", { SLURM_STEP_NUM_TASKS: "4", SLURM_PROCID: "1" }, 4],
  ["srun -n 1", { SLURM_STEP_NUM_TASKS: "1", SLURM_PROCID: "0" }, null],
  ["srun --mpi=pmix", { SLURM_STEP_NUM_TASKS: "4", PMIX_RANK: "1" }, null],
  ["srun --mpi=pmi2", { SLURM_STEP_NUM_TASKS: "4", PMI_RANK: "1", PMI_SIZE: "4" }, null],
  ["mpirun, whose daemons srun started", { SLURM_STEP_NUM_TASKS: "2", OMPI_COMM_WORLD_SIZE: "8" }, null],
  ["a batch script", { SLURM_NTASKS: "16", SLURM_PROCID: "0" }, null],
])("strangersOf: %s", (_what, environment, expected) => {
  expect(strangersOf(environment)).toBe(expected);
});

it.each([
  ["alone", undefined, 8, 8, 8],
  ["four ranks that are bound to no core", "4", 8, 8, 2],
  ["two ranks, each bound to one core", "2", 1, 8, 1],
  ["more ranks than processors", "4", 2, 2, 1],
])("threads of %s", (_who, localSize, available, processors, threads) => {
  expect(threadsOfRank({ OMPI_COMM_WORLD_LOCAL_SIZE: localSize }, { available, processors })).toBe(threads);
});
