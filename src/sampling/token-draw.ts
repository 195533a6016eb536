/**
 * @file Drawing tokens on the host, from logits that come some rows at a time: all of them, [positions, V], may not fit into memory.
 */
import type { TensorData } from "../graph/index.js";
import type { RoundedTokens } from "./rounding.js";
import { type RowRange, rowParts, rowsOf } from "./row-parts.js";

/** Draws a token at each of r positions, from logits float32 [r, V], which may be changed, with numbers float32 [r] in [0, 1). */
export type DrawRows = (
  positions: readonly number[],
  logits: Float32Array,
  uniforms: Float32Array,
) => RoundedTokens;

/** The draw of one sample at one step. */
export class TokenDraw {
  /** [R], filled as rows come. */
  readonly tokens: RoundedTokens;
  private done = 0;

  /** @param positions R @param uniforms float32 [R] */
  constructor(
    readonly positions: readonly number[],
    private readonly uniforms: Float32Array,
    private readonly draw: DrawRows,
  ) {
    const column = () => new Float32Array(positions.length);
    const ids = new Int32Array(positions.length);
    this.tokens = { ids, confidence: column(), margin: column(), entropy: column() };
  }

  /** Rows still to come. */
  get left(): number {
    return this.positions.length - this.done;
  }

  /** Draws at the next `rows` positions, at most as many as are left. logits: float32 [rows, V]. */
  take(logits: Float32Array, rows: number): void {
    const [first, end] = [this.done, this.done + rows];
    const drawn = this.draw(this.positions.slice(first, end), logits, this.uniforms.subarray(first, end));
    for (const name of ["ids", "confidence", "margin", "entropy"] as const)
      this.tokens[name].set(drawn[name], first);
    this.done = end;
  }
}

/** Draws for all samples. logits: their rows one after the other, [rows, V] at a time; rows beyond theirs are left. */
export async function drawOnHost(
  draws: readonly TokenDraw[],
  logits: AsyncIterable<Float32Array>,
  vocabSize: number,
): Promise<void> {
  if (draws.every(({ left }) => left === 0)) return;
  for await (const part of logits) {
    let row = 0;
    for (const draw of draws) {
      const rows = Math.min(draw.left, part.length / vocabSize - row);
      if (rows > 0) draw.take(part.subarray(row * vocabSize, (row + rows) * vocabSize), rows);
      row += rows;
    }
  }
}

/**
 * The logits that the host is to draw from (sampling-module.ts), some rows at a time: the next ones are computed while the caller draws.
 * @param head drawRows float32 [R, W] and drawEnding int64 [R] -> float32 [R, V]
 */
export async function* logitsOf(
  { drawLogits, drawRows, drawEnding }: Readonly<Record<string, TensorData>>,
  vocabSize: number,
  head: (feeds: Readonly<Record<string, TensorData>>) => Promise<TensorData>,
): AsyncGenerator<Float32Array, void, undefined> {
  if (drawLogits) {
    yield drawLogits.data as Float32Array;
    return;
  }
  const parts = rowParts(drawEnding.data.length, vocabSize);
  const compute = async (part: RowRange) =>
    (await head({ drawRows: rowsOf(drawRows, part), drawEnding: rowsOf(drawEnding, part) }))
      .data as Float32Array;
  let next: Promise<Float32Array> | undefined = compute(parts[0]);
  try {
    for (let i = 1; next; i++) {
      const logits: Float32Array = await next;
      next = i < parts.length ? compute(parts[i]) : undefined;
      yield logits;
    }
  } finally {
    await next?.catch(() => {}); // the caller has an error of its own
  }
}
