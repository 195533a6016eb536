/** @file How node runs a script of this package in a process of its own. */
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * Node's arguments for the script beside a module: compiled as it is, from the sources read by tsx.
 * @param module `import.meta.url` of the module
 * @param name without its ending
 */
export function ownScript(module: string, name: string): string[] {
  const ending = module.endsWith(".ts") ? ".ts" : ".js";
  const script = fileURLToPath(new URL(name + ending, module));
  const tsx = () => pathToFileURL(createRequire(module).resolve("tsx")).href;
  return [...(ending === ".ts" ? ["--import", tsx()] : []), script];
}
