/**
 * @file A step's starting weights and batch as files that any language reads: `step.json` says what stands where in `step.bin`
 * (little-endian, no padding but to 8 bytes).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TensorData } from "../graph/index.js";
import type { Workload } from "./workload.js";

/** Writes `step.json` and `step.bin` into a folder. `levels`: noise levels for a peer that samples. */
export function writeDump(
  folder: string,
  { config, definitions, values, feeds, optimiser }: Workload,
  levels?: Readonly<Record<string, readonly number[]>>,
): void {
  const chunks: Uint8Array[] = [];
  let offset = 0;
  const place = (data: TensorData["data"]): number => {
    const start = offset;
    const size = Math.ceil(data.byteLength / 8) * 8;
    const chunk = new Uint8Array(size);
    chunk.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    chunks.push(chunk);
    offset += size;
    return start;
  };
  const description = {
    model: config.model,
    diffusion: config.diffusion,
    optimiser,
    levels,
    parameters: definitions.map(({ name, shape, trainable }) => ({
      name,
      shape,
      trainable,
      offset: place(values[name]),
    })),
    feeds: Object.entries(feeds).map(([name, { dtype, shape, data }]) => ({
      name,
      dtype,
      shape,
      offset: place(data),
    })),
  };
  writeFileSync(join(folder, "step.bin"), Buffer.concat(chunks));
  writeFileSync(join(folder, "step.json"), JSON.stringify(description));
}

/** Float32 arrays that a peer wrote one after the other: those of the trainable parameters, in their order. */
export function readGradients(
  path: string,
  definitions: Workload["definitions"],
): Record<string, Float32Array> {
  const bytes = readFileSync(path);
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  let start = 0;
  const gradients: Record<string, Float32Array> = {};
  for (const { name, shape, trainable } of definitions) {
    if (!trainable) continue;
    const size = shape.reduce((a, b) => a * b, 1);
    gradients[name] = all.subarray(start, start + size);
    start += size;
  }
  if (start !== all.length) throw new Error(`${path}: expected ${start} gradient values, got ${all.length}`);
  return gradients;
}
