import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { resolveConfig } from "../../config/resolve.js";
import { attentionGroups } from "../attention-groups.js";
import { runCommandLine } from "../program.js";
import { memoryTerminal } from "../testing/memory-terminal.js";

const folder = mkdtempSync(join(tmpdir(), "cli-inspect-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function inspect(...args: string[]) {
  const terminal = memoryTerminal();
  const code = await runCommandLine(["inspect", ...args], terminal);
  return { code, out: terminal.stdout.text, err: terminal.stderr.text };
}

it("counts parameters, work and memory of the reference configuration", async () => {
  const { out, code } = await inspect("--config", "configs/bench-small.json", "--json");
  expect(code).toBe(0);
  const { parameters, flops, memory, batch } = JSON.parse(out);
  expect(parameters.total).toBeGreaterThan(11e6);
  expect(parameters.active).toBeLessThan(parameters.total / 2);
  expect(flops.training).toBeGreaterThan(2 * flops.forward);
  expect(memory.optimizer).toBeGreaterThan(16 * parameters.trainable);
  expect(batch).toEqual({ batchSize: 2, sequenceLength: 2048 });
});

it("describes the model of a run in words and draws its attention", async () => {
  const config = resolveConfig({
    preset: "masked",
    sets: ["model.attention.window=16", "training.sequenceLength=128"],
  });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const picture = join(folder, "pictures", "attention.svg");
  const { out } = await inspect("--model", folder, "--picture", picture);
  expect(out).toMatch(/^Preset {9}masked\nParameters/);
  expect(out).toContain("16 positions to each side");
  expect(readFileSync(picture, "utf8")).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  expect((await inspect("--picture", "a.png")).err).toContain(
    "--picture expects a file name that ends in .svg",
  );
  mkdirSync(join(folder, "folder.svg"));
  const { err } = await inspect("--model", folder, "--picture", join(folder, "folder.svg"));
  expect(err).toContain("not a file; write somewhere else with --picture.");
});

it("groups layers and heads that see the same", () => {
  const labels = (...sets: string[]) =>
    attentionGroups(resolveConfig({ sets: ["training.sequenceLength=64", ...sets] })).groups.map(
      ({ label }) => label,
    );
  expect(labels()).toEqual(["every layer"]);
  expect(labels("model.attention.dilation=[1,1,1,2]")).toEqual([
    "every layer, heads 0-2",
    "every layer, head 3",
  ]);
  expect(labels("model.attention.layers.1.full=true")).toEqual(["layer 0", "layer 1", "layers 2-3"]);
});
