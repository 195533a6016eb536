/** @file Training by several processes, from the command line that users type: `mpirun -n N moe-diffuseq train`. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { mpirun, noMpirun } from "../../distributed/testing/mpirun.js";
import { temporaryFolder } from "../../hub/testing/temporary-folder.js";
import { ownScript } from "../../runtime/own-script.js";
import { readMetrics } from "../../training/metrics-log.js";
import { weightsOf } from "../../training/testing/run-outcome.js";
import { tinyRunConfig, writeCorpus } from "../../training/testing/tiny-run.js";
import { train } from "../../training/trainer.js";

const folder = temporaryFolder();
const configPath = join(folder, "config.json");
/** A step has four rows; everything that ranks must agree upon is in it. */
const config = tinyRunConfig(writeCorpus(folder), "moe-diffuseq", {
  model: { numLayers: 2, selfConditioning: true, dropout: 0.1, experts: { balance: "loss-free" } },
  diffusion: { timeSampler: "loss-aware" },
  training: { batchSize: 2, gradientAccumulation: 2, evalEvery: 2, evalSequences: 3, learningRate: 1e-2 },
});
writeFileSync(configPath, JSON.stringify(config));

const arguments_ = (out: string, ...more: string[]) => [
  ...ownScript(import.meta.url, "../main"),
  "train",
  "--threads",
  "1",
  ...(existsSync(join(out, "config.json")) ? ["--resume"] : ["--config", configPath]),
  "--out",
  out,
  ...more,
];

/** Largest relative difference of the numbers in two JSON values of the same form, those of the clock apart. */
function difference(a: unknown, b: unknown): number {
  if (typeof a === "number" && typeof b === "number") return Math.abs(a - b) / Math.max(1e-2, Math.abs(a));
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null)
    return a === b ? 0 : Infinity;
  const keys = Object.keys(a).filter((key) => !/seconds|tokensPerSecond/.test(key));
  return Math.max(0, ...keys.map((key) => difference(a[key as never], b[key as never])));
}
const lines = (out: string) => readMetrics(join(out, "metrics.jsonl"));
const newestCheckpoint = (out: string) => readdirSync(join(out, "checkpoints")).sort().at(-1)!;

describe.skipIf(noMpirun)(`training by ranks${noMpirun ? `: skipped, ${noMpirun}` : ""}`, () => {
  it("two ranks, then four, then one: the losses of a run that was always one", async () => {
    const [one, many] = [join(folder, "one"), join(folder, "many")];
    const plan = [
      { steps: 3, ranks: 2, more: ["--set", "training.shardOptimizer=true"] },
      {
        steps: 5,
        ranks: 4,
        more: ["training.activationCheckpointing=layers", "training.backwardPieces=2"].flatMap((one) => [
          "--set",
          one,
        ]),
      },
      { steps: 7, ranks: 1, more: [] },
    ];
    for (const { steps, ranks, more } of plan) {
      const budget = { ...config, training: { ...config.training, maxSteps: steps } };
      await train({ config: budget, out: one, resume: steps > 3, threads: 1 });
      if (ranks === 1) {
        await train({ config: budget, out: many, resume: true, threads: 1 });
        continue;
      }
      const job = mpirun(ranks, arguments_(many, "--max-steps", String(steps), ...more));
      const { code, output } = await job.ended;
      expect(code, output).toBe(0);
      expect(output.match(/Trained \d+ steps/g)).toEqual([`Trained ${steps} steps`]); // one rank talks
    }
    expect(lines(many)).toHaveLength(lines(one).length);
    expect(difference(lines(one), lines(many))).toBeLessThan(1e-5);
    const states = [one, many].map((out) =>
      JSON.parse(readFileSync(join(out, "checkpoints", newestCheckpoint(out), "state.json"), "utf8")),
    );
    expect(difference(states[0].state, states[1].state)).toBeLessThan(1e-5);
    const [wanted, got] = [await weightsOf(one), await weightsOf(many)];
    for (const name of Object.keys(wanted))
      for (const [i, x] of (wanted[name].data as Float32Array).entries())
        expect(Math.abs(x - Number(got[name].data[i]))).toBeLessThan(1e-4);
  }, 180_000);

  /** A run that goes on until something happens to it; `act` is called once there are checkpoints. */
  async function disturbed(out: string, options: readonly string[], act: (mpirunProcess: number) => void) {
    const sets = ["checkpointEvery=1", "evalEvery=100000"].flatMap((set) => ["--set", `training.${set}`]);
    const { child, ended } = mpirun(2, arguments_(out, "--max-steps", "100000", ...sets), options);
    while (child.exitCode === null && !(existsSync(join(out, "checkpoints")) && lines(out).length > 3))
      await new Promise((resolve) => setTimeout(resolve, 50));
    act(child.pid!);
    return ended;
  }

  it("a rank that is killed ends the job, which can be resumed", async () => {
    const out = join(folder, "killed");
    const { code, output } = await disturbed(out, [], (pid) => {
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
      process.kill(Number(children[1]), "SIGKILL");
    });
    expect(code).not.toBe(0);
    expect(output).toMatch(/process rank \d .* on signal 9/);
    const { step } = lines(out).at(-1)!;
    const steps = step + 1;
    const resumed = { ...config, training: { ...config.training, maxSteps: steps, checkpointEvery: 1 } };
    expect(await train({ config: resumed, out, resume: true, threads: 1 })).toMatchObject({ steps });
  });

  it.each([
    ["SIGTERM", 1],
    ["SIGUSR2", 140],
  ] as const)("%s to mpirun saves once", async (signal, exitCode) => {
    const out = join(folder, signal);
    const patience = ["--mca", "odls_base_sigkill_timeout", "2"];
    const { code, output } = await disturbed(out, patience, (pid) => process.kill(pid, signal));
    expect(output.match(/Stopping/g), output).toHaveLength(1);
    expect(code).toBe(exitCode);
    const step = String(lines(out).at(-1)!.step).padStart(8, "0");
    expect(newestCheckpoint(out)).toBe(`step-${step}`);
    expect(existsSync(join(out, "checkpoints", `step-${step}`, "state.json"))).toBe(true);
    if (signal === "SIGUSR2") expect(output).toContain("Everything is saved. To continue:");
  });

  it("rows that ranks cannot share are refused before anything is written", async () => {
    const out = join(folder, "uneven");
    const { code, output } = await mpirun(3, arguments_(out)).ended;
    expect(code).not.toBe(0);
    expect(output).toContain("Expected sequences that 3 ranks can share evenly, got 4 a step");
    expect(existsSync(out)).toBe(false);
  });
});
