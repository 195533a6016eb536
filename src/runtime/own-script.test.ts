import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it, vi } from "vitest";
import { ownScript } from "./own-script.js";

afterEach(() => vi.unstubAllEnvs());

it("runs a script as its module runs: compiled, or read by tsx", () => {
  vi.stubEnv("MOE_DIFFUSEQ_COMPILED", "");
  const source = fileURLToPath(new URL("worker.ts", import.meta.url));
  expect(ownScript(import.meta.url, "worker")).toEqual([
    "--import",
    expect.stringMatching(/^file:.*tsx/),
    source,
  ]);
  expect(ownScript("file:///dist/runtime/device.js", "../cli/main")).toEqual(["/dist/cli/main.js"]);
});

it("runs it compiled in tests", () => {
  const [script, ...more] = ownScript(import.meta.url, "../cli/main");
  expect(script).toMatch(/dist\/cli\/main\.js$/);
  expect([existsSync(script), more]).toEqual([true, []]);
});
