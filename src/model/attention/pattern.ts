/**
 * @file The attention pattern: one declarative object that yields the dense mask (the oracle of tests), the block plan that runs, and
 * the cost.
 *
 * Bidirectional. Within one document (segment) position i sees position j when
 *   |i - j| <= window * dilation and (i - j) divisible by dilation   (sliding or dilated window), or
 *   i or j is global                                                   (Longformer, arXiv 2004.05150; BigBird, 2007.14062),
 * and, when the pattern is causal, j <= i. Padding (segment -1) sees padding only.
 */

/** What one head of one layer sees. */
export interface HeadPattern {
  /** Positions seen on each side, in steps of `dilation`. */
  readonly window: number;
  /** 1: contiguous window. */
  readonly dilation: number;
  /** Everything in the document; window and dilation play no part. */
  readonly full: boolean;
  /** Nothing behind itself is seen, global or not. Default false. */
  readonly causal?: boolean;
}

/** Equal for patterns that see the same, whatever the row. */
export const patternKey = ({
  window,
  dilation,
  full = false,
  causal = false,
}: Omit<HeadPattern, "full"> & Partial<HeadPattern>): string =>
  `${full ? "full" : `${window}/${dilation}`}${causal ? "/causal" : ""}`;

/** What one layer sees: a pattern a head. */
export interface LayerPattern {
  readonly heads: readonly HeadPattern[];
}

/** The part of the model configuration that attention needs. */
export interface AttentionSettings {
  readonly window: number;
  readonly dilation: number | readonly number[];
  readonly full: boolean;
  readonly causal?: boolean;
  readonly layers?: Readonly<
    Record<string, Partial<Pick<AttentionSettings, "window" | "dilation" | "full">>>
  >;
}

/** The pattern of layer `layer`: the common settings with the layer's own laid over them. */
export function layerPattern(settings: AttentionSettings, layer: number, numHeads: number): LayerPattern {
  const { window, dilation, full, causal = false } = { ...settings, ...settings.layers?.[String(layer)] };
  const dilations = typeof dilation === "number" ? new Array<number>(numHeads).fill(dilation) : dilation;
  if (dilations.length !== numHeads)
    throw new Error(
      `attention: expected one dilation for each of ${numHeads} heads, got ${dilations.length}`,
    );
  return { heads: dilations.map((d) => ({ window, dilation: d, full, causal })) };
}

/** The layout of one row: which document each position belongs to (-1: padding) and which positions are global. */
export interface RowLayout {
  readonly segment: ArrayLike<number>;
  readonly isGlobal: ArrayLike<number | boolean>;
}

/** Whether position i may look at position j. */
export function sees(head: HeadPattern, row: RowLayout, i: number, j: number): boolean {
  if (row.segment[i] !== row.segment[j] || (head.causal && j > i)) return false;
  if (head.full || row.isGlobal[i] || row.isGlobal[j]) return true;
  return Math.abs(i - j) <= head.window * head.dilation && (i - j) % head.dilation === 0;
}

/** The whole mask of one head, row-major [N, N], 1 where row i sees column j. */
export function denseMask(head: HeadPattern, row: RowLayout): Uint8Array {
  const length = row.segment.length;
  const mask = new Uint8Array(length * length);
  for (let i = 0; i < length; i++)
    for (let j = 0; j < length; j++) mask[i * length + j] = Number(sees(head, row, i, j));
  return mask;
}

/** Heads next to each other that share a pattern run together. */
export interface HeadGroup {
  readonly pattern: HeadPattern;
  readonly start: number;
  readonly count: number;
}

export function headGroups(layer: LayerPattern): HeadGroup[] {
  const groups: { pattern: HeadPattern; start: number; count: number }[] = [];
  for (const [i, pattern] of layer.heads.entries()) {
    const last = groups.at(-1);
    if (last && patternKey(last.pattern) === patternKey(pattern)) last.count++;
    else groups.push({ pattern, start: i, count: 1 });
  }
  return groups;
}

