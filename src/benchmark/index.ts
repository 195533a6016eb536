/** @file Benchmarks: speed, memory and parity of twins and of PyTorch, and what the machine itself can do. */
export {
  type BenchOptions,
  type BenchRatio,
  type BenchReport,
  type BenchRow,
  type BenchTask,
  benchTasks,
  runBench,
} from "./bench.js";
export {
  type Claim,
  type ClaimCommands,
  type ClaimsOptions,
  type ClaimsReport,
  claimsOf,
  leftOutOf,
  runClaims,
} from "./claims.js";
export { claimsLines, claimsMarkdown, claimsPage } from "./claims-format.js";
export { formatBench } from "./format.js";
export { findPeer, type PeerPython, type PeerVariant, peerVariants, requirePeer } from "./peers.js";
export { endRecord, formatRecord, type RunRecord, startRecord } from "./record.js";
