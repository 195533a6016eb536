/** @file How much memory there is, and is free: within a container's limit, where Node.js knows it (from 20.13 on). */
import { freemem, totalmem } from "node:os";

/** Bytes. macOS does not count as free what it would give back, so there it is all memory. */
export const freeMemory = (): number =>
  process.platform === "darwin" ? totalmem() : (process.availableMemory?.() ?? freemem());

/** Bytes. */
export function wholeMemory(): number {
  // Without a limit: 0, or a number beyond all memory.
  const limit = process.constrainedMemory?.() ?? 0;
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
