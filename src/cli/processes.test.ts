/** @file Processes side by side: no more than may be, an end for all when one fails or the caller has enough. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { UserError } from "../errors.js";
import { type Job, ownProgram, runJobs } from "./processes.js";

const node = (name: string, code: string): Job => ({ name, args: ["-e", code] });

describe("runJobs", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "moe-diffuseq-processes-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("runs all, so many at a time, and tells what they say", async () => {
    // Each waits for its partner: alone it would never end; and says how many are there with it.
    const pair = (name: string) => {
      const [one, both] = [join(folder, name), JSON.stringify([1, 2].map((i) => join(folder, `p${i}`)))];
      return node(
        name,
        `const fs = require("fs"); fs.writeFileSync(${JSON.stringify(one)}, "");
         console.error(${JSON.stringify(`${name} is here`)});
         const wait = () => ${both}.every((f) => fs.existsSync(f)) ? process.exit(0) : setTimeout(wait, 10); wait();`,
      );
    };
    const seen: number[] = [];
    const lines: string[] = [];
    const third = node("p3", `require("fs").writeFileSync(${JSON.stringify(join(folder, "p3"))}, "")`);
    await runJobs([pair("p1"), pair("p2"), third], 2, {
      onProgress: (now, done) => {
        expect(now.length).toBeLessThanOrEqual(2);
        lines.push(...now);
        seen.push(done);
      },
    });
    expect(await readdir(folder)).toEqual(["p1", "p2", "p3"]);
    expect(lines).toEqual(expect.arrayContaining(["p1 is here", "p2 is here"]));
    expect(seen.at(-1)).toBe(3);
  });

  it("starts no more when one fails, lets the others finish, and says what it said", async () => {
    const file = (name: string) => JSON.stringify(join(folder, name));
    // Ends half a second after the broken one is gone, however slowly that started.
    const slow = node(
      "slow",
      `const fs = require("fs");
       const gone = () => {
         try { process.kill(Number(fs.readFileSync(${file("broken")}, "utf8")), 0); }
         catch (error) { return error.code === "ESRCH"; }
       };
       const end = () => fs.writeFileSync(${file("slow")}, "");
       const wait = () => (gone() ? setTimeout(end, 500) : setTimeout(wait, 10));
       wait();`,
    );
    const broken = node(
      "broken",
      `require("fs").writeFileSync(${file("broken")}, String(process.pid)); console.error("no such thing"); process.exit(1)`,
    );
    const never = node("never", `require("fs").writeFileSync(${file("never")}, "")`);
    const failure = runJobs([slow, broken, never], 2);
    await expect(failure).rejects.toThrow(UserError);
    await expect(failure).rejects.toThrow(/^broken: its process ended \(1\)\.\nno such thing$/);
    expect(await readdir(folder)).toContain("slow");
    expect(await readdir(folder)).not.toContain("never");
  });

  it("ends all when the caller has enough", async () => {
    const endless = node("endless", 'console.error("here"); setInterval(() => {}, 1000)');
    const controller = new AbortController();
    const reason = new Error("enough");
    const run = runJobs([endless, endless], 2, {
      signal: controller.signal,
      onProgress: (lines) => {
        if (lines.every((line) => line === "here")) controller.abort(reason);
      },
    });
    await expect(run).rejects.toBe(reason);
  });

  it("starts this program itself, from its sources too", async () => {
    vi.stubEnv("MOE_DIFFUSEQ_COMPILED", "");
    await runJobs([{ name: "version", args: ownProgram(["--version"]) }], 1);
    vi.unstubAllEnvs();
    const wrong = runJobs([{ name: "poem", args: ownProgram(["evaluate", "--suite", "poem"]) }], 1);
    await expect(wrong).rejects.toThrow(/There is no suite "poem"/);
  });
});