/** Query-key pairs that are computed (masked places included) for one head over `length` positions. */
export function computedPairs(head: HeadPattern, length: number, globals: number): number {
  const pairs = head.full || coversRow(head, length) ? Infinity : pairsOf(planSizes(head, length, globals));
  return Math.min(pairs, length * length);
}

/** What blocks see, and what global slots see: the blocks that see them, or everything. */
const pairsOf = ({ padded, globalKeys, localKeys, near, globals, length }: PlanSizes): number =>
  padded * (globalKeys + localKeys) + (near ? padded * globalKeys : globals * length);

/** Positions of the largest block of any layer that may see near slots only; 0: none may. */
export function largestBlock(settings: AttentionSettings, numLayers: number, numHeads: number): number {
  const heads = Array.from(
    { length: numLayers },
    (_, layer) => layerPattern(settings, layer, numHeads).heads,
  );
  return Math.max(
    0,
    ...heads.flat().map(({ full, dilation, window }) => (full || dilation > 1 ? 0 : window)),
  );
}

/**
 * How a windowed head runs: positions are sorted by residue modulo the dilation and cut into blocks; the queries of a block see the keys
 * of `reach` blocks before, their own, as many after (none when causal), and global slots: all of the row, or, where a row holds many
 * documents, those of the documents the block has a part in (`near`). reach * block covers the window: with one block as long as
 * the window a query meets 3 windows of keys, with two half as long 2.5. Keys move in chunks of `chunk` rows.
 */
export interface BlockPlan {
  readonly length: number;
  readonly window: number;
  readonly dilation: number;
  /** Queries in a block. */
  readonly block: number;
  /** Blocks seen on each side. */
  readonly reach: number;
  /** Only blocks before are seen, and of the own block what stands before. */
  readonly causal: boolean;
  /** Blocks a block sees: 2 reach + 1, or reach + 1 when causal. */
  readonly sides: number;
  /** Local keys of a block: sides * block. */
  readonly localKeys: number;
  readonly blocks: number;
  /** Length after padding: blocks * block. */
  readonly padded: number;
  /** Rows moved by one gather index; divides `block`. */
  readonly chunk: number;
  /** Global slots a block sees, rounded up to whole chunks. */
  readonly globalKeys: number;
  /** Whether every block has a list of slots of its own, `globalKeys` next to each other, instead of all. */
  readonly near: boolean;
  /** Slots laid out for the blocks: all of a row, or blocks * globalKeys. */
  readonly slotRows: number;
  /** [padded] position whose query stands at each place; -1 for padding. The identity when dilation is 1. */
  readonly order: Int32Array;
  /** [blocks, localKeys] position of every local key of every block; -1: none there. */
  readonly keyPosition: Int32Array;
  /** [blocks, (globalKeys + localKeys) / chunk] chunk numbers in [slot chunks | sequence chunks]. */
  readonly keyChunks: number[];
  /** [sides, padded / chunk] where each sequence chunk was used, in [blocks * chunks a block]. */
  readonly usesOfChunk: number[];
}

/** Whether the window covers a row of `length` positions: full attention. A dilated one leaves positions out, however long it is. */
export const coversRow = ({ window, dilation }: HeadPattern, length: number): boolean =>
  dilation === 1 && window >= length - 1;

/**
 * The plan; null where all pairs of the row are fewer than those of the blocks, so that one dense product with a mask is cheaper.
 * @param near most global slots of the documents that one block has a part in. Default: all slots
 */
export function blockPlan(
  head: HeadPattern,
  length: number,
  globals: number,
  near = globals,
): BlockPlan | null {
  if (head.full || coversRow(head, length)) return null;
  // Decided before anything is built: with a large window or dilation a plan is far larger than the row.
  const cheaper = pairsOf(planSizes(head, length, globals, { near })) < length * length;
  return cheaper ? makeBlockPlan(head, length, globals, { near }) : null;
}

const largestDivisor = (n: number, atMost: number): number => {
  for (let d = Math.min(n, atMost); d > 1; d--) if (n % d === 0) return d;
  return 1;
};

