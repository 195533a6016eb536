/** @file Under what conditions something was measured: machine, load, versions, commit. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { version } from "../version.js";

/** Plain JSON. */
export interface RunRecord {
  /** ISO 8601. */
  readonly date: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly cpu: string;
  /** Processors this process may use. */
  readonly processors: number;
  readonly threads: number;
  readonly memoryBytes: number;
  /** Of the checkout this program runs from, "+" and a checksum of the differences where files (texts aside) differ from it; null: not a checkout. */
  readonly commit: string | null;
  /** Checksum of the program and of the peer: commits that change neither leave it as it is. */
  readonly code: string;
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
    memoryBytes: totalmem(),
    commit: commit(),
    code: codeSum(),
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

export function formatRecord({ cpu, threads, processors, versions, commit, load, date }: RunRecord): string {
  const list = Object.entries(versions)
    .map(([name, one]) => `${name} ${one}`)
    .join(", ");
  return (
    `${date.slice(0, 10)}, ${cpu}, ${threads} of ${processors} threads, load ${Math.min(...load).toFixed(1)} to ${Math.max(...load).toFixed(1)}; ` +
    `${list}${commit ? `; commit ${commit}` : ""}`
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

/** Files of src and of dist alike, but for tests and declarations. */
function codeSum(): string {
  const own = fileURLToPath(new URL("..", import.meta.url));
  const peers = fileURLToPath(new URL("../../bench/peers", import.meta.url));
  const sum = createHash("sha256");
  for (const folder of [own, ...(existsSync(peers) ? [peers] : [])])
    for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort())
      if (/\.(js|mjs|py|ts)$/.test(name) && !/\.(test|d)\.ts$|testing\//.test(name))
        sum.update(name).update(readFileSync(join(folder, name)));
  return sum.digest("hex").slice(0, 12);
}

function commit(): string | null {
  // Of src/benchmark and dist/benchmark alike.
  const folder = fileURLToPath(new URL("../..", import.meta.url));
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", folder, ...args], {
      encoding: "utf8",
      maxBuffer: 1 << 28,
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  try {
    // Installed below a foreign repository, its commit would say nothing.
    if (git("ls-files", "--error-unmatch", "package.json") === "") return null;
    const changes = git("diff", "HEAD", "--", ":/", ":(top,exclude)*.md");
    const sum = changes === "" ? "" : `+${createHash("sha256").update(changes).digest("hex").slice(0, 7)}`;
    return `${git("rev-parse", "--short", "HEAD")}${sum}`;
  } catch {
    return null;
  }
}
