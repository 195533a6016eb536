import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { input, mul } from "../graph/index.js";
import { OnnxDevice } from "./onnx-device.js";
import { float32 } from "./testing/devices.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const compiled = process.env.MOE_DIFFUSEQ_COMPILED as string;

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

it("a worker that ends rejects the calls that wait, and all later ones", async () => {
  const device = await OnnxDevice.create("cpu", { threads: 1 });
  const program = await device.compile({ name: "twice", outputs: { y: mul(input("x", "float32", [1]), 2) } });
  const ended = "the worker thread of the device ended";
  const forEver = () => device.thread.call(() => new Promise<never>(() => {}));
  const waiting = [forEver(), forEver()].map((call) => expect(call).rejects.toThrow(ended));
  await device.thread.end();
  await Promise.all(waiting);
  await expect(program.run({ x: float32([1], [1]) })).rejects.toThrow(ended);
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
    env: { ...process.env, MOE_DIFFUSEQ_COMPILED: "" },
  });
  expect(stdout.trim()).toBe("6 7");
});

it("a process may end in the middle of a run", async () => {
  const code = `
    const { createDevice } = await import("${compiled}/runtime/index.js");
    const { input, matmul } = await import("${compiled}/graph/index.js");
    const device = await createDevice("cpu", { threads: 1 });
    const x = input("x", "float32", [1024, 1024]);
    let y = x;
    for (let i = 0; i < 10; i++) y = matmul(y, x);
    const program = await device.compile({ name: "long", outputs: { y } });
    program.run({ x: { dtype: "float32", shape: [1024, 1024], data: new Float32Array(2 ** 20) } });
    setTimeout(() => process.exit(3), 30);
  `;
  await expect(run("node", ["--input-type=module", "--eval", code])).rejects.toMatchObject({ code: 3 }); // and not ended by a signal: ONNX Runtime would abort
});

it("works once built, in a process started with flags of its own", async () => {
  const { stdout } = await run("node", ["--input-type=module", "--eval", script(compiled, "js")]);
  expect(stdout.trim()).toBe("6 7");
});
