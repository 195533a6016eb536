import { expect, it } from "vitest";
import { keepFreedMemory } from "./heap.js";

const isGlibc =
  process.platform === "linux" &&
  "glibcVersionRuntime" in (process.report.getReport() as { header: object }).header;

it("leaves the heap as the environment wants it", async () => {
  for (const name of ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
    expect(await keepFreedMemory({ [name]: "1" })).toBe(false);
});

it("tells glibc, and no other C library, to keep what is freed", async () => {
  expect(await keepFreedMemory({})).toBe(isGlibc);
  expect(await keepFreedMemory({})).toBe(isGlibc);
});
