/**
 * @file Runs encode-worker.ts from its source (tests, development); see the worker of the runtime. Not part of the build.
 */
import { register } from "tsx/esm/api";

register();
await import("./encode-worker.ts");
