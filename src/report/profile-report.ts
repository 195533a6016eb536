/** @file Where the time of a training step goes: a table of text, and a picture of the parts of the model. */
import { svgElement, svgText } from "./charts/svg.js";

/** What some nodes take together. Times in milliseconds a step. */
export interface ProfileRow {
  readonly name: string;
  readonly count: number;
  readonly milliseconds: number;
  /** Of these, in matrix products. */
  readonly productMilliseconds: number;
  /** Floating-point operations of those. */
  readonly flops: number;
}

/** Plain JSON. */
export interface ProfileData {
  /** What was profiled: preset, sizes. */
  readonly title: string;
  /** Where it ran: "2 threads". */
  readonly where: string;
  readonly milliseconds: number;
  readonly tokens: number;
  /** A large square matrix product on this machine in the same process, GFLOP/s. */
  readonly ceiling: number;
  readonly byPhase: readonly ProfileRow[];
  readonly byPart: readonly ProfileRow[];
  readonly byOperator: readonly ProfileRow[];
}

const gflops = ({ flops, productMilliseconds }: ProfileRow): number =>
  productMilliseconds === 0 ? 0 : flops / productMilliseconds / 1e6;

/** Share of the ceiling that the whole step reaches: its products' operations over the time it takes. */
export const shareReached = ({ byPhase, milliseconds, ceiling }: ProfileData): number =>
  byPhase.reduce((sum, { flops }) => sum + flops, 0) / milliseconds / 1e6 / ceiling;

function table(title: string, rows: readonly ProfileRow[], { milliseconds, ceiling }: ProfileData): string {
  const lines = rows.map((row) =>
    [
      row.milliseconds.toFixed(1).padStart(9),
      `${((100 * row.milliseconds) / milliseconds).toFixed(1)}%`.padStart(6),
      String(row.count).padStart(6),
      (row.flops > 0 ? gflops(row).toFixed(0) : "").padStart(8),
      (row.flops > 0 ? `${((100 * gflops(row)) / ceiling).toFixed(0)}%` : "").padStart(8),
      ` ${row.name}`,
    ].join(" "),
  );
  return [`       ms  share  nodes  GFLOP/s  ceiling  ${title}`, ...lines].join("\n");
}

/** Tables by phase, part and operator. */
export function profileText(data: ProfileData): string {
  const { title, where, milliseconds, tokens, ceiling, byPhase, byPart, byOperator } = data;
  return `${[
    `${title}, ${where}: ${milliseconds.toFixed(0)} ms for loss and gradients of ${tokens} tokens`,
    `matrix products on this machine: ${ceiling.toFixed(0)} GFLOP/s (1,024 cubed); the step reaches ${(100 * shareReached(data)).toFixed(0)} % of it`,
    table("phase", byPhase, data),
    table("part", byPart, data),
    table("operator", byOperator, data),
  ].join("\n\n")}\n`;
}

/** Parts with less than this share of the time are left out of the picture. */
const LEAST_SHARE = 0.005;

/** A bar for each part: matrix products, and everything else. An <svg> element. */
export function profileSvg(data: ProfileData, width = 720): string {
  const { milliseconds, byPart, title } = data;
  const rows = byPart.filter((row) => row.milliseconds >= LEAST_SHARE * milliseconds);
  const [left, right, top, rowHeight] = [230, 90, 28, 20];
  const scale = (width - left - right) / Math.max(...rows.map((row) => row.milliseconds));
  const bars = rows.map((row, i) => {
    const y = top + i * rowHeight;
    const [products, all] = [row.productMilliseconds * scale, row.milliseconds * scale];
    const bar = (x: number, w: number, color: string) =>
      `<rect x="${(left + x).toFixed(1)}" y="${y + 3}" width="${Math.max(0, w).toFixed(1)}" height="${rowHeight - 6}" fill="var(--${color})"/>`;
    const share = `${row.milliseconds.toFixed(0)} ms, ${((100 * row.milliseconds) / milliseconds).toFixed(0)} %`;
    return (
      svgText(left - 8, y + 14, "end", row.name) +
      bar(0, products, "series-0") +
      bar(products, all - products, "series-1") +
      svgText(left + all + 6, y + 14, "start", share)
    );
  });
  const key = [
    `<rect x="${left}" y="6" width="10" height="10" fill="var(--series-0)"/>`,
    svgText(left + 15, 15, "start", "matrix products"),
    `<rect x="${left + 120}" y="6" width="10" height="10" fill="var(--series-1)"/>`,
    svgText(left + 135, 15, "start", "everything else"),
  ];
  return svgElement(
    {
      width,
      height: top + rows.length * rowHeight + 6,
      description: `${title}: time of a training step by part of the model`,
    },
    ...key,
    ...bars,
  );
}
