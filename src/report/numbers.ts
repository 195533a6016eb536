/** @file Numbers as reports print them: 412k, 10.4M, 6.42, 2 min 5 s. */

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 15 });
const MISSING = "–";

/** 950, 12.3k, 4.57M, 1.2B: three digits. A dash for what is no number. */
export function count(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return MISSING;
  return compact.format(value).replace("K", "k");
}

/** 1,234,567 */
export function exact(value: number): string {
  return Number.isFinite(value) ? plain.format(value) : MISSING;
}

/** Two to four decimals, as many as a loss or a rate of this size needs; powers of ten below 0.001. */
export function decimal(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return MISSING;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-3 || size >= 1e6) return value.toExponential(1).replace("e+", "e");
  if (size < 0.1) return String(Number(value.toPrecision(2)));
  return size < 1 ? value.toFixed(3) : size < 100 ? value.toFixed(2) : exact(Math.round(value));
}

/** 37 %, 0.4 % */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return MISSING;
  const value = 100 * share;
  return `${value > 0 && value < 10 ? Number(value.toFixed(1)) : Math.round(value)} %`;
}

/** 45 s, 2 min 5 s, 3 h 7 min */
export function duration(minutes: number): string {
  if (!Number.isFinite(minutes)) return MISSING;
  const seconds = Math.round(minutes * 60);
  if (seconds < 60) return `${seconds} s`;
  const whole = Math.round(minutes);
  const [large, small, units] =
    seconds < 3600
      ? [Math.floor(seconds / 60), seconds % 60, ["min", "s"]]
      : [Math.floor(whole / 60), whole % 60, ["h", "min"]];
  return small === 0 ? `${large} ${units[0]}` : `${large} ${units[0]} ${small} ${units[1]}`;
}
