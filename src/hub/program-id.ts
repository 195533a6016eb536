/** @file Which code is at work: what a result that is kept says of where it comes from. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Plain JSON. */
export interface ProgramId {
  /** Of the checkout this program runs from, "+" and a checksum of the differences where files (texts aside) differ from it; null: not a checkout. */
  readonly commit: string | null;
  /** Checksum of the program and of the peer: commits that change neither leave it as it is. */
  readonly code: string;
}

let own: ProgramId | undefined;

/** Of the program as its files were when this process first asked: what is changed meanwhile is not what runs. */
export function programId(): ProgramId {
  own ??= { commit: commit(), code: codeSum() };
  return own;
}

/** "commit 95d917a (code 0123456789ab)". */
export const formatProgramId = ({ commit, code }: ProgramId): string =>
  commit === null ? `code ${code}` : `commit ${commit} (code ${code})`;

/** The same of several, each once; undefined: not known. */
export const formatProgramIds = (ids: readonly (ProgramId | undefined)[]): string =>
  [...new Set(ids.map((id) => (id ? formatProgramId(id) : "code that is not known")))].join(", ");

/** Files of src and of dist alike, but for tests and declarations. */
function codeSum(): string {
  const source = fileURLToPath(new URL("..", import.meta.url));
  const peers = fileURLToPath(new URL("../../bench/peers", import.meta.url));
  const sum = createHash("sha256");
  for (const folder of [source, ...(existsSync(peers) ? [peers] : [])])
    for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort())
      if (/\.(js|mjs|py|ts)$/.test(name) && !/\.(test|d)\.ts$|testing\//.test(name))
        sum.update(name).update(readFileSync(join(folder, name)));
  return sum.digest("hex").slice(0, 12);
}

function commit(): string | null {
  // Of src/hub and dist/hub alike.
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
