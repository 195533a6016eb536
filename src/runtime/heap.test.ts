import { expect, it } from "vitest";
import { environmentKeepingMemory, keepFreedMemory } from "./heap.js";

const isGlibc =
  process.platform === "linux" &&
  "glibcVersionRuntime" in (process.report.getReport() as { header: object }).header;

it("leaves the heap as the environment wants it", async () => {
  for (const name of ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"]) {
    expect(await keepFreedMemory({ [name]: "1" })).toBe(false);
    expect(environmentKeepingMemory({ [name]: "1" })).toEqual({ [name]: "1" });
  }
});

it("starts a process with the same, and with all that was there", () => {
  expect(environmentKeepingMemory({ PATH: "/bin" })).toEqual({
    PATH: "/bin",
    MALLOC_TRIM_THRESHOLD_: "2147483647",
    MALLOC_TOP_PAD_: "67108864",
    MALLOC_MMAP_MAX_: "0",
  });
});

it("tells glibc, and no other C library, to keep what is freed", async () => {
  expect(await keepFreedMemory({})).toBe(isGlibc);
  expect(await keepFreedMemory({})).toBe(isGlibc);
});
