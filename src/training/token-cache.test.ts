/** @file Runs from a token cache are the runs from the texts, to the last bit; and texts that change under a run are noticed. */
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { PartialRunConfig } from "../config/index.js";
import { embeddedCorpus, prepareCache, Tokenizer } from "../data/index.js";
import { evaluateRun } from "../evaluation/index.js";
import { openFilesUnder } from "../hub/testing/open-files.js";
import { temporaryFolder } from "../hub/testing/temporary-folder.js";
import { lossesOf, stopAfter, weightsOf } from "./testing/run-outcome.js";
import { tinyRunConfig, writeCorpus } from "./testing/tiny-run.js";
import { type TrainEvent, type TrainOptions, train } from "./trainer.js";
import { loadTrainingData } from "./training-data.js";

let folder = "";
let corpus = "";
let held = "";
let pairs = "";
let tokenizer = "";
/** Of the corpus; tests that damage it take a copy. */
let cache = "";
/** A run of six steps from the corpus, done. */
let texts = "";
beforeAll(async () => {
  folder = temporaryFolder();
  corpus = writeCorpus(folder);
  held = join(folder, "held.jsonl");
  const [{ text = "" }] = embeddedCorpus("validation");
  writeFileSync(held, `${JSON.stringify({ text: text.slice(0, 900) })}\n`);
  pairs = join(folder, "pairs.jsonl");
  const lines = Array.from({ length: 30 }, (_, i) =>
    JSON.stringify({ src: text.slice(9 * i, 9 * i + 50), trg: text.slice(9 * i + 50, 10 * i + 70) }),
  );
  writeFileSync(pairs, lines.join("\n"));
  cache = newFolder();
  await prepareCache({ data: [corpus], vocabSize: 320, out: cache, shardBytes: 1000 });
  tokenizer = join(cache, "tokenizer.json");
  texts = newFolder();
  await run({ train: [corpus], tokenizer }, texts);
});

let serial = 0;
const newFolder = () => join(folder, `f${serial++}`);
function copyOf(path: string): string {
  const out = newFolder();
  cpSync(path, out, { recursive: true });
  return out;
}
async function cacheOf(data: string[], valid: string[] = []): Promise<string> {
  const out = newFolder();
  await prepareCache({ data, valid, tokenizer, out, shardBytes: 1000 });
  return out;
}
const run = (
  data: PartialRunConfig["data"],
  out: string,
  extra: PartialRunConfig = {},
  options: Partial<TrainOptions> = {},
) =>
  train({
    config: tinyRunConfig(corpus, "moe-diffuseq", { training: { maxSteps: 6 }, ...extra, data }),
    out,
    threads: 1,
    ...options,
  });

async function expectEqualRuns(a: string, b: string): Promise<void> {
  expect(lossesOf(a).length).toBeGreaterThan(6);
  expect(lossesOf(b)).toEqual(lossesOf(a));
  expect(await weightsOf(b)).toEqual(await weightsOf(a));
}

