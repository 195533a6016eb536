/**
 * @file Runs encode-worker.ts from its source (development) or compiled (tests); see the worker of the runtime. Not part of the build.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const compiled = process.env.MOE_DIFFUSEQ_COMPILED;
if (compiled) await import(pathToFileURL(join(compiled, "data/cache/encode-worker.js")).href);
else {
  const { register } = await import("tsx/esm/api");
  register();
  await import("./encode-worker.ts");
}
