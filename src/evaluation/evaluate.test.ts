import { cpSync } from "node:fs";
import { appendFile, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Tokenizer } from "../data/index.js";
import { temporaryFolder } from "../hub/testing/temporary-folder.js";
import { denoiserParameters } from "../model/denoiser.js";
import { createDevice } from "../runtime/index.js";
import { readPretrained } from "../sampling/pretrained.js";
import { loadTrainingData } from "../training/training-data.js";
import { Validation } from "../training/validation.js";
import { type EvaluationProgress, type EvaluationReport, evaluateRun } from "./evaluate.js";
import { formatEvaluation } from "./format.js";
import { runBaselines } from "./run-texts.js";
import { removeRun, silence, type TinyRun, tinyRun } from "./testing/tiny-run.js";

/** What training would have logged for the saved model. */
async function validate({ path }: TinyRun, sequences: number) {
  const { config, weights, tokenizer } = await readPretrained(path);
  const data = await loadTrainingData(config, { tokenizer });
  const device = await createDevice("cpu", { threads: 1 });
  try {
    const store = await device.createParameters(denoiserParameters(config.model));
    await store.write("value", weights);
    const validation = await Validation.create(config, data.valid, tokenizer, device);
    return await validation.run(store, { sequences, slot: "value" });
  } finally {
    await device.dispose();
  }
}

/** Length of the longest line, those with paths left out. */
const widthOf = (text: string) =>
  Math.max(
    ...text
      .split("\n")
      .filter((line) => !line.includes(tmpdir()))
      .map((line) => line.length),
  );

