/**
 * @file Runs worker.ts from its source (development), or as test/compiled-sources.ts has compiled it (tests). tsx must be registered inside
 * the thread: before Node 22 its `--import` flag has no effect on workers. Not part of the build, where worker.js is started directly.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const compiled = process.env.MOE_DIFFUSEQ_COMPILED;
if (compiled) await import(pathToFileURL(join(compiled, "runtime/worker.js")).href);
else {
  const { register } = await import("tsx/esm/api");
  register();
  await import("./worker.ts");
}
