/** @file `moe-diffuseq claims`: every claim measured again, into one table and one page. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { settingFields } from "../../config/layers.js";
import { resolveConfig } from "../../config/resolve.js";
import { shellWord } from "../../errors.js";
import { makeFolder, requireWritable, writeFileAtomic } from "../../hub/durable-file.js";
import { type CommandHost, defineCommand } from "../command.js";
import { commandLine } from "../command-line.js";
import { addSuiteOptions, type SuiteFlags, suiteOptions, trainSideBySide } from "../evaluate-suite.js";
import { orGoOn } from "../interrupt.js";
import { nameList, numberList, pathName, wholeNumber, worded } from "../options.js";
import { ProgressLine } from "../progress-line.js";
import { ownedByBench } from "./bench.js";

const examples = `
Examples:
  npx moe-diffuseq claims --quick
  npx moe-diffuseq claims --data corpora --max-minutes 20 --seeds 1,2,3 --lengths 512,2048,8192 --markdown BENCHMARKS.md`;

interface ClaimsFlags extends SuiteFlags {
  lengths?: number[];
  suites?: string[];
  rounds?: number;
  python?: string;
  markdown?: string;
}

/**
 * What --data is asked for; without it, what is embedded. Not code.lines: in minutes no twin learns to write a whole line exactly, and the
 * whole is to take less than two hours.
 */
const WITH_DATA = ["science", "code.pieces", "dialogue", "seq2seq"];
const WITHOUT_DATA = ["addresses"];

const quickBench = { lengths: [256, 1024], rounds: 3, samplingSteps: 4 };
const wholeBench = { lengths: [512, 2048, 8192], rounds: 7, samplingSteps: 20 };
/** A benchmark of the size of the reference, or of one that takes seconds. */
const quickBenchSettings = ["model.vocabSize=2048", "model.numLayers=2"];

/** Steps of the chart of quality. */
const QUALITY_STEPS = [2, 4, 8, 16, 32];
const QUICK_QUALITY_STEPS = [2, 4];

/** The benchmark replaces the others, and `bench` refuses them. */
const isHeededByBench = (set: string): boolean =>
  !settingFields(set).some(({ path }) => Object.hasOwn(ownedByBench, path));

const setFlags = (sets: readonly string[]): string => sets.map((set) => ` --set ${shellWord(set)}`).join("");

/** Flags that say where the table lies and how it is shown, not what is in it. */
const ELSEWHERE: ReadonlySet<string> = new Set(["out", "markdown", "json"]);

/** The command that makes the same table again. A path on this machine says nothing on another. */
const tableCommand = (command: Command, flags: ClaimsFlags): string =>
  commandLine(command, flags, { without: ELSEWHERE, words: { python: "PYTHON" } });

