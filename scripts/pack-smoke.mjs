/**
 * @file Packs the package, installs it into an empty project, and uses it there as a stranger would: the command line, every
 * sub-path export, the types. Also holds the tarball to its size limit and to publint.
 *
 *   node scripts/pack-smoke.mjs
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const MAX_TARBALL_BYTES = 3_000_000;
const work = mkdtempSync(join(tmpdir(), "pack-smoke-"));
const cache = join(work, "cache");

/** Runs a command and returns its standard output; its standard error is shown. */
function run(cwd, command, ...args) {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    // Without it ONNX Runtime's install script fetches CUDA files from another host than the registry.
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip", XDG_CACHE_HOME: cache },
  });
}

function check(condition, message) {
  if (!condition) throw new Error(message);
  console.log(`ok  ${message}`);
}

try {
  const [packed] = JSON.parse(
    run(root, "npm", "pack", "--json", "--silent", "--pack-destination", work).match(/^\[[\s\S]*/m)[0],
  );
  const tarball = join(work, packed.filename);
  const { size } = statSync(tarball);
  check(size < MAX_TARBALL_BYTES, `tarball of ${size} bytes, at most ${MAX_TARBALL_BYTES}`);
  const stray = packed.files.filter(({ path }) => /\.test\.|\/testing\//.test(path));
  check(stray.length === 0, `no tests in the tarball ${stray.map(({ path }) => path).join(" ")}`);
  run(root, "npx", "publint", "--strict", tarball);
  check(true, "publint is content");

  const project = join(work, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), '{ "name": "stranger", "private": true, "type": "module" }\n');
  run(project, "npm", "install", "--no-audit", "--no-fund", "--prefer-offline", tarball);

  const { name, version, exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const printed = run(project, "npx", "--no-install", name, "--version").trim();
  check(printed === version, `${name} --version prints ${version}`);
  const config = JSON.parse(
    run(project, "npx", "--no-install", name, "config", "--preset", "masked", "--json"),
  );
  check(config.diffusion.gaussian === false, "config --json prints one JSON object");

  const texts = Array.from(
    { length: 40 },
    (_, i) => `Text ${i}: ${i * 7} apples, ${i * i} pears and plum${i}s for number ${i}.`,
  );
  writeFileSync(join(project, "texts.jsonl"), texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  const small = ["vocabSize=280", "hiddenSize=16", "numLayers=1", "embeddingSize=8"].flatMap((s) => [
    "--set",
    `model.${s}`,
  ]);
  const cli = (...args) => JSON.parse(run(project, "npx", "--no-install", name, ...args, "--json"));
  const trained = cli("train", "--data", "texts.jsonl", "--out", "run", "--max-steps", "2", ...small);
  check(trained.steps === 2, "train, in a worker thread of the installed package");
  check(!existsSync(cache), "nothing is written of who runs what");
  const written = cli("generate", "--model", "run", "--prompt", "Text", "--length", "20", "--steps", "3");
  check(written.texts[0].text.startsWith("Text"), "generate continues its prompt");
  check(cli("inspect", "--model", "run", "--picture", "run/attention.svg").parameters.total > 0, "inspect");

  const paths = Object.keys(exports).filter((path) => !path.endsWith(".json"));
  const imports = paths.map((path) => `await import("${name}${path.slice(1)}");`).join("\n");
  writeFileSync(join(project, "imports.mjs"), imports);
  run(project, process.execPath, "imports.mjs");
  check(true, `imports of ${paths.join(" ")}`);

  writeFileSync(
    join(project, "use.ts"),
    [
      ...paths.map((path, index) => `import * as room${index} from "${name}${path.slice(1)}";`),
      `import { resolveConfig, type RunConfig } from "${name}";`,
      'const config: RunConfig = resolveConfig({ preset: "masked", sets: ["model.numLayers=2"] });',
      "const layers: number = config.model.numLayers;",
      "// @ts-expect-error the types are no any",
      "const wrong: string = config.model.numLayers;",
      `console.log(layers, wrong, ${paths.map((_, index) => `room${index}`).join(", ")});`,
    ].join("\n"),
  );
  // The program of the README, in a project as `tsc --init` makes it.
  const [, snippet] = readFileSync(join(root, "README.md"), "utf8").match(/```ts\n([\s\S]*?)```/);
  writeFileSync(join(project, "readme.ts"), `${snippet}console.log(text);\n`);
  for (const example of readdirSync(join(root, "examples")))
    writeFileSync(join(project, example), readFileSync(join(root, "examples", example), "utf8"));
  const compiler = join(root, "node_modules", ".bin", "tsc");
  const types = ["--typeRoots", join(root, "node_modules", "@types"), "--types", "node"];
  run(
    project,
    compiler,
    "--noEmit",
    "--strict",
    "--module",
    "nodenext",
    "--target",
    "es2023",
    "--noUncheckedIndexedAccess",
    "--exactOptionalPropertyTypes",
    ...types,
    ...["use.ts", "readme.ts", ...readdirSync(join(root, "examples"))],
  );
  check(true, "the typed API, the program of the README and the examples compile");
} finally {
  rmSync(work, { recursive: true, force: true });
}
