import { expect, it } from "vitest";
import type { GraphModule } from "../graph/index.js";
import type { Executable } from "../runtime/index.js";
import { idlePrograms, ProgramCache } from "./program-cache.js";

it("programs are compiled once, and the longest unused ones make way", async () => {
  const compiled: string[] = [];
  const disposed: string[] = [];
  const compile = async ({ name }: GraphModule): Promise<Executable> => {
    if (name === "broken") throw new Error("does not compile");
    compiled.push(name);
    const dispose = async () => void disposed.push(name);
    return {
      program: { name, inputs: [], parameters: [], outputs: [], gradients: [], packs: null, nodeCount: 0 },
      run: async () => ({}),
      dispose,
    };
  };
  const cache = new ProgramCache(compile, 2);
  const use = (name: string) => cache.use(name, () => ({ name, outputs: {} }));

  const a = await use("a");
  const [b, again] = await Promise.all([use("b"), use("a")]);
  expect(compiled).toEqual(["a", "b"]);
  expect(again.executable).toBe(a.executable);
  await b.release();
  for (const name of ["c", "d", "b"]) await (await use(name)).release();
  // "a" is in use; of the others, "b" was used longest ago, then "c".
  expect(disposed).toEqual(["b", "c"]);
  await a.release();
  await a.release(); // a second time changes nothing: `again` still holds it
  expect(disposed).toEqual(["b", "c"]);
  await again.release();
  expect(disposed).toEqual(["b", "c", "a"]);

  await expect(use("broken")).rejects.toThrow("does not compile");
  await cache.dispose();
  expect(disposed).toEqual(["b", "c", "a", "d", "b"]);
});

it("programs with weights in them are kept as long as they are small, and two in any case", () => {
  expect([0, 2 ** 20, 2 ** 27, 2 ** 28, 2 ** 31].map(idlePrograms)).toEqual([8, 8, 4, 2, 2]);
});