export function registerClaims(program: Command, host: CommandHost): void {
  const command = program
    .command("claims")
    .description(
      "measure every claim: speed, memory, cost of length, quality of texts; write a table and a page",
    )
    .option("--quick", "tiny models and budgets, under ten minutes: to see that everything works")
    .option("--out <dir>", "folder for all of it (default: runs/claims, quick: runs/claims-quick)", pathName)
    .option(
      "--suites <name,...>",
      `which suites, or parts of them (default: ${WITH_DATA.join(",")}; without --data: ${WITHOUT_DATA.join(",")})`,
      nameList,
    )
    .option(
      "--lengths <n,...>",
      "positions of a document in the benchmark (default: 512,2048,8192; quick: 256,1024)",
      numberList,
    )
    .option("--rounds <n>", "turns each side takes in the benchmark (default: 7, quick: 3)", wholeNumber)
    .option("--python <path>", "a Python that has PyTorch, to be measured too", pathName)
    .option("--markdown <file.md>", "where the table goes (default: BENCHMARKS.md in --out)", pathName)
    .addOption(worded("steps", "denoising steps of a text (default: 32, quick: 8)"))
    .addHelpText("after", examples);
  addSuiteOptions(command);
  defineCommand<ClaimsFlags>(
    command,
    host,
    ["onBadRecord", "set", "threads"],
    async (flags, { terminal, signal }) => {
      const { claimsMarkdown, claimsOf, claimsPage, requirePeer, runClaims } = await import(
        "../../benchmark/index.js"
      );
      const { tasksOf } = await import("../../evaluation/suite/index.js");
      const { quick = false } = flags;
      const out = flags.out ?? join("runs", quick ? "claims-quick" : "claims");
      const names = flags.suites ?? (flags.data ? WITH_DATA : WITHOUT_DATA);
      const tasks = names.flatMap(tasksOf);
      // One of several will do to see that pairs are learned.
      const chosen = quick
        ? tasks.filter((task, i) => tasks.findIndex(({ suite }) => suite === task.suite) === i)
        : tasks;
      const line = new ProgressLine(terminal.stderr);
      const onProgress = (what: string) => line.update(what);
      const { qualitySteps = quick ? QUICK_QUALITY_STEPS : QUALITY_STEPS } = flags;
      const suite = await suiteOptions({ ...flags, qualitySteps }, chosen, join(out, "suites"));
      const peer = flags.python === undefined ? undefined : await requirePeer(flags.python);
      const defaults = quick ? quickBench : wholeBench;
      const rounds = flags.rounds ?? defaults.rounds;
      const benchSets = [...(quick ? quickBenchSettings : []), ...(flags.set ?? [])];
      const threads = flags.threads === undefined ? "" : ` --threads ${flags.threads}`;
      await makeFolder(out);
      if (flags.markdown !== undefined) await requireWritable(flags.markdown, "--markdown");
      const kept = `Twins that are trained and parts of the benchmark that are measured are kept in ${out}.`;
      const jobs = flags.jobs === undefined ? "" : ` --jobs ${flags.jobs}`;
      const broken = flags.onBadRecord === undefined ? "" : ` --on-bad-record ${flags.onBadRecord}`;
      return orGoOn(signal, { kept, again: commandLine(command, flags) }, async () => {
        const measure = () =>
          runClaims({
            quick,
            commands: {
              bench: `${setFlags(benchSets.filter(isHeededByBench))} --rounds ${rounds} --sampling-steps ${defaults.samplingSteps}${threads}`,
              suite: `${setFlags(flags.set ?? [])}${suite.pairs === undefined ? "" : ` --pairs ${suite.pairs}`}${broken}${threads}${jobs}`,
              data: flags.data ? ` --data ${shellWord(flags.data[0])}` : "",
            },
            bench: {
              ...defaults,
              base: resolveConfig({
                preset: "moe-diffuseq",
                sets: benchSets,
              }),
              twins: ["moe-diffuseq", "dense-active"],
              lengths: flags.lengths ?? defaults.lengths,
              rounds,
              peer,
              variants: peer ? ["eager"] : [],
              threads: flags.threads ?? availableParallelism(),
              keep: join(out, "bench"),
              signal,
              onProgress,
            },
            suite: {
              ...suite,
              signal,
              onProgress,
            },
          });
        const report = await trainSideBySide(flags, suite, { signal, onProgress })
          .then(measure)
          .finally(() => line.end());
        const own = tableCommand(command, flags);
        const files = {
          json: join(out, "claims.json"),
          markdown: flags.markdown ?? join(out, "BENCHMARKS.md"),
          page: join(out, "report.html"),
        };
        await writeFileAtomic(files.json, `${JSON.stringify(report, null, 2)}\n`);
        await writeFileAtomic(files.markdown, claimsMarkdown(report, own), "--markdown");
        await writeFileAtomic(files.page, claimsPage(report, own));
        const rows = claimsOf(report).map(
          ({ claim, paper, ours, interval, verdict }) =>
            `${claim}: ${ours}${interval ? ` (${interval})` : ""}${paper ? `; the paper: ${paper}` : ""}${verdict ? `; ${verdict}` : ""}`,
        );
        return {
          json: { claims: claimsOf(report), files },
          text: [
            ...rows,
            "",
            `Table: ${files.markdown}`,
            `Page with charts: ${files.page}`,
            `All figures: ${files.json}`,
          ].join("\n"),
        };
      });
    },
  );
}
