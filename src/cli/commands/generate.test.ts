import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Generation } from "../../sampling/index.js";
import { tinyRunConfig, writeCorpus } from "../../training/testing/tiny-run.js";
import { train } from "../../training/trainer.js";
import { remarksOnTexts } from "../generation-remarks.js";
import { runCommandLine } from "../program.js";
import { memoryTerminal } from "../testing/memory-terminal.js";

const folder = mkdtempSync(join(tmpdir(), "cli-generate-"));
const model = join(folder, "run");
beforeAll(async () => {
  const config = tinyRunConfig(writeCorpus(folder), "masked", { training: { maxSteps: 2 } });
  await train({ config, out: model, threads: 1 });
});
afterAll(() => rmSync(folder, { recursive: true }));

async function generate(...args: string[]) {
  const terminal = memoryTerminal();
  const code = await runCommandLine(
    ["generate", "--model", model, "--threads", "1", "--length", "24", "--steps", "4", ...args],
    terminal,
  );
  return { code, out: terminal.stdout.text, err: terminal.stderr.text };
}

it("continues a prompt, the same for the same seed, and streams the steps to standard error", async () => {
  const plain = await generate("--prompt", "Fellow citizens", "--seed", "3");
  expect(plain).toMatchObject({ code: 0, out: expect.stringMatching(/^Fellow citizens/) });
  const streamed = await generate("--prompt", "Fellow citizens", "--seed", "3", "--stream");
  expect(streamed.out).toBe(plain.out);
  expect(plain.err).not.toContain("settled");
  expect(streamed.err).toMatch(/step 1\/4 .*Fellow citizens[\s\S]*step 4\/4 {2}100% settled/);
});

it("writes several texts, and one JSON object with --json", async () => {
  const { out, code } = await generate("--num", "2", "--json", "--set", "generation.temperature=0.5");
  expect(code).toBe(0);
  expect(out.trimEnd()).not.toContain("\n");
  const result = JSON.parse(out);
  expect(result.settings).toMatchObject({ num: 2, steps: 4, temperature: 0.5 });
  expect(result.texts.map((text: { sample: number }) => text.sample)).toEqual([0, 1]);
  expect((await generate("--num", "2")).out).toMatch(/^=== 1 of 2 ===\n[\s\S]*\n\n=== 2 of 2 ===\n/);
});

it("fills the gaps of a file and keeps the rest to the byte", async () => {
  const template = join(folder, "draft.txt");
  writeFileSync(template, "One [MASK:3] two\té [MASK:2] end.\n");
  const terminal = memoryTerminal();
  const args = [
    "generate",
    "--model",
    model,
    "--threads",
    "1",
    "--steps",
    "3",
    "--infill",
    template,
    "--json",
  ];
  expect(await runCommandLine(args, terminal)).toBe(0);
  const [{ text, gaps }] = JSON.parse(terminal.stdout.text).texts;
  expect(text).toBe(`One ${gaps[0]} two\té ${gaps[1]} end.\n`);
  // The end of the last line is an editor's, and no text that the last gap would have to lead to.
  // As in a text that is trained on, a byte order mark is none of it and CRLF is LF.
  writeFileSync(template, "\uFEFFOne [MASK:3]\r\ntwo\r\n[MASK:2] end");
  const marked = memoryTerminal();
  expect(await runCommandLine(args, marked)).toBe(0);
  const [draft] = JSON.parse(marked.stdout.text).texts;
  expect(draft.text).toBe(`One ${draft.gaps[0]}\ntwo\n${draft.gaps[1]} end`);
  writeFileSync(template, "One [MASK:3] two [MASK:2]\r\n");
  const ended = memoryTerminal();
  expect(await runCommandLine(args, ended)).toBe(0);
  const [last] = JSON.parse(ended.stdout.text).texts;
  expect(last.text).toBe(`One ${last.gaps[0]} two ${last.gaps[1]}`);
  writeFileSync(template, Buffer.from("caf\xe9 [MASK:3]", "latin1"));
  const latin = memoryTerminal();
  expect(await runCommandLine(args, latin)).toBe(1);
  expect(latin.stderr.text).toContain("draft.txt: expected UTF-8 text, got another encoding");
});

it("takes solver, grid and release policy from flags, and says how many steps ran", async () => {
  const gaussian = join(folder, "gaussian");
  const config = tinyRunConfig(writeCorpus(folder), "moe-diffuseq", { training: { maxSteps: 2 } });
  await train({ config, out: gaussian, threads: 1 });
  const flags = "--sampler dpm-solver++ --order 3 --time-grid log-snr --release entropy --json".split(" ");
  const { code, out } = await generate("--model", gaussian, ...flags);
  expect(code).toBe(0);
  const { settings, texts } = JSON.parse(out);
  const chosen = { sampler: "dpm-solver++", order: 3, timeGrid: "log-snr", release: "entropy" };
  expect(settings).toMatchObject(chosen);
  expect(texts[0].steps).toBe(4);
  expect(await generate("--sampler", "dpm-solver++")).toMatchObject({
    code: 1,
    err: expect.stringContaining("generation.sampler"),
  });
  expect(await generate("--order", "2")).toMatchObject({
    code: 1,
    err: expect.stringContaining("--order is for models with Gaussian noise"),
  });
  // Everything counts as sure: one step writes it all.
  const sure = "--set generation.release=confidence-threshold --set generation.confidenceThreshold=1e-9";
  expect((await generate(...sure.split(" "))).err).toContain("settled after 1 of 4 steps");
});

