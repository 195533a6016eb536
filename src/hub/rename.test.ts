import { readdirSync, writeFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { renamePatiently } from "./rename.js";
import { temporaryFolder } from "./testing/temporary-folder.js";

/** A system on which renaming fails so often; how often it was asked. */
function failing(code: string, times: number) {
  const asked = { times: 0 };
  const move: typeof rename = async (from, to) => {
    if (asked.times++ < times) throw Object.assign(new Error(code), { code });
    await rename(from, to);
  };
  return { asked, move };
}

it.each(["EPERM", "EACCES", "EBUSY"])(
  "waits on Windows for a file that is open elsewhere (%s)",
  async (code) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "a"), "");
    const { asked, move } = failing(code, 3);
    await renamePatiently(join(folder, "a"), join(folder, "b"), { platform: "win32", move });
    expect(asked.times).toBe(4);
    expect(readdirSync(folder)).toEqual(["b"]);
  },
);

it("does not wait for ever, nor for anything else, nor on other systems", async () => {
  const attempts = async (platform: NodeJS.Platform, code: string) => {
    const { asked, move } = failing(code, Number.POSITIVE_INFINITY);
    await expect(renamePatiently("a", "b", { platform, move })).rejects.toThrow(code);
    return asked.times;
  };
  expect(await attempts("win32", "EPERM")).toBe(8);
  expect(await attempts("win32", "ENOSPC")).toBe(1);
  expect(await attempts("linux", "EPERM")).toBe(1);
});