describe("evaluateRun, masked limit", () => {
  let run: TinyRun;
  let report: EvaluationReport;
  const progress: EvaluationProgress[] = [];
  beforeAll(async () => {
    run = await tinyRun("masked");
    report = await evaluateRun(run.path, {
      draws: 1,
      threads: 1,
      levels: [0.2, 0.6, 1],
      onProgress: (step) => progress.push(step),
    });
  });

  afterAll(() => removeRun(run));

  /** For tests that damage it. */
  function copyOfRun(): TinyRun {
    const path = join(temporaryFolder(), "run");
    cpSync(run.path, path, { recursive: true });
    return { ...run, path };
  }

  it("measures what weights in eight bits cost, on the same noise", async () => {
    const options = { draws: 1, threads: 1, levels: [], baselines: false };
    const q8 = await evaluateRun(run.path, { ...options, dtype: "q8" });
    const { loss, quantized } = q8;
    expect(report.quantized).toBeNull();
    expect(loss.crossEntropy).toEqual(report.loss.crossEntropy);
    const rise = quantized!.loss.bound!.bitsPerByte.mean - loss.bound!.bitsPerByte.mean;
    expect(quantized!.boundIncrease!.mean).toBeCloseTo(rise, 9);
    expect(quantized!.loss.crossEntropy.mean).not.toBe(loss.crossEntropy.mean);
    expect(Math.abs(rise)).toBeLessThan(0.05);
    expect(formatEvaluation(q8)).toMatch(/Weights in eight bits: .* the bound rises by .* bits per byte/);
  });

  it("repeats the loss of validation", async () => {
    const { loss } = report;
    const validation = await validate(run, 5);
    expect(loss.sequences).toBe(5);
    expect(loss.loss).toBeCloseTo(validation.loss, 5);
    expect(loss.terms.ce).toBeCloseTo(validation.terms.ce!, 5);
    expect(loss.crossEntropy.mean).toBeCloseTo(validation.crossEntropy, 5);
    const { natsPerToken, bitsPerByte } = loss.bound!;
    expect(bitsPerByte.mean / natsPerToken.mean).toBeCloseTo(
      validation.bitsPerByte! / validation.boundNats!,
      5,
    );
    expect(bitsPerByte.standardError).toBeGreaterThan(0);
    // Not the plain sum of validation, but near it, and nearer to the truth.
    expect(Math.abs(natsPerToken.mean / validation.boundNats! - 1)).toBeLessThan(0.3);
  });

  it("compares absorbed positions with the unigram model", () => {
    expect(report.levels.map(({ time }) => time)).toEqual([0.2, 0.6, 1]);
    const shares = report.levels.map(({ absorbedShare }) => absorbedShare);
    expect(shares[0]).toBeGreaterThan(0.1);
    expect(shares[0]).toBeLessThan(0.3);
    expect(shares[2]).toBe(1);
    expect(report.levels[2].targets!.tokens).toBe(report.loss.tokens);
    for (const { targets, absorbed, gaussian } of report.levels) {
      expect(targets!.gain).toBeCloseTo(targets!.channel - targets!.model, 8);
      expect([absorbed, gaussian]).toEqual([null, null]);
    }
  });

  it("trains n-grams on what the run has seen, and scores them on the same tokens", async () => {
    const { ngrams, run: about, loss } = report;
    expect(about.trained).toMatchObject({ steps: 2, rows: 6, tokens: 6 * 64 });
    expect(ngrams!.tokens).toBe(loss.tokens);
    expect(ngrams!.trainTokens).toBeGreaterThan(6 * 40);
    expect(ngrams!.trainTokens).toBeLessThanOrEqual(6 * (64 - 3));
    expect(ngrams!.epochs).toBeLessThan(1);
    expect(ngrams!.behind!.bigram.mean).toBeCloseTo(
      ngrams!.bigram.bitsPerByte! - loss.bound!.bitsPerByte.mean,
      8,
    );
    expect(ngrams!.unigram.bitsPerByte).toBeCloseTo(
      (ngrams!.unigram.natsPerToken * loss.tokens) / Math.LN2 / loss.bytes,
      8,
    );
  });

  it("reports every expert of every layer, at every level", () => {
    const { experts } = report;
    expect(experts!.numExperts).toBe(3);
    expect(experts!.times).toEqual([0.2, 0.6, 1]);
    expect(experts!.layers.map((levels) => levels.length)).toEqual([3, 3]);
    for (const { load, dead, entropy } of experts!.layers.flat()) {
      expect(load.reduce((a, b) => a + b, 0)).toBeCloseTo(3, 8);
      expect(dead).toBeCloseTo(load.filter((share) => share < 0.01).length / 3, 8);
      expect(entropy).toBeGreaterThan(0);
      expect(entropy).toBeLessThanOrEqual(Math.log(3) + 1e-6);
    }
  });

  it("is plain JSON, tells its progress, and fits in 100 columns", () => {
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
    expect(progress.at(-1)).toEqual({ what: "noise levels", done: 8, total: 8 });
    const text = formatEvaluation(report);
    expect(text).toMatch(/this model, at most +\d\.\d{4} ±\d\.\d{4} +\d\.\d{4}/);
    expect(text).toMatch(/bigram, same tokens +\d/);
    expect(widthOf(text)).toBeLessThan(101);
  });

  it("evaluates other texts, also without the training texts", async () => {
    const { loss, ngrams } = await evaluateRun(run.path, {
      data: [run.unseen],
      levels: [],
      threads: 1,
      sequences: 1000,
    });
    const tokenizer = await Tokenizer.load(run.path);
    const lines = (await readFile(run.unseen, "utf8")).trim().split("\n");
    const texts = lines.map((line) => (JSON.parse(line) as { text: string }).text);
    expect(loss.tokens).toBe(texts.reduce((sum, text) => sum + tokenizer.encode(text).length + 1, 0));
    expect(loss.bytes).toBe(texts.reduce((sum, text) => sum + new TextEncoder().encode(text).length, 0));
    expect(ngrams!.tokens).toBe(loss.tokens);

    const gone = join(run.path, "..", "train.jsonl");
    const content = await readFile(gone);
    onTestFinished(() => writeFile(gone, content));
    await rm(gone);
    const without = await evaluateRun(run.path, {
      data: [run.unseen],
      levels: [],
      threads: 1,
      sequences: 1000,
    });
    expect(without.ngrams).toBeNull();
    expect(without.notes.join()).toMatch(
      /No n-gram baselines, since the training texts are not there as they were: .*train/,
    );
    expect(without.loss).toEqual(loss);
    await expect(evaluateRun(run.path, { levels: [], threads: 1 })).rejects.toThrow(/train\.jsonl/);
  });

  it("texts that have changed are refused, with what the asker can do", async () => {
    const changed = join(run.path, "..", "train.jsonl");
    const content = await readFile(changed);
    onTestFinished(() => writeFile(changed, content));
    await appendFile(changed, '{"text":"more"}\n');
    await expect(evaluateRun(run.path, { levels: [], threads: 1 })).rejects.toThrow(
      /train\.jsonl has changed.*Bring back the texts as they were, or give held-out texts with --valid\./,
    );
    await expect(runBaselines(run.path)).rejects.toThrow(
      /train\.jsonl has changed.*as they were, or do without the n-gram models \(report without --baselines\)\.$/,
    );
  });

  it("n-grams of a report are refused where the run has last validated on other rows", async () => {
    const { path } = copyOfRun();
    expect(await runBaselines(path)).toHaveLength(3);
    await appendFile(join(path, "metrics.jsonl"), '{"kind":"valid","step":2,"bitsPerByte":3}\n');
    await expect(runBaselines(path)).rejects.toThrow(
      /has last validated on other rows .* \(train --resume --out .*run\), or do without the n-gram models/,
    );
  });

  it("knows how far a run came from its log when there are no checkpoints", async () => {
    const { path } = copyOfRun();
    await rm(join(path, "checkpoints"), { recursive: true });
    await appendFile(join(path, "metrics.jsonl"), '{"kind":"valid","step":3}\n{"kind":"train","st');
    const options = { levels: [], draws: 1, sequences: 1, threads: 1 };
    const { run: about } = await evaluateRun(path, options);
    expect(about.trained).toMatchObject({ steps: 2, rows: 6, tokens: 384 });
    await rm(join(path, "metrics.jsonl"));
    const { run: unknown, notes } = await evaluateRun(path, options);
    expect(unknown.trained).toBeNull();
    expect(notes.join()).toMatch(/is not known/);
  });

  it("has a bound that is the plain sum's mean, with a smaller error", async () => {
    const options = { levels: [], baselines: false, threads: 1 };
    const [few, many] = [
      await evaluateRun(run.path, { ...options, draws: 2 }),
      await evaluateRun(run.path, { ...options, draws: 240 }),
    ];
    const plain = many.loss.terms.ce!;
    const bound = few.loss.bound!.natsPerToken;
    expect(Math.abs(many.loss.bound!.natsPerToken.mean / plain - 1)).toBeLessThan(0.02);
    expect(Math.abs(bound.mean / many.loss.bound!.natsPerToken.mean - 1)).toBeLessThan(0.02);
    expect(Math.abs(few.loss.terms.ce! / plain - 1)).toBeGreaterThan(0.02);
    expect(bound.standardError! / bound.mean).toBeLessThan(0.05);
  });

  it("has a bound from 64 noised rows at least, and says of one row how far noise moves it", async () => {
    const options = { levels: [], baselines: false, threads: 1 };
    const five = await evaluateRun(run.path, options);
    expect([five.loss.sequences, five.loss.draws]).toEqual([5, 13]);
    expect(formatEvaluation(five)).toMatch(
      /At most: an upper bound, estimated from 5 sequences, 13 draws of noise each\.\n±: standard error over [2-5] documents\./,
    );
    const one = await evaluateRun(run.path, { ...options, sequences: 1 });
    expect(one.loss.draws).toBe(64);
    const { mean, standardError } = one.loss.bound!.bitsPerByte;
    expect(formatEvaluation(one)).toMatch(
      /from 1 sequence, 64 draws of noise each\.\n±: by the noise alone, as all is of one document\./,
    );
    // What few draws come to lies about what many do, by the error that they claim.
    const few = await evaluateRun(run.path, { ...options, sequences: 1, draws: 8 });
    const claimed = few.loss.bound!.bitsPerByte.standardError!;
    expect(Math.abs(few.loss.bound!.bitsPerByte.mean - mean)).toBeLessThan(4 * claimed);
    expect(standardError!).toBeGreaterThan(0);
    expect(standardError!).toBeLessThan(claimed);
    const single = await evaluateRun(run.path, { ...options, sequences: 1, draws: 1 });
    expect(single.loss.bound!.bitsPerByte.standardError).toBeNull();
    expect(formatEvaluation(single)).toContain("from 1 sequence, 1 draw of noise each.");
    expect(formatEvaluation(single)).not.toContain("±");
  });

  it("counts documents, not the rows that one is cut into", async () => {
    const [one, two] = ["one", "two"].map((name) => join(run.folder, `${name}.jsonl`));
    const [first, second] = (await readFile(run.unseen, "utf8")).split("\n");
    await writeFile(one, `${first}\n`);
    await writeFile(two, `${first}\n${second}\n`);
    const options = { levels: [0.5], sequences: 1000, threads: 1, dtype: "q8" } as const;
    const of = (path: string, draws: number) => evaluateRun(run.path, { ...options, data: [path], draws });
    const alone = await of(one, 1);
    expect(alone.loss.sequences).toBeGreaterThan(2);
    expect(alone.loss.documents).toBe(1);
    const errors = ({ loss, levels, ngrams, quantized }: EvaluationReport) => [
      loss.crossEntropy.standardError,
      loss.bound!.bitsPerByte.standardError,
      levels[0].targets!.gainError,
      ngrams!.behind!.trigram.standardError,
      quantized!.boundIncrease!.standardError,
    ];
    expect(errors(alone)).toEqual([null, null, null, null, null]);
    const often = await of(one, 4);
    expect(often.loss.bound!.bitsPerByte.standardError).toBeGreaterThan(0);
    expect(formatEvaluation(often)).toContain("±: by the noise alone, as all is of one document.");
    const both = await of(two, 1);
    expect(both.loss.documents).toBe(2);
    for (const error of errors(both)) expect(error).toBeGreaterThan(0);
    expect(formatEvaluation(both)).toContain("±: standard error over 2 documents.");
  });

  it("a network that is silent is the unigram model, and so is its bound", async () => {
    const silent = copyOfRun();
    await silence(silent);
    const { levels, loss } = await evaluateRun(silent.path, {
      draws: 1,
      levels: [0.5, 1],
      baselines: false,
      threads: 1,
    });
    for (const { targets } of levels) {
      expect(targets!.gain).toBeCloseTo(0, 5);
      expect(targets!.gainError).toBeLessThan(1e-5);
    }
    expect(loss.bound!.natsPerToken.mean).toBeCloseTo(levels[1].targets!.model, 5);
  });

  it("says what is wrong with its options", async () => {
    await expect(evaluateRun(run.path, { levels: [1.5] })).rejects.toThrow(/from 0 to 1, got 1.5/);
    for (const levels of [null, 0.5, "0.5", ["0.5"], [Number.NaN]] as unknown as number[][])
      await expect(evaluateRun(run.path, { levels })).rejects.toThrow(
        /^levels: expected (a list of )?noise levels t from 0 to 1, got /,
      );
    await expect(evaluateRun(run.path, { sequences: 0 })).rejects.toThrow(/sequences: expected an integer/);
    await expect(evaluateRun(join(run.path, "none"))).rejects.toThrow(/is not the directory of a run/);
    const stop = AbortSignal.abort(new Error("stopped"));
    await expect(evaluateRun(run.path, { signal: stop })).rejects.toThrow("stopped");
  });
});