it("writes any length in blocks, and streams them", async () => {
  const flags = "--length 300 --block-length 16 --context-length 20 --steps 2".split(" ");
  const plain = await generate("--prompt", "Fellow citizens", "--json", ...flags);
  expect(plain.code).toBe(0);
  const { settings, texts } = JSON.parse(plain.out);
  expect(settings).toMatchObject({ blockLength: 16, contextLength: 20, untilEnd: false });
  expect(texts[0].text).toMatch(/^Fellow citizens/);
  expect(texts[0].tokens).toBeGreaterThan(300 - 16);
  const streamed = await generate("--prompt", "Fellow citizens", "--stream", ...flags);
  expect(streamed.out.trimEnd()).toBe(texts[0].text.trimEnd());
  expect(streamed.err).toMatch(/block 1\/\d+ {2}step 1\/2 .*Fellow citizens[\s\S]*block 3\/\d+ {2}step 2\/2/);
  const free = await generate("--until-end", "--json", "--set", "generation.blockLength=8");
  expect(JSON.parse(free.out).settings).toMatchObject({ blockLength: 8, untilEnd: true });
  expect((await generate("--length", "300", "--block-length", "300")).code).toBe(0);
  expect((await generate("--length", "301", "--block-length", "300")).err).toContain("--block-length");
});

it("says what the model was not trained for, beside the text", async () => {
  const [noPairs] = JSON.parse((await generate("--src", "a sentence", "--json")).out).remarks;
  expect(noPairs).toContain("trained on texts without sources");
  const long = await generate("--prompt", "We show ", "--length", "60");
  expect(long.err).toMatch(
    /row of \d+ positions, .* trained on 48 at most: .* --block-length[\s\S]*ends with a space where a gap begins/,
  );
  expect(long.code).toBe(0);
  expect((await generate("--prompt", "We show", "--length", "30")).err).not.toMatch(/trained on|a space/);
  // A text of one block is seen whole.
  const draft = join(folder, "long-draft.txt");
  const block = async (template: string, ...more: string[]) => {
    writeFileSync(draft, template);
    const terminal = memoryTerminal();
    const own = ["--infill", draft, "--steps", "2", "--threads", "1", "--block-length", "16", ...more];
    await runCommandLine(["generate", "--model", model, ...own], terminal);
    return terminal.stderr.text;
  };
  const start = "We show that. ".repeat(30);
  expect(await block(`${start}[MASK:9]`)).toMatch(/trained on 48 at most: .* --context-length/);
  expect(await block(`${start}[MASK:9]`, "--context-length", "8")).not.toContain("trained on 48");
  expect(await block(`${start}[MASK:9] end`)).toMatch(/trained on 48 at most: .*a shorter text\.\n/);
  expect(await block(`${start}[MASK:9] end`, "--context-length", "8")).toContain(
    "behind a gap; leave it out",
  );
  const pairs = join(folder, "pairs.jsonl");
  const lines = Array.from({ length: 40 }, (_, i) =>
    JSON.stringify({ src: `number ${i}`, trg: `it is ${i}` }),
  );
  writeFileSync(pairs, lines.join("\n"));
  const config = tinyRunConfig(pairs, "masked", {
    data: { tokenizer: join(model, "tokenizer.json") },
    training: { maxSteps: 1 },
  });
  await train({ config, out: join(folder, "pairs"), threads: 1 });
  const { out, err } = await generate("--model", join(folder, "pairs"), "--src", "number 3", "--json");
  expect(err).not.toContain("without sources");
  const { remarks, texts } = JSON.parse(out);
  expect(remarks).toEqual(texts[0].text === "" ? [expect.stringContaining("nothing was written")] : []);
});

it("says that a text is empty", () => {
  const text = (...gaps: string[]) => ({ gaps }) as unknown as Generation;
  expect(remarksOnTexts([text("a"), text("", "b")])).toEqual([]);
  expect(remarksOnTexts([text("")])).toEqual(["The text ended before the first word: nothing was written."]);
  expect(remarksOnTexts([text("a"), text("")])[0]).toMatch(/^1 of 2 texts ended/);
});

it("says what does not fit", async () => {
  expect(await generate("--set", "model.numLayers=2")).toMatchObject({
    code: 1,
    err: expect.stringContaining("only generation.* can be set here"),
  });
  expect((await generate("--sampler", "ancestrl")).err).toContain('did you mean "ancestral"?');
  expect((await generate("--infill", join(folder, "none"))).err).toContain("there is no such file");
  for (const name of ["config.json", "tokenizer.json"]) {
    const odd = join(folder, `odd-${name}`);
    cpSync(model, odd, { recursive: true });
    rmSync(join(odd, name));
    mkdirSync(join(odd, name));
    expect(await generate("--model", odd)).toMatchObject({
      code: 1,
      err: `Cannot read ${join(odd, name)}: it is a folder, not a file.\n`,
    });
  }
  const bare = join(folder, "bare");
  cpSync(model, bare, { recursive: true });
  rmSync(join(bare, "tokenizer.json"));
  expect((await generate("--model", bare)).err).toContain("it belongs to the run in that folder");
  const terminal = memoryTerminal();
  expect(await runCommandLine(["generate", "--model", folder], terminal)).toBe(1);
  expect(terminal.stderr.text).toContain("expected the directory of a trained run");
});