/** `reach`: see BlockPlan (1 and 2 are equally fast at window 128 on two cores). `near`: see blockPlan. */
interface PlanOptions {
  readonly reach?: number;
  readonly near?: number;
}

/** How large a plan is, without the plan. */
interface PlanSizes extends Omit<BlockPlan, "order" | "keyPosition" | "keyChunks" | "usesOfChunk"> {
  /** Global slots of the row. */
  readonly globals: number;
  /** Blocks a residue class. */
  readonly perResidue: number;
}

function planSizes(
  { window, dilation, causal = false }: HeadPattern,
  length: number,
  globals: number,
  { reach = 1, near: nearGlobals = globals }: PlanOptions = {},
): PlanSizes {
  const block = Math.ceil(window / reach);
  const perResidue = Math.ceil(Math.ceil(length / dilation) / block);
  const blocks = perResidue * dilation;
  const chunk = largestDivisor(block, 16);
  // Residues of a dilated window lie all over the row, and so do their documents.
  const near = dilation === 1 && Math.ceil(nearGlobals / chunk) * chunk < globals;
  const sides = causal ? reach + 1 : 2 * reach + 1;
  const globalKeys = Math.ceil((near ? nearGlobals : globals) / chunk) * chunk;
  return {
    length,
    window,
    dilation,
    block,
    reach,
    causal,
    sides,
    localKeys: sides * block,
    blocks,
    padded: blocks * block,
    chunk,
    globalKeys,
    near,
    slotRows: near ? blocks * globalKeys : globals,
    globals,
    perResidue,
  };
}

/** The plan, be it cheaper or not. */
export function makeBlockPlan(
  head: HeadPattern,
  length: number,
  globals: number,
  options: PlanOptions = {},
): BlockPlan {
  const { perResidue, globals: _, ...sizes } = planSizes(head, length, globals, options);
  const { dilation, block, reach, localKeys, blocks, padded, chunk, near } = sizes;
  const globalChunks = sizes.globalKeys / chunk;
  const slotChunks = near ? blocks * globalChunks : globalChunks;
  const chunksPerBlock = block / chunk;
  const sides = Array.from({ length: sizes.sides }, (_, i) => i - reach);
  const wrap = (b: number) => ((b % blocks) + blocks) % blocks; // masked where it wraps

  const order = new Int32Array(padded);
  for (let place = 0; place < padded; place++) {
    const residue = Math.floor(place / (perResidue * block));
    const position = (place % (perResidue * block)) * dilation + residue;
    order[place] = position < length ? position : -1;
  }
  const keyPosition = new Int32Array(blocks * localKeys).fill(-1);
  const keyChunks: number[] = [];
  for (let b = 0; b < blocks; b++) {
    for (let g = 0; g < globalChunks; g++) keyChunks.push((near ? b * globalChunks : 0) + g);
    for (const [place, side] of sides.entries()) {
      const neighbour = b + side;
      for (let c = 0; c < chunksPerBlock; c++)
        keyChunks.push(slotChunks + wrap(neighbour) * chunksPerBlock + c);
      const sameResidue = Math.floor(neighbour / perResidue) === Math.floor(b / perResidue);
      if (neighbour < 0 || neighbour >= blocks || !sameResidue) continue;
      for (let i = 0; i < block; i++)
        keyPosition[b * localKeys + place * block + i] = order[neighbour * block + i];
    }
  }
  // A chunk of block b stands at place i of what block b - side_i sees.
  const chunksARow = globalChunks + sides.length * chunksPerBlock;
  const usesOfChunk: number[] = [];
  for (const [place, side] of sides.entries())
    for (let b = 0; b < blocks; b++)
      for (let c = 0; c < chunksPerBlock; c++)
        usesOfChunk.push(wrap(b - side) * chunksARow + globalChunks + place * chunksPerBlock + c);
  return { ...sizes, order, keyPosition, keyChunks, usesOfChunk };
}