describe("a run from a token cache", () => {
  it("is the run from the texts, documents held out by the seed, also stopped and resumed", async () => {
    const cached = newFolder();
    await run({ train: [cache] }, cached, {}, stopAfter(3));
    const summary = await run({ train: [cache] }, cached, {}, { resume: true });
    expect(summary).toMatchObject({ steps: 6, interrupted: false });
    await expectEqualRuns(texts, cached);
    const evaluated = await Promise.all(
      [texts, cached].map((path) => evaluateRun(path, { threads: 1, draws: 1, levels: [0.5] })),
    );
    expect(evaluated[1].loss).toEqual(evaluated[0].loss);
    expect(evaluated[1].ngrams?.trigram).toEqual(evaluated[0].ngrams?.trigram);
    const elsewhere = await cacheOf([held], [corpus]);
    const other = (data: string) =>
      evaluateRun(cached, { data: [data], threads: 1, draws: 1, levels: [0.5], baselines: false });
    expect((await other(elsewhere)).loss).toEqual((await other(corpus)).loss);
  });

  it.each([
    ["of its own", (both: string) => ({ train: [both] })],
    ["named", (both: string) => ({ train: [both], valid: [both] })],
    ["as texts", (both: string) => ({ train: [both], valid: [held] })],
  ])("with validation texts %s", async (_, data) => {
    const rowsOf = async (section: PartialRunConfig["data"]) => {
      const loaded = await loadTrainingData(tinyRunConfig(corpus, "masked", { data: section }));
      const rows = [0, 1, 2, 3].flatMap((i) => [loaded.train.row(i), loaded.valid.row(i)]);
      loaded.close();
      return rows;
    };
    const both = await cacheOf([corpus], [held]);
    expect(await rowsOf(data(both))).toEqual(await rowsOf({ train: [corpus], valid: [held], tokenizer }));
  });

  it("of pairs, filled up with [PAD]", async () => {
    const [plain, cached] = [newFolder(), newFolder()];
    const data = { padTargets: 44 };
    const extra = { model: { attention: { textGlobals: "source", maxTextGlobals: 3 } } } as PartialRunConfig;
    await run({ ...data, train: [pairs], tokenizer }, plain, extra);
    await run({ ...data, train: [await cacheOf([pairs])] }, cached, extra);
    await expectEqualRuns(plain, cached);
  });

  it("shards that are cut short under the run end it; mended, the run goes on to the same bits", async () => {
    const [hurt, mine] = [newFolder(), copyOf(cache)];
    const shards = readdirSync(mine).filter((name) => name.startsWith("train-"));
    const onEvent = (event: TrainEvent) => {
      if (event.kind === "step" && event.metrics.step === 4)
        for (const name of shards) truncateSync(join(mine, name), 60);
    };
    await expect(run({ train: [mine] }, hurt, {}, { onEvent })).rejects.toThrow(
      /train-\d+.tokens is damaged: it has 60 bytes, expected \d+.*\n {2}npx moe-diffuseq prepare/,
    );
    await expect(run({ train: [mine] }, hurt, {}, { resume: true })).rejects.toThrow(
      /train-\d+.tokens is damaged/,
    );
    await prepareCache({ data: [corpus], vocabSize: 320, out: mine, shardBytes: 1000 });
    await run({ train: [mine] }, hurt, {}, { resume: true });
    await expectEqualRuns(texts, hurt);
  });
});

