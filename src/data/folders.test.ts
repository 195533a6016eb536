/** @file What is written where texts are read. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { refuseInside } from "./folders.js";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "folders-"));
  await mkdir(join(folder, "texts", "inner"), { recursive: true });
  await writeFile(join(folder, "file.txt"), "a text");
  await symlink(join(folder, "texts"), join(folder, "link"));
  await symlink(join(folder, "texts", "inner"), join(folder, "deep"));
});
afterAll(() => rm(folder, { recursive: true }));

it.each([
  ["a folder in it", "texts/run", "texts"],
  ["the folder itself", "texts", "texts"],
  ["through a link to the texts", "texts/run/new", "link"],
  ["through a link to the place", "link/run", "texts"],
  ["through a link to a folder in it", "deep/run", "texts"],
])("refuses %s", async (_, out, texts) => {
  await expect(refuseInside(join(folder, out), [join(folder, texts)])).rejects.toThrow(
    /whose files are read as texts: what is written there would be read too/,
  );
});

it.each([
  ["beside it", "run", "texts"],
  ["hidden in it", "texts/.runs/one", "texts"],
  ["beside a file", "run", "file.txt"],
])("takes a place %s", async (_, out, texts) => {
  await refuseInside(join(folder, out), [join(folder, texts)]);
});
