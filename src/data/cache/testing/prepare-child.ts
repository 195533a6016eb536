/** @file For tests that kill it: `tsx prepare-child.ts OPTIONS.json` prepares a cache and prints a line whenever it has got further. */
import { readFileSync } from "node:fs";
import { type PrepareOptions, prepareCache } from "../prepare.js";

const options = JSON.parse(readFileSync(process.argv[2], "utf8")) as PrepareOptions;
process.stdout.write("begun\n");
await prepareCache({
  ...options,
  onProgress: ({ what, tokens }) => process.stdout.write(`${what} ${tokens}\n`),
});
process.stdout.write("done\n");
