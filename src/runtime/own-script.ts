/** @file How node runs a script of this package in a process of its own. */
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const sources = fileURLToPath(new URL("..", import.meta.url));

/**
 * Node's arguments for the script beside a module: compiled as it is, from the sources read by tsx. In tests sources are compiled, too
 * (test/compiled-sources.ts).
 * @param module `import.meta.url` of the module
 * @param name without its ending
 */
export function ownScript(module: string, name: string): string[] {
  const ending = module.endsWith(".ts") ? ".ts" : ".js";
  const script = fileURLToPath(new URL(name + ending, module));
  if (ending === ".js") return [script];
  const compiled = process.env.MOE_DIFFUSEQ_COMPILED;
  if (compiled) return [join(compiled, relative(sources, script)).replace(/\.ts$/, ".js")];
  return ["--import", pathToFileURL(createRequire(module).resolve("tsx")).href, script];
}
