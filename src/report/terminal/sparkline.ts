/** @file A series of numbers in one line of text: ▁▂▅▇. */

const BARS = "▁▂▃▄▅▆▇█";

export interface SparklineOptions {
  /** Characters, at most: longer series are averaged in stretches. Default: one a value. */
  readonly width?: number;
  /** The values of the lowest and highest bar. Default: those of the series. */
  readonly min?: number;
  readonly max?: number;
}

/** Values that are not finite leave a space. A level series is drawn at the lowest bar. */
export function sparkline(values: readonly number[], options: SparklineOptions = {}): string {
  const width = Math.max(1, Math.min(options.width ?? values.length, values.length));
  const means = Array.from({ length: values.length === 0 ? 0 : width }, (_, i) => {
    const stretch = values.slice(
      Math.floor((i * values.length) / width),
      Math.floor(((i + 1) * values.length) / width),
    );
    const finite = stretch.filter(Number.isFinite);
    return finite.reduce((a, b) => a + b, 0) / finite.length;
  });
  const finite = means.filter(Number.isFinite);
  const min = options.min ?? Math.min(...finite);
  const max = options.max ?? Math.max(...finite);
  return means
    .map((mean) => {
      if (!Number.isFinite(mean)) return " ";
      const height = max > min ? (mean - min) / (max - min) : 0;
      return BARS[Math.max(0, Math.min(BARS.length - 1, Math.floor(height * BARS.length)))];
    })
    .join("");
}
