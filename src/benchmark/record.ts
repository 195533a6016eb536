/** @file Under what conditions something was measured: machine, load, versions, commit. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, cpus, loadavg } from "node:os";
import { dirname, join } from "node:path";
import { formatProgramId, type ProgramId, programId } from "../hub/program-id.js";
import { wholeMemory } from "../runtime/free-memory.js";
import { memoryVariables } from "../runtime/heap.js";
import { version } from "../version.js";

/** Plain JSON. */
export interface RunRecord extends ProgramId {
  /** ISO 8601. */
  readonly date: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly cpu: string;
  /** Processors this process may use. */
  readonly processors: number;
  readonly threads: number;
  readonly memoryBytes: number;
  /** What the environment says of the allocator, by variable: another one is another speed. */
  readonly allocator: Readonly<Record<string, string>>;
  /** Mean number of running processes over the last minute, at the start and (see `endRecord`) the end, of each measurement. */
  readonly load: readonly number[];
}

export function startRecord(threads: number, versions: Readonly<Record<string, string>> = {}): RunRecord {
  return {
    date: new Date().toISOString(),
    versions: {
      "moe-diffuseq": version,
      node: process.versions.node,
      "onnxruntime-node": runtimeVersion(),
      ...versions,
    },
    cpu: cpus()[0]?.model ?? "unknown",
    processors: availableParallelism(),
    threads,
    memoryBytes: wholeMemory(),
    allocator: memoryVariables(process.env),
    ...programId(),
    load: [loadavg()[0]],
  };
}

/** The record with the load as it is now. */
export const endRecord = (record: RunRecord): RunRecord => ({
  ...record,
  load: [...record.load, loadavg()[0]],
});

/** What must be the same for two measurements to stand for each other: the record without its time, its load and its commit. */
export const conditionsOf = ({
  date: _,
  load: __,
  commit: ___,
  ...conditions
}: RunRecord): Omit<RunRecord, "date" | "load" | "commit"> => conditions;

/** One record for several measurements under the same conditions: begun with the first, the load that of all. */
export const joinRecords = (records: readonly RunRecord[]): RunRecord => {
  const inOrder = [...records].sort((a, b) => a.date.localeCompare(b.date));
  return { ...inOrder[0], load: inOrder.flatMap(({ load }) => load) };
};

export function formatRecord(record: RunRecord): string {
  const { cpu, threads, processors, versions, allocator, load, date } = record;
  const list = Object.entries(versions)
    .map(([name, one]) => `${name} ${one}`)
    .join(", ");
  const variables = Object.entries(allocator)
    .map(([name, value]) => `${name}=${value}; `)
    .join("");
  return (
    `${date.slice(0, 10)}, ${cpu}, ${threads} of ${processors} threads, load ${Math.min(...load).toFixed(1)} to ${Math.max(...load).toFixed(1)}; ` +
    `${list}; ${variables}${formatProgramId(record)}`
  );
}

function runtimeVersion(): string {
  const main = createRequire(import.meta.url).resolve("onnxruntime-node");
  // The package does not export its package.json: look for it above its main file.
  for (let folder = dirname(main); folder !== dirname(folder); folder = dirname(folder)) {
    try {
      const found = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
        name?: string;
        version?: string;
      };
      if (found.name === "onnxruntime-node" && found.version) return found.version;
    } catch {
      // No package.json in this folder.
    }
  }
  return "unknown";
}