describe("rows that can no longer be read", () => {
  /** Cuts the shards short once a step is done, when the rows of the next have been read ahead. */
  const damageAfter = (path: string, step: number) => (event: TrainEvent) => {
    if (event.kind !== "step" || event.metrics.step !== step) return;
    for (const name of readdirSync(path)) if (name.startsWith("train-")) truncateSync(join(path, name), 60);
  };
  const rarely = { evalEvery: 100, checkpointEvery: 100 };
  const checkpointsOf = (out: string) => readdirSync(join(out, "checkpoints"));

  it("keep what was learned when they are those of validation", async () => {
    const [hurt, mine] = [newFolder(), copyOf(cache)];
    const training = { maxSteps: 6, evalEvery: 4, checkpointEvery: 100 };
    const data = { train: [cache], valid: [mine] };
    await expect(run(data, hurt, { training }, { onEvent: damageAfter(mine, 3) })).rejects.toThrow(
      /train-\d+.tokens is damaged/,
    );
    expect(checkpointsOf(hurt)).toEqual(["step-00000004"]);
  });

  it("end a run with the step it has, and a checkpoint; mended, it goes on to the same bits", async () => {
    const [whole, hurt, mine] = [newFolder(), newFolder(), copyOf(cache)];
    const [data, training] = [
      { train: [mine], valid: [held] },
      { maxSteps: 6, ...rarely },
    ];
    await run(data, whole, { training });
    const onEvent = damageAfter(mine, 3);
    await expect(run(data, hurt, { training }, { onEvent })).rejects.toThrow(/train-\d+.tokens is damaged/);
    expect(checkpointsOf(hurt)).toEqual(["step-00000004"]);
    expect(lossesOf(hurt).map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    await prepareCache({ data: [corpus], vocabSize: 320, out: mine, shardBytes: 1000 });
    await run(data, hurt, { training }, { resume: true });
    await expectEqualRuns(whole, hurt);
  });

  it("of which none is wanted any more do not matter", async () => {
    const [out, mine] = [newFolder(), copyOf(cache)];
    const training = { maxSteps: 4, ...rarely };
    const summary = await run(
      { train: [mine], valid: [held] },
      out,
      { training },
      { onEvent: damageAfter(mine, 3) },
    );
    expect(summary).toMatchObject({ steps: 4, interrupted: false });
    expect(checkpointsOf(out)).toEqual(["step-00000004"]);
  });
});

describe("what does not fit", () => {
  it("another vocabulary, texts beside caches, a cache that is not complete", async () => {
    const other = newFolder();
    await prepareCache({ data: [corpus], vocabSize: 330, out: other });
    await expect(run({ train: [other] }, newFolder())).rejects.toThrow(
      /model.vocabSize is 320, but the tokenizer has 330 tokens; pass --set model.vocabSize=330/,
    );
    const foreign = { train: [cache], tokenizer: join(other, "tokenizer.json") };
    await expect(run(foreign, newFolder())).rejects.toThrow(
      /was made with another tokenizer than .*tokenizer.json: .* says 320 tokens, .* has 330 tokens/,
    );
    await expect(evaluateRun(texts, { data: [other], baselines: false })).rejects.toThrow(
      /was made with another tokenizer than the run/,
    );
    await expect(run({ train: [cache, corpus] }, newFolder())).rejects.toThrow(
      /either token caches or texts, got both/,
    );
    const controller = new AbortController();
    const unfinished = newFolder();
    const stop = { signal: controller.signal, onProgress: () => controller.abort() };
    await prepareCache({ data: [corpus], tokenizer, out: unfinished, shardBytes: 1000, ...stop });
    await expect(run({ train: [unfinished] }, newFolder())).rejects.toThrow(
      /is a token cache that is not complete. To complete it:\n {2}npx moe-diffuseq prepare --data/,
    );
  });

  it("rows without room for a document, or for what is filled up", async () => {
    const load = (extra: PartialRunConfig) => loadTrainingData(tinyRunConfig(corpus, "masked", extra));
    await expect(
      load({ training: { sequenceLength: 8 }, model: { attention: { globalTokens: 4 } } }),
    ).rejects.toThrow(
      /at least 6 tokens, got 4 \(in a run: training.sequenceLength less model.attention.globalTokens\)/,
    );
    await expect(load({ data: { padTargets: 47 } })).rejects.toThrow(
      /data.padTargets: expected at most 46, .* got 47; .*--set training.sequenceLength=49/,
    );
  });

  it("pairs that are longer than a row: how many are cut is known, from texts and from a cache", async () => {
    const long = join(folder, "long.jsonl");
    const [src, trg] = [readFileSync(held, "utf8").slice(20, 300), "short"];
    writeFileSync(
      long,
      [
        { src, trg },
        { src: trg, trg },
      ]
        .map((pair) => JSON.stringify(pair))
        .join("\n"),
    );
    for (const train of [long, await cacheOf([long])]) {
      const section = { train: [train], valid: [train], tokenizer };
      const data = await loadTrainingData(tinyRunConfig(corpus, "masked", { data: section }));
      expect(data.shortened).toBe(2);
      data.close();
    }
  });

  it("documents that are not filled up with [PAD]: how many is known, from texts and from a cache", async () => {
    const mixed = join(folder, "mixed.jsonl");
    const long = readFileSync(held, "utf8").slice(20, 300);
    const documents = [
      { text: long },
      { text: "short" },
      { src: "short", trg: long },
      { src: "a", trg: "b" },
    ];
    writeFileSync(mixed, documents.map((document) => JSON.stringify(document)).join("\n"));
    for (const train of [mixed, await cacheOf([mixed])])
      for (const [padTargets, unpadded] of [
        [null, 0],
        [30, 4],
      ] as const) {
        const section = { train: [train], valid: [train], tokenizer, padTargets };
        const data = await loadTrainingData(tinyRunConfig(corpus, "masked", { data: section }));
        expect(data.unpadded).toBe(unpadded);
        data.close();
      }
  });

  it.skipIf(process.platform !== "linux")(
    "validation texts that are broken: no file of the cache stays open",
    async () => {
      const broken = join(folder, "broken.jsonl");
      writeFileSync(broken, '{"text":"one"}\n{"txt":1}\n');
      const config = tinyRunConfig(corpus, "masked", { data: { train: [cache], valid: [broken] } });
      await expect(loadTrainingData(config)).rejects.toThrow(/broken.jsonl:2: expected/);
      // The stream of the broken file closes a little later.
      await expect.poll(() => openFilesUnder(folder)).toEqual([]);
    },
  );

  it("texts that have changed since the run began: resuming says so", async () => {
    const mine = writeCorpus(temporaryFolder());
    const out = newFolder();
    await run({ train: [mine], valid: [held], tokenizer }, out, {}, stopAfter(1));
    const before = readFileSync(mine);
    const resume = (data: PartialRunConfig["data"]) => run(data, out, {}, { resume: true });
    appendFileSync(mine, '{"text":"more"}\n');
    await expect(resume({ train: [mine], valid: [held], tokenizer })).rejects.toThrow(
      /texts.jsonl has changed since the run began: it has \d+ bytes, not \d+/,
    );
    writeFileSync(mine, before.toString().replace("the", "teh"));
    await expect(resume({ train: [mine], valid: [held], tokenizer })).rejects.toThrow(
      /the same size but another checksum/,
    );
    await expect(resume({ train: [mine, mine], valid: [held], tokenizer })).rejects.toThrow(
      /The run began with .*texts.jsonl and would go on with .*texts.jsonl, /,
    );
    await expect(resume({ train: [mine], tokenizer })).rejects.toThrow(
      /changed|began with texts to validate on/,
    );
    writeFileSync(mine, before);
    await expect(resume({ train: [mine], tokenizer })).rejects.toThrow(/began with texts to validate on/);
    // Moved, and with other validation texts: nothing that the rows depend on.
    writeFileSync(`${mine}.moved.jsonl`, before);
    renameSync(mine, `${mine}.gone`);
    const summary = await resume({ train: [`${mine}.moved.jsonl`], valid: [pairs], tokenizer });
    expect(summary.steps).toBe(6);
    writeFileSync(join(out, "data.json"), "{");
    await expect(resume({ train: [`${mine}.moved.jsonl`], valid: [pairs], tokenizer })).rejects.toThrow(
      /data.json is damaged/,
    );
    rmSync(join(out, "data.json"));
    mkdirSync(join(out, "data.json"));
    await expect(resume({ train: [`${mine}.moved.jsonl`], valid: [pairs], tokenizer })).rejects.toThrow(
      /Cannot read .*data.json: it is a folder/,
    );
  });

  it("another vocabulary of the same size in the run's directory: resuming says so", async () => {
    const out = newFolder();
    await run({ train: [corpus], tokenizer }, out, {}, stopAfter(1));
    const other = await Tokenizer.train([readFileSync(held, "utf8")], { vocabSize: 320 });
    await other.save(out);
    await expect(run({ train: [corpus] }, out, {}, { resume: true })).rejects.toThrow(
      /tokenizer.json is not the vocabulary the run began with/,
    );
    const { tokenizer: _, ...older } = JSON.parse(readFileSync(join(out, "data.json"), "utf8"));
    writeFileSync(join(out, "data.json"), JSON.stringify(older));
    await (await Tokenizer.load(tokenizer)).save(out);
    await expect(run({ train: [corpus] }, out, {}, { resume: true })).resolves.toMatchObject({ steps: 6 });
  });

  it("texts that grow while a run is starting, so that the share held out would be another at a resume", async () => {
    const mine = writeCorpus(temporaryFolder());
    const onProgress = (what: string) => {
      if (what.startsWith("training a vocabulary")) appendFileSync(mine, '{"text":"more"}\n');
    };
    const config = tinyRunConfig(mine, "masked");
    await expect(loadTrainingData(config, { onProgress })).rejects.toThrow(
      /texts.jsonl changed while the run was starting: it had 24 documents, then 25/,
    );
  });

  it("an identical cache made anew, of the same texts elsewhere: the run goes on to the same bits", async () => {
    const [first, out] = [copyOf(cache), newFolder()];
    await run({ train: [first] }, out, {}, stopAfter(3));
    rmSync(first, { recursive: true });
    const elsewhere = writeCorpus(temporaryFolder());
    const anew = newFolder();
    await prepareCache({ data: [elsewhere], vocabSize: 320, out: anew, shardBytes: 1000 });
    await run({ train: [anew] }, out, {}, { resume: true });
    await expectEqualRuns(texts, out);
  });

  it("a cache made anew of other texts: resuming says so", async () => {
    const [a, b, out] = [copyOf(cache), await cacheOf([corpus, held]), newFolder()];
    await run({ train: [a] }, out, {}, stopAfter(1));
    renameSync(a, `${a}.old`);
    renameSync(b, a);
    await expect(run({ train: [a] }, out, {}, { resume: true })).rejects.toThrow(
      /has changed since the run began/,
    );
  });
});
