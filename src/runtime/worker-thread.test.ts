import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { input, mul } from "../graph/index.js";
import { OnnxDevice } from "./onnx-device.js";
import { float32 } from "./testing/devices.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

/** Uses a cpu device and does not dispose it; prints 6 7. */
const script = (base: string, extension: string) => `
  const { createDevice } = await import("${base}/runtime/index.${extension}");
  const { input, add } = await import("${base}/graph/index.${extension}");
  const device = await createDevice("cpu", { threads: 2 });
  const x = input("x", "float32", [2]);
  const program = await device.compile({ name: "twice", outputs: { y: add(x, x) } });
  const { y } = await program.run({ x: { dtype: "float32", shape: [2], data: Float32Array.of(3, 3.5) } });
  console.log(...y.data);
`;

it("a worker that fails rejects the calls that wait, and all later ones", async () => {
  const device = await OnnxDevice.create("cpu", { threads: 1 });
  const program = await device.compile({ name: "twice", outputs: { y: mul(input("x", "float32", [1]), 2) } });
  const waiting = [0, 1].map(() => program.run({ x: float32([1], [1]) }));
  const outcomes = Promise.allSettled(waiting);
  await device.thread.end();
  for (const outcome of await outcomes)
    if (outcome.status === "rejected")
      expect(String(outcome.reason)).toContain("the worker thread of the device ended");
  await expect(program.run({ x: float32([1], [1]) })).rejects.toThrow(
    "the worker thread of the device ended",
  );
  await device.dispose();
});

it("an error of ONNX Runtime names the program", async () => {
  const device = await OnnxDevice.create("cpu", { threads: 1 });
  const onnx = { inputs: [], parameters: [], outputs: [], gradients: [], packs: null, nodeCount: 0 };
  await expect(device.load({ ...onnx, name: "broken", bytes: Uint8Array.of(1, 2, 3) })).rejects.toThrow(
    'program "broken": ONNX Runtime could not load it: ',
  );
  await device.dispose();
});

it("a device left undisposed does not keep a process from ending, run from its sources", async () => {
  const code = script(join(root, "src"), "ts");
  const { stdout } = await run("node", ["--import", "tsx", "--input-type=module", "--eval", code], {
    cwd: root,
  });
  expect(stdout.trim()).toBe("6 7");
});

it("a process may end in the middle of a run", async () => {
  const code = `
    const { createDevice } = await import("${join(root, "src")}/runtime/index.ts");
    const { input, matmul } = await import("${join(root, "src")}/graph/index.ts");
    const device = await createDevice("cpu", { threads: 1 });
    const x = input("x", "float32", [1024, 1024]);
    let y = x;
    for (let i = 0; i < 10; i++) y = matmul(y, x);
    const program = await device.compile({ name: "long", outputs: { y } });
    program.run({ x: { dtype: "float32", shape: [1024, 1024], data: new Float32Array(2 ** 20) } });
    setTimeout(() => process.exit(3), 30);
  `;
  await expect(
    run("node", ["--import", "tsx", "--input-type=module", "--eval", code], { cwd: root }),
  ).rejects.toMatchObject({ code: 3 }); // and not ended by a signal: ONNX Runtime would abort
});

it("works once built, in a process started with flags of its own", async () => {
  const directory = await mkdtemp(join(tmpdir(), "runtime-"));
  try {
    await symlink(join(root, "node_modules"), join(directory, "node_modules"));
    await writeFile(join(directory, "package.json"), '{ "type": "module" }');
    const settings = {
      extends: join(root, "tsconfig.build.json"),
      compilerOptions: {
        rootDir: join(root, "src"),
        outDir: join(directory, "dist"),
        typeRoots: [join(root, "node_modules/@types")],
      },
      include: ["runtime/index.ts", "runtime/worker.ts", "runtime/*.d.ts"].map((file) =>
        join(root, "src", file),
      ),
    };
    await writeFile(join(directory, "tsconfig.json"), JSON.stringify(settings));
    await run("node", [join(root, "node_modules/typescript/bin/tsc"), "-p", directory]);
    const code = script(join(directory, "dist"), "js");
    const { stdout } = await run("node", ["--input-type=module", "--eval", code], { cwd: directory });
    expect(stdout.trim()).toBe("6 7");
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
