/**
 * @file What a larger corpus costs: peak memory of `prepare` and of a training run from its cache, for a small corpus and one many times
 * as large, and how fast texts are tokenized. Linux: peaks are VmHWM of a process of its own for each figure.
 *
 *     npx tsx bench/data-memory.ts FILE... [--small 6] [--large 180] [--steps 30] [--raw]
 *
 * The corpora are the first so many megabytes of the documents of the files, begun again where they do not suffice. `--raw` also trains
 * from the texts themselves, which are held as tokens.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { peakBytes } from "../src/benchmark/process-memory.js";
import { resolveConfig } from "../src/config/resolve.js";
import { prepareCache, readDocuments } from "../src/data/index.js";
import { train } from "../src/training/trainer.js";

const { values: flags, positionals: files } = parseArgs({
  allowPositionals: true,
  options: {
    small: { type: "string", default: "6" },
    large: { type: "string", default: "180" },
    steps: { type: "string", default: "30" },
    raw: { type: "boolean", default: false },
    task: { type: "string" },
  },
});

interface Task {
  readonly kind: "prepare" | "train";
  readonly data: string;
  readonly out: string;
  readonly threads: number;
  readonly tokenizer?: string;
}
interface Figures {
  readonly peakMegabytes: number;
  readonly textMegabytes: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

async function perform({ kind, data, out, threads, tokenizer }: Task): Promise<Figures> {
  const began = performance.now();
  let textMegabytes = 0;
  let seconds = 0;
  if (kind === "prepare") {
    const vocabulary = tokenizer ? { tokenizer } : { vocabSize: 4096 };
    const summary = await prepareCache({ data: [data], out, threads, ...vocabulary });
    textMegabytes = summary.textBytesTokenized / 1e6;
    seconds = summary.secondsTokenizing;
  } else {
    const sets = ["model.vocabSize=4096", "model.hiddenSize=64", "model.numLayers=2", "model.numHeads=2"];
    const small = ["training.sequenceLength=512", "training.batchSize=2", `training.maxSteps=${flags.steps}`];
    const config = resolveConfig({
      preset: "masked",
      sets: [...sets, ...small, "training.evalSequences=8"],
      overrides: { data: { train: [data], ...(tokenizer ? { tokenizer } : {}) } },
    });
    await train({ config, out, threads });
    seconds = (performance.now() - began) / 1000;
  }
  const { user, system } = process.cpuUsage();
  return { peakMegabytes: peakBytes() / 1e6, textMegabytes, seconds, cpuSeconds: (user + system) / 1e6 };
}

if (flags.task) {
  console.log(JSON.stringify(await perform(JSON.parse(flags.task) as Task)));
  process.exit(0);
}

const inProcess = (task: Task): Figures => {
  const args = ["--import", "tsx", fileURLToPath(import.meta.url), "--steps", flags.steps];
  const { stdout, stderr, status } = spawnSync(process.execPath, [...args, "--task", JSON.stringify(task)], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Figures;
};

/** The first `megabytes` of the documents, from the start again as often as need be. */
async function writeCorpus(path: string, megabytes: number): Promise<void> {
  const file = createWriteStream(path);
  for (let bytes = 0; bytes < megabytes * 1e6; )
    for await (const { source: _, ...texts } of readDocuments(files)) {
      const line = `${JSON.stringify(texts)}\n`;
      bytes += Buffer.byteLength(line);
      if (!file.write(line)) await once(file, "drain");
      if (bytes >= megabytes * 1e6) break;
    }
  file.end();
  await once(file, "close");
}

if (files.length === 0) throw new Error("expected files of texts to measure with");
const folder = join(tmpdir(), `data-memory-${process.pid}`);
mkdirSync(folder);
const sizes = { small: Number(flags.small), large: Number(flags.large) };
const [head, border] = [[], []];
const table = new Table({
  head: ["", `${sizes.small} MB`, `${sizes.large} MB`, "large over small"],
  style: { head, border },
});
const corpus = (size: string) => join(folder, `${size}.jsonl`);
for (const [size, megabytes] of Object.entries(sizes)) await writeCorpus(corpus(size), megabytes);
const tokenizer = join(folder, "small-1", "tokenizer.json");
const both = (name: string, task: (size: string) => Task, shown: (figures: Figures) => string) => {
  const [small, large] = Object.keys(sizes).map((size) => {
    process.stderr.write(`${name}, ${size} ...\n`);
    return inProcess(task(size));
  });
  const growth = large.peakMegabytes / small.peakMegabytes;
  table.push([name, shown(small), shown(large), growth.toFixed(2)]);
};
const memory = ({ peakMegabytes: peak }: Figures) => `${peak.toFixed(0)} MB`;
const speed = (figures: Figures) =>
  `${memory(figures)}, ${(figures.textMegabytes / figures.seconds).toFixed(1)} MB/s (${(figures.textMegabytes / figures.cpuSeconds).toFixed(1)} MB a CPU second)`;
const prepareIn = (size: string, threads: number, suffix: string): Task => ({
  kind: "prepare",
  data: corpus(size),
  out: join(folder, `${size}-${suffix}`),
  threads,
  ...(suffix === "1" ? {} : { tokenizer }),
});
both("prepare with a vocabulary to train, 1 thread", (size) => prepareIn(size, 1, "1"), memory);
both("prepare, 1 thread", (size) => prepareIn(size, 1, "one"), speed);
both("prepare, 2 threads", (size) => prepareIn(size, 2, "two"), speed);
const trainIn = (data: string, out: string): Task => ({ kind: "train", data, out, threads: 1 });
both(
  `train ${flags.steps} steps from the cache`,
  (size) => trainIn(join(folder, `${size}-one`), join(folder, `${size}-run`)),
  memory,
);
if (flags.raw)
  both(
    `train ${flags.steps} steps from the texts`,
    (size) => ({ ...trainIn(corpus(size), join(folder, `${size}-raw`)), tokenizer }),
    memory,
  );
console.log(table.toString());
rmSync(folder, { recursive: true });
