/** @file Numbers as people read them: 12.3k, 4.5M, 2m 05s, 1.2 GB. */

/** 950, 12.3k, 4.57M: three digits and a power of a thousand. */
export function formatCount(value: number): string {
  const units = ["", "k", "M", "G", "T", "P"];
  let unit = 0;
  let scaled = value;
  while (Math.abs(scaled) >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  const digits =
    unit === 0
      ? Number.isInteger(scaled)
        ? 0
        : 1
      : Math.abs(scaled) < 9.995
        ? 2
        : Math.abs(scaled) < 99.95
          ? 1
          : 0;
  return scaled.toFixed(digits) + units[unit];
}

/** 162 GFLOP, 47.4 MB: powers of a thousand. */
export function formatUnit(value: number, unit: string): string {
  const text = formatCount(value);
  return /\d$/.test(text) ? `${text} ${unit}` : `${text.slice(0, -1)} ${text.slice(-1)}${unit}`;
}

/** 512 B, 1.20 GB: powers of a thousand. */
export const formatBytes = (bytes: number): string => formatUnit(bytes, "B");

/** 8s, 2m 05s, 3h 07m. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const pad = (value: number) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${pad(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${pad(Math.floor((whole % 3600) / 60))}m`;
}
