/** @file The package `moe-diffuseq`: what most programs need. The rooms' own exports are its sub-paths. */
export * from "./config/index.js";
export { type ResolveOptions, resolveConfig } from "./config/resolve.js";
export { UserError } from "./errors.js";
export { version } from "./version.js";
