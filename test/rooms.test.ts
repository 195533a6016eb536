/** @file The rules of the house, held against the sources: which room may import which, and what a file looks like. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const source = resolve("src");

/** What models that are trained and sampled from are made of. */
const measured = [
  "config",
  "graph",
  "random",
  "metrics",
  "data",
  "runtime",
  "model",
  "diffusion",
  "hub",
  "sampling",
  "training",
];
/** What each room may import besides itself, `errors.ts` and `version.ts`. Dependencies point one way: no entry names a later one. */
const rooms: Record<string, readonly string[]> = {
  graph: [],
  random: [],
  metrics: [],
  report: [],
  config: [],
  distributed: [],
  hub: ["config"],
  data: ["config", "random", "hub"],
  runtime: ["config", "graph", "random", "distributed"],
  model: ["config", "graph", "random"],
  diffusion: ["config", "graph", "random", "data", "model"],
  sampling: ["config", "graph", "random", "metrics", "data", "runtime", "model", "diffusion", "hub"],
  training: ["config", "graph", "random", "distributed", "data", "runtime", "model", "diffusion", "hub"],
  evaluation: measured,
  benchmark: [...measured, "evaluation", "report"],
};
/** Over all rooms: they use what the rooms export and nothing in them may import these. */
const above = ["cli", "index.ts"];
/** Rooms that run in a browser as they stand. */
const portable = ["graph", "random", "metrics", "report", "model", "diffusion"];

const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !name.includes("assembly/"))
  .sort();
const roomOf = (file: string) => file.split("/")[0];
const isTest = (file: string) => file.endsWith(".test.ts") || file.includes("testing/");

function importsOf(file: string): string[] {
  const text = readFileSync(join(source, file), "utf8");
  const pattern =
    /^(?:import|export)\s[^;'"]*from\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/gm;
  return [...text.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? match[3]);
}

/** Imports of other files of ours, as paths under src. */
function ownImports(file: string): string[] {
  return importsOf(file)
    .filter((target) => target.startsWith("."))
    .map((target) => relative(source, resolve(source, dirname(file), target)).replace(/\.js$/, ".ts"));
}

describe("rooms", () => {
  it("are all in the table", () => {
    const known = [...Object.keys(rooms), ...above, "errors.ts", "version.ts"];
    expect(files.map(roomOf).filter((room) => !known.includes(room))).toEqual([]);
  });

  it("point one way", () => {
    const order = Object.keys(rooms);
    for (const [room, allowed] of Object.entries(rooms)) {
      expect(allowed.filter((other) => order.indexOf(other) >= order.indexOf(room))).toEqual([]);
    }
  });

  it("import only what they may", () => {
    const wrong = files
      .filter((file) => roomOf(file) in rooms && !isTest(file))
      .flatMap((file) => {
        const room = roomOf(file);
        const allowed = [room, "errors.ts", "version.ts", ...rooms[room]];
        return ownImports(file)
          .filter((target) => !allowed.includes(roomOf(target)))
          .map((target) => `${file} imports ${target}`);
      });
    expect(wrong).toEqual([]);
  });

  it("do not import tests", () => {
    const wrong = files
      .filter((file) => !isTest(file))
      .flatMap((file) =>
        ownImports(file)
          .filter(isTest)
          .map((target) => `${file} imports ${target}`),
      );
    expect(wrong).toEqual([]);
  });

  it("leave ONNX Runtime to the runtime, and Node out of what runs in browsers", () => {
    const wrong = files
      .filter((file) => !isTest(file))
      .flatMap((file) =>
        importsOf(file)
          .filter(
            (target) =>
              (target.startsWith("onnxruntime") && roomOf(file) !== "runtime") ||
              (target.startsWith("node:") && portable.includes(roomOf(file))),
          )
          .map((target) => `${file} imports ${target}`),
      );
    expect(wrong).toEqual([]);
  });
});

describe("files", () => {
  it("are under 400 lines and say first what they are", () => {
    const wrong = files.filter((file) => {
      const text = readFileSync(join(source, file), "utf8");
      const opens = /^(#!.*\n)?\/\*\*\s*(\*\s*)?@file /.test(text);
      return !file.endsWith(".generated.ts") && (text.split("\n").length > 401 || (!opens && !isTest(file)));
    });
    expect(wrong).toEqual([]);
  });
});
