/** @file `moe-diffuseq evaluate --suite`: what the flags come to, and how the run is shown. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { refuseIdleSettings } from "../config/idle.js";
import { settingFields } from "../config/layers.js";
import { resolveConfig } from "../config/resolve.js";
import { UserError } from "../errors.js";
import type { SuiteOptions, SuiteTask, TwinName } from "../evaluation/suite/index.js";
import { writeFileAtomic } from "../hub/index.js";
import type { CommandContext } from "./command.js";
import { orGoOn } from "./interrupt.js";
import { type Flags, nameList, numberList, wholeNumber, worded } from "./options.js";
import { refuseOwned } from "./owned-settings.js";
import { type Job, ownProgram, runJobs } from "./processes.js";
import { ProgressLine } from "./progress-line.js";
import type { CommandResult } from "./terminal.js";

export interface SuiteFlags extends Flags {
  suite?: string;
  twins: string[];
  seeds: number[];
  items?: number;
  pairs?: number;
  qualitySteps?: number[];
  quick?: boolean;
  jobs?: number;
  trainOnly?: boolean;
}

const DEFAULT_MINUTES = 5;

/**
 * Gives a command the options that say what suites compare, and on what and how long it is trained.
 * @param of begins their descriptions
 * @returns their names ("maxMinutes")
 */
export function addSuiteOptions(command: Command, of = ""): string[] {
  const before = command.options.length;
  command
    .option("--twins <name,...>", `${of}which twins, the first over all others`, nameList, [
      "moe-diffuseq",
      "dense-active",
      "masked",
      "autoregressive",
    ])
    .option("--seeds <n,...>", `${of}a training run for each`, numberList, [1])
    .option("--items <n>", `${of}held-out sources to write for (default: 50, quick: 12)`, wholeNumber)
    .option("--pairs <n>", `${of}pairs to train on, at most (default: 20000, quick: 1500)`, wholeNumber)
    .option(
      "--quality-steps <n,...>",
      `${of}also judge the texts of the first twin in these numbers of steps`,
      numberList,
    )
    .option("--jobs <n>", `${of}twins trained side by side, sharing the threads (default: 1)`, wholeNumber)
    .addOption(
      worded("data", `${of}one folder, of NAME.train.jsonl and NAME.valid.jsonl (addresses is embedded)`),
    )
    .addOption(worded("maxMinutes", `${of}minutes of training for each twin (default: 5, quick: 0.3)`))
    .addOption(worded("maxTokens", `${of}tokens of training for each twin, instead of minutes`));
  return command.options.slice(before).map((option) => option.attributeName());
}

/** The options of some tasks as the flags have them. @throws UserError for flags that make no sense */
export async function suiteOptions(
  flags: SuiteFlags,
  tasks: readonly SuiteTask[],
  out: string,
): Promise<SuiteOptions> {
  const {
    checkGeneration,
    ownedSettings,
    quickOptions,
    quickSettings,
    requireFiles,
    suiteSettings,
    twinNames,
  } = await import("../evaluation/suite/index.js");
  const { quick = false, maxMinutes, maxTokens, twins, qualitySteps = [] } = flags;
  const wrong = twins.find((name) => !(twinNames as readonly string[]).includes(name));
  if (wrong !== undefined)
    throw new UserError(`--twins: expected some of ${twinNames.join(", ")}, got "${wrong}".`);
  if (qualitySteps.length > 0 && twins[0] === "autoregressive")
    throw new UserError(
      `--quality-steps: expected none, as the first twin, autoregressive, writes a token a step, got ${qualitySteps.join(",")}; ` +
        "leave it out, or name another twin first.",
    );
  if (maxMinutes !== undefined && maxTokens !== undefined)
    throw new UserError("--max-minutes and --max-tokens: expected one budget, got both.");
  if (flags.device === "webgpu" && (flags.jobs ?? 1) > 1 && maxTokens === undefined)
    throw new UserError(
      "--jobs: expected 1 with --device webgpu and a budget of minutes, as twins would share the card unevenly; " +
        "leave it out, or give --max-tokens.",
    );
  if (flags.data !== undefined && flags.data.length !== 1)
    throw new UserError(`--data: a suite expects one folder, got ${flags.data.length}.`);
  if (flags.data !== undefined && tasks.every(({ files }) => files === null))
    throw new UserError(`--data: ${tasks[0].suite} is embedded and reads no folder; leave it out.`);
  const { set: sets = [] } = flags;
  refuseOwned(sets, ownedSettings, "a suite");
  for (const { path, value } of sets.flatMap(settingFields))
    if (path === "diffusion.conditionDropout" && value === 0 && tasks.some(({ free }) => free))
      throw new UserError(
        `--set ${path}: expected more than 0, got ${value}, as texts from nothing are asked for too; leave it out for 0.2.`,
      );
  const threads = threadsOfTwin(flags);
  requireFiles(tasks, flags.data?.[0]);
  const base = resolveConfig({
    preset: "moe-diffuseq",
    sets: [...suiteSettings, ...(quick ? quickSettings : []), ...sets],
    overridesName: "command line",
    overrides: { data: { onBadRecord: flags.onBadRecord } },
  });
  refuseIdleSettings(sets, base);
  const options: SuiteOptions = {
    // A short target is enough to see that everything works.
    tasks: quick
      ? [...new Set(tasks)].map((task) => ({
          ...task,
          length: quickOptions.length,
          candidates: Math.min(2, task.candidates),
        }))
      : [...new Set(tasks)],
    data: flags.data?.[0],
    base,
    twins: [...new Set(twins)] as TwinName[],
    seeds: [...new Set(flags.seeds)],
    budget:
      maxTokens === undefined
        ? { minutes: maxMinutes ?? (quick ? quickOptions.minutes : DEFAULT_MINUTES) }
        : { tokens: maxTokens },
    out,
    pairs: flags.pairs ?? (quick ? quickOptions.pairs : undefined),
    items: flags.items ?? (quick ? quickOptions.items : undefined),
    steps: flags.steps ?? (quick ? quickOptions.steps : undefined),
    qualitySteps: [...new Set(qualitySteps)].sort((a, b) => a - b),
    threads,
    device: flags.device,
  };
  checkGeneration(options); // said now, not after what comes before the suite
  return options;
}

