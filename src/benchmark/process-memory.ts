/** @file How much memory this process takes: lines of the system's own account, as the peers read it too. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** A line of the process's status (Linux), in bytes. */
function statusBytes(name: "VmHWM" | "VmRSS"): number | undefined {
  const status = existsSync("/proc/self/status") ? readFileSync("/proc/self/status", "utf8") : "";
  const found = new RegExp(`${name}:\\s+(\\d+) kB`).exec(status);
  return found ? 1024 * Number(found[1]) : undefined;
}

/** Highest resident size so far. */
export const peakBytes = (): number => statusBytes("VmHWM") ?? 1024 * process.resourceUsage().maxRSS;

/** Counts the peak from here on; returns the resident size now. Linux. */
export function restartPeak(): number {
  writeFileSync("/proc/self/clear_refs", "5");
  return statusBytes("VmRSS")!;
}
