/** @file `moe-diffuseq claims`: every claim measured again, into one table and one page. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import type { ClaimsOptions, ClaimsReport } from "../../benchmark/index.js";
import { settingFields } from "../../config/layers.js";
import { resolveConfig } from "../../config/resolve.js";
import { shellWord } from "../../errors.js";
import { makeFolder, writeFileAtomic } from "../../hub/durable-file.js";
import { programId } from "../../hub/program-id.js";
import { type CommandHost, defineCommand } from "../command.js";
import { commandLine } from "../command-line.js";
import { addSuiteOptions, type SuiteFlags, suiteOptions, trainSideBySide } from "../evaluate-suite.js";
import { orGoOn } from "../interrupt.js";
import { nameList, numberList, pathName, wholeNumber, worded } from "../options.js";
import { ProgressLine } from "../progress-line.js";
import { requireResultFile } from "../result-file.js";
import type { CommandResult } from "../terminal.js";
import { ownedByBench } from "./bench.js";

const examples = `
Examples:
  npx moe-diffuseq claims --quick
  npx moe-diffuseq claims --data corpora --lengths 512,2048,8192 --rounds 7 --steps 16 --items 48 --jobs 2 --markdown BENCHMARKS.md
      the table of the repository; some two hours on two cores
  npx moe-diffuseq claims --data corpora --max-minutes 20 --seeds 1,2,3
      more than a day: 6 tasks x 4 twins x 3 seeds x 20 minutes are 24 hours of training`;

interface ClaimsFlags extends SuiteFlags {
  lengths?: number[];
  suites?: string[];
  rounds?: number;
  python?: string;
  markdown?: string;
}

/**
 * What --data is asked for; without it, what is embedded. Not code.lines: in minutes no twin learns to write a whole line exactly, and the
 * whole is to take some two hours.
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
      const { runClaims } = await import("../../benchmark/index.js");
      const { out, options } = await planClaims(flags);
      const { suite, bench } = options;
      await makeFolder(out);
      if (flags.markdown !== undefined)
        await requireResultFile(flags.markdown, { flag: "--markdown", ending: ".md" });
      const kept = `Twins that are trained and parts of the benchmark that are measured are kept in ${out}.`;
      return orGoOn(signal, { kept, again: commandLine(command, flags) }, async () => {
        const line = new ProgressLine(terminal.stderr);
        const show = { signal, onProgress: (what: string) => line.update(what) };
        const report = await trainSideBySide(flags, suite, show)
          .then(() => runClaims({ ...options, bench: { ...bench, ...show }, suite: { ...suite, ...show } }))
          .finally(() => line.end());
        return writeClaims(report, tableCommand(command, flags), { out, markdown: flags.markdown });
      });
    },
  );
}

/** What the flags come to: the folder of all files, and what is measured. @throws UserError for flags that make no sense */
async function planClaims(
  flags: ClaimsFlags,
): Promise<{ readonly out: string; readonly options: ClaimsOptions }> {
  const { requirePeer } = await import("../../benchmark/index.js");
  const { tasksOf } = await import("../../evaluation/suite/index.js");
  const { quick = false, set: sets = [], threads } = flags;
  const out = flags.out ?? join("runs", quick ? "claims-quick" : "claims");
  const tasks = (flags.suites ?? (flags.data ? WITH_DATA : WITHOUT_DATA)).flatMap(tasksOf);
  // One of several will do to see that pairs are learned.
  const chosen = quick
    ? tasks.filter((task, i) => tasks.findIndex(({ suite }) => suite === task.suite) === i)
    : tasks;
  // From left to right a text takes a step a token.
  const defaultSteps = flags.twins[0] === "autoregressive" ? [] : quick ? QUICK_QUALITY_STEPS : QUALITY_STEPS;
  const { qualitySteps = defaultSteps } = flags;
  const suite = await suiteOptions({ ...flags, qualitySteps }, chosen, join(out, "suites"));
  const peer = flags.python === undefined ? undefined : await requirePeer(flags.python);
  const defaults = quick ? quickBench : wholeBench;
  const { rounds = defaults.rounds, lengths = defaults.lengths } = flags;
  const benchSets = [...(quick ? quickBenchSettings : []), ...sets];
  const given = (flag: string, value: string | number | undefined): string =>
    value === undefined ? "" : ` ${flag} ${value}`;
  const withThreads = given("--threads", threads);
  return {
    out,
    options: {
      quick,
      // What is at work now, not what lies here when the last twin is trained.
      madeBy: programId(),
      commands: {
        bench: `${setFlags(benchSets.filter(isHeededByBench))} --rounds ${rounds} --sampling-steps ${defaults.samplingSteps}${withThreads}${peer ? "" : " --no-python"}`,
        suite: `${setFlags(sets)}${given("--pairs", suite.pairs)}${given("--on-bad-record", flags.onBadRecord)}${withThreads}${given("--jobs", flags.jobs)}`,
        data: flags.data ? ` --data ${shellWord(flags.data[0])}` : "",
      },
      bench: {
        ...defaults,
        base: resolveConfig({ preset: "moe-diffuseq", sets: benchSets }),
        twins: ["moe-diffuseq", "dense-active"],
        lengths,
        rounds,
        peer,
        variants: peer ? ["eager"] : [],
        threads: threads ?? availableParallelism(),
        keep: join(out, "bench"),
      },
      suite,
    },
  };
}

/** Writes the table, the page and all figures, and says what they say. @param own the command that makes the table again */
async function writeClaims(
  report: ClaimsReport,
  own: string,
  { out, markdown = join(out, "BENCHMARKS.md") }: { readonly out: string; readonly markdown?: string },
): Promise<CommandResult> {
  const { claimsLines, claimsMarkdown, claimsOf, claimsPage, leftOutOf } = await import(
    "../../benchmark/index.js"
  );
  const files = { json: join(out, "claims.json"), markdown, page: join(out, "report.html") };
  await writeFileAtomic(files.json, `${JSON.stringify(report, null, 2)}\n`);
  await writeFileAtomic(files.markdown, claimsMarkdown(report, own), "--markdown");
  await writeFileAtomic(files.page, claimsPage(report, own));
  return {
    json: { quick: report.quick, claims: claimsOf(report), leftOut: leftOutOf(report), files },
    text: [
      ...claimsLines(report),
      "",
      `Table: ${files.markdown}`,
      `Page with charts: ${files.page}`,
      `All figures: ${files.json}`,
    ].join("\n"),
  };
}
