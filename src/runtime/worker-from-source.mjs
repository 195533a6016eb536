/**
 * @file Runs worker.ts from its source (tests, development). tsx must be registered inside the thread: before Node 22 its `--import`
 * flag has no effect on workers. Not part of the build, where worker.js is started directly.
 */
import { register } from "tsx/esm/api";

register();
await import("./worker.ts");
