/**
 * @file Compiles the AssemblyScript kernels and writes each module, in base64, as a TypeScript file beside its users, so that the
 * same import works in Node, in tests and in bundlers.
 *
 *   node scripts/build-wasm.mjs           writes the files
 *   node scripts/build-wasm.mjs --check   fails when a committed file is not what its sources give
 */
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const modules = [
  { entry: "src/random/assembly/philox.ts", output: "src/random/kernels.generated.ts" },
  { entry: "src/runtime/kernels/assembly/index.ts", output: "src/runtime/kernels/kernels.generated.ts" },
];
const flags = [
  ["--runtime", "stub"],
  ["--enable", "simd"],
  "--importMemory",
  "--noExportMemory",
  ["--initialMemory", "1"],
  ["--optimizeLevel", "3"],
  ["--shrinkLevel", "0"],
  "--converge",
  "--noAssert",
].flat();

/** Base64 of the compiled module. */
async function compile(entry) {
  let binary;
  const { error, stderr } = await asc.main([entry, "--baseDir", root, "--outFile", "module.wasm", ...flags], {
    readFile: (name, base) => readFile(join(base, name), "utf8").catch(() => null),
    writeFile: (_name, contents) => {
      binary = contents;
    },
  });
  if (error) throw new Error(`${entry}: ${error.message}\n${stderr}`);
  return Buffer.from(binary).toString("base64");
}

const check = process.argv.includes("--check");
for (const { entry, output } of modules) {
  const base64 = await compile(entry);
  const lines = base64.match(/.{1,120}/g).map((line) => `  "${line}"`);
  const text = `/** @file The module of ${entry}, compiled by \`npm run build:wasm\`. Do not edit. */\nexport default (\n${lines.join(" +\n")}\n);\n`;
  const path = join(root, output);
  const bytes = (base64.length * 3) / 4;
  if (!check) {
    await writeFile(path, text);
    console.log(`${output}: ${Math.round(bytes)} bytes`);
  } else if ((await readFile(path, "utf8").catch(() => "")) !== text) {
    console.error(`${output} does not match ${entry}: run npm run build:wasm and commit the result`);
    process.exitCode = 1;
  }
}