describe("evaluateRun, autoregressive", () => {
  it("has one level and nothing to draw, and refuses to be asked for others", async () => {
    const run = await tinyRun("autoregressive");
    onTestFinished(() => removeRun(run));
    const options = { baselines: false, threads: 1 };
    const { levels, loss } = await evaluateRun(run.path, options);
    expect([levels.map(({ time }) => time), loss.draws]).toEqual([[1], 1]);
    expect(await evaluateRun(run.path, { ...options, levels: [1], draws: 1 })).toMatchObject({
      levels,
      loss,
    });
    expect((await evaluateRun(run.path, { ...options, levels: [] })).levels).toEqual([]);
    for (const asked of [[0.5], [0.5, 1], [1, 1]])
      await expect(evaluateRun(run.path, { ...options, levels: asked })).rejects.toThrow(
        /^levels: expected \[1\] \(or none\), got \[.*\], as .* is autoregressive and noises nothing; leave it out$/,
      );
    await expect(evaluateRun(run.path, { ...options, draws: 3 })).rejects.toThrow(
      /^draws: expected 1, got 3, as .* is autoregressive/,
    );
  });
});

describe("evaluateRun, continuous processes", () => {
  const runs: TinyRun[] = [];
  afterAll(() => Promise.all(runs.map(removeRun)));

  it("soft absorbing: splits absorbed and noisy positions, and a silent network equals the channel", async () => {
    const run = await tinyRun("moe-diffuseq", {
      model: { selfConditioning: true },
      diffusion: { noiseScale: 1 },
    });
    runs.push(run);
    await silence(run);
    const report = await evaluateRun(run.path, { levels: [0.3, 0.9], baselines: false, threads: 1 });
    expect(report.loss.bound).toBeNull();
    expect(report.loss.crossEntropy.mean).toBeCloseTo((await validate(run, 5)).crossEntropy, 5);
    expect(report.ngrams).toBeNull();
    for (const { targets, absorbed, gaussian, absorbedShare } of report.levels) {
      for (const part of [targets, absorbed, gaussian]) expect(part!.gain).toBeCloseTo(0, 4);
      expect(absorbed!.tokens + gaussian!.tokens).toBe(targets!.tokens);
      expect(absorbedShare).toBeCloseTo(absorbed!.tokens / targets!.tokens, 8);
      expect(targets!.model * targets!.tokens).toBeCloseTo(
        absorbed!.model * absorbed!.tokens + gaussian!.model * gaussian!.tokens,
        6,
      );
    }
    const [{ gaussian, absorbed }] = report.levels;
    expect(gaussian!.channel).toBeLessThan(absorbed!.channel - 1);
    const text = formatEvaluation(report);
    expect(text).toMatch(/noisy: model/);
    expect(text).toMatch(/earlier prediction/);
    expect(widthOf(text)).toBeLessThan(101);
  });

  it("DiffuSeq: no experts, nothing absorbed", async () => {
    const run = await tinyRun("diffuseq");
    runs.push(run);
    const report = await evaluateRun(run.path, { levels: [0.5], threads: 1 });
    expect(report.experts).toBeNull();
    expect(report.levels[0]).toMatchObject({ absorbedShare: 0, absorbed: null, gaussian: null });
    expect(report.loss.terms.mse).toBeGreaterThan(0);
    expect(formatEvaluation(report)).toMatch(/A continuous process gives no bound/);
  });
});
