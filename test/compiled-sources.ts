/**
 * @file Before all tests: the sources are compiled once, for the threads and processes that tests start. Read by tsx, each of them would
 * compile them again.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

const root = fileURLToPath(new URL("..", import.meta.url));

export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), "moe-diffuseq-compiled-"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  copyFileSync(join(root, "package.json"), join(folder, "package.json"));
  const source = join(root, "src");
  const settings = {
    extends: join(root, "tsconfig.build.json"),
    compilerOptions: {
      declaration: false,
      noCheck: true, // `npm run check` does
      rootDir: source,
      outDir: join(folder, "dist"),
      typeRoots: [join(root, "node_modules/@types")],
    },
    include: [source],
    exclude: [join(source, "**/*.test.ts"), join(source, "**/assembly")],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(settings));
  const compile = () => {
    execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder]);
  };
  compile();
  project.onTestsRerun(compile);
  process.env.MOE_DIFFUSEQ_COMPILED = join(folder, "dist");
  return () => rmSync(folder, { recursive: true });
}
