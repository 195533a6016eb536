import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { OpenMpi } from "./open-mpi.js";
import { mpirun, noMpirun } from "./testing/mpirun.js";

const room = pathToFileURL(join(process.env.MOE_DIFFUSEQ_COMPILED as string, "distributed/index.js")).href;
const operations = fileURLToPath(new URL("testing/operations.ts", import.meta.url));

describe.skipIf(noMpirun)(`through mpirun${noMpirun ? `: skipped, ${noMpirun}` : ""}`, () => {
  it.each([
    ["shared memory", 3, []],
    ["TCP, as between machines", 2, ["--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"]],
  ])("over %s every operation agrees with plain loops, in two threads", async (_path, ranks, options) => {
    const { code, output } = await mpirun(ranks, ["--import", "tsx", operations], options).ended;
    expect(output.match(/rank \d holds/g)?.sort(), output).toEqual(
      Array.from({ length: ranks }, (_, rank) => `rank ${rank} holds`),
    );
    expect(code).toBe(0);
  });

  it("a rank that fails takes the others along", async () => {
    const fails = `
      const { joinRanks } = await import(${JSON.stringify(room)});
      const communicator = await joinRanks();
      if (communicator.rank === 1) throw new Error("rank 1 has had enough");
      await communicator.barrier();`;
    const { code, output } = await mpirun(2, ["--input-type=module", "--eval", fails]).ended;
    expect(output).toContain("rank 1 has had enough");
    expect(code).not.toBe(0);
  });
});

describe("without a launcher's help", () => {
  const nowhere = "/nowhere/libmpi.so.40";

  it("a missing library, and a library that is another's, are named with what to install", async () => {
    await expect(OpenMpi.open([nowhere])).rejects.toThrow(/cannot be loaded.*apt-get install openmpi-bin/);
    const other = process.platform === "darwin" ? "libSystem.dylib" : "libm.so.6";
    await expect(OpenMpi.open([nowhere, other])).rejects.toThrow(/Expected lib.* another ABI/);
  });

  it.each([
    [
      "mpirun without its library",
      { OMPI_COMM_WORLD_SIZE: "2", OMPI_COMM_WORLD_RANK: "0", MOE_DIFFUSEQ_MPI_LIBRARY: nowhere },
      /apt-get install openmpi-bin/,
    ],
    ["MPICH", { PMI_SIZE: "2", PMI_RANK: "0" }, /Expected to be started by Open MPI.*MPICH/],
  ])("a process started by %s says so", (_name, environment, message) => {
    const program = `
      const { joinRanks } = await import(${JSON.stringify(room)});
      await joinRanks().catch((error) => console.log(error.name, error.message));`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
      encoding: "utf8",
      env: { ...process.env, ...environment },
    });
    expect(stdout).toMatch(/^UserError/);
    expect(stdout).toMatch(message);
  });

  it("a process by itself loads nothing native", () => {
    const program = `
      const { joinRanks } = await import(${JSON.stringify(room)});
      const { size } = await joinRanks();
      const native = process.report.getReport().sharedObjects.filter((file) => /koffi|libmpi/.test(file));
      console.log(JSON.stringify({ size, native }));`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
      encoding: "utf8",
    });
    expect(JSON.parse(stdout)).toEqual({ size: 1, native: [] });
  });
});