/** Threads of a twin: with --jobs, so many share them. @throws UserError when there are fewer threads than jobs */
function threadsOfTwin({ threads = availableParallelism(), jobs = 1 }: SuiteFlags): number {
  if (jobs > threads)
    throw new UserError(`--jobs: expected at most as many as there are threads, ${threads}, got ${jobs}.`);
  return Math.floor(threads / jobs);
}

/**
 * With --jobs: trains every twin with every seed in a process of its own, so many at a time, each with its share of the threads. Their
 * results are kept in `out`, where `runSuite` with the same options finds them.
 */
export async function trainSideBySide(
  flags: SuiteFlags,
  { tasks, twins, seeds, qualitySteps = [], out, budget, threads }: SuiteOptions,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (what: string) => void },
): Promise<void> {
  const { jobs: atOnce = 1, data, items, pairs, steps, onBadRecord, device, set = [], quick = false } = flags;
  const { trainOnly = false } = flags;
  if (atOnce === 1) return;
  const given = {
    "--items": items,
    "--pairs": pairs,
    "--steps": steps,
    "--on-bad-record": onBadRecord,
    "--device": device,
  };
  const common = [
    ...Object.entries(given).flatMap(([flag, value]) => (value === undefined ? [] : [flag, String(value)])),
    ...("minutes" in budget
      ? ["--max-minutes", String(budget.minutes)]
      : ["--max-tokens", String(budget.tokens)]),
    ...set.flatMap((one) => ["--set", one]),
    ...(quick ? ["--quick"] : []),
    ...["--threads", String(threads), "--out", out],
  ];
  const jobsOf = (names: readonly TwinName[], more: readonly string[] = []): Job[] =>
    tasks.flatMap(({ name, files }) =>
      seeds.flatMap((seed) =>
        names.map((twin): Job => {
          const own = ["evaluate", "--suite", name, "--twins", twin, "--seeds", String(seed), ...more];
          if (data !== undefined && files !== null) own.push("--data", data[0]);
          return { name: `${name}, ${twin}, seed ${seed}`, args: ownProgram([...own, ...common]) };
        }),
      ),
    );
  const run = (jobs: readonly Job[], what: string) =>
    runJobs(jobs, atOnce, {
      signal,
      onProgress: (lines, done) =>
        onProgress([`${what}: ${done} of ${jobs.length} done`, ...lines].join("; ")),
    });
  // Trainings run beside trainings alone: minutes beside one that is judged, or by itself at the end, are not the same minutes.
  await run(jobsOf(twins, ["--train-only"]), "training");
  if (trainOnly) return;
  await run(jobsOf(twins), "judging");
  // When all are trained: a twin that is written with for long would leave the machine to the last ones that train.
  if (qualitySteps.length > 0)
    await run(
      jobsOf(twins.slice(0, 1), ["--quality-steps", qualitySteps.join(",")]),
      "texts in other numbers of steps",
    );
}

/** @param again the command line that does the same */
export async function evaluateSuite(
  flags: SuiteFlags & { report?: string },
  { terminal, signal }: CommandContext,
  again: string,
): Promise<CommandResult> {
  const { formatSuite, runSuite, tasksOf, trainSuite } = await import("../evaluation/suite/index.js");
  const suite = flags.suite!;
  const out = flags.out ?? join("runs", `suite-${suite}${flags.quick ? "-quick" : ""}`);
  const options = await suiteOptions(flags, tasksOf(suite), out);
  const line = new ProgressLine(terminal.stderr);
  return orGoOn(signal, { kept: `Twins that are trained are kept in ${out}.`, again }, async () => {
    const show = { signal, onProgress: (what: string) => line.update(what) };
    const work = async () => {
      await trainSideBySide(flags, options, show);
      if (!flags.trainOnly) return runSuite({ ...options, ...show });
      await trainSuite({ ...options, ...show });
      return null;
    };
    const report = await work().finally(() => line.end());
    if (report === null)
      return {
        json: { out, trained: options.tasks.length * options.seeds.length * options.twins.length },
        text: `The twins are trained. The same command without --train-only judges them: ${out}`,
      };
    if (flags.report !== undefined)
      await writeFileAtomic(flags.report, `${JSON.stringify(report, null, 2)}\n`, "--report");
    return { json: { ...report, out }, text: `${formatSuite(report)}\n\nRuns, pairs and vocabulary: ${out}` };
  });
}
