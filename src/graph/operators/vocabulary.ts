/**
 * @file Operators over the whole vocabulary, in chunks of rows so that [rows, V] never stands in memory at once:
 * cross entropy of tied logits, and the posterior mean of a token given its noisy code.
 */
import { NDArray } from "../ndarray.js";
import { defineComposite } from "../operator.js";
import { cpuTarget, type Target } from "../target.js";
import { apply, constant, type Tensor } from "../tensor.js";
import type { Dim } from "../types.js";
import { after } from "./after.js";
import { requireSome, requireTensor } from "./checks.js";
import { add, log, maximum, mul, neg, sub, sumOf, where } from "./elementwise.js";
import { addRows, gather, gatherElements } from "./indexing.js";
import { gemm, linear, matmul, sumRows } from "./matmul.js";
import { softmax } from "./normalise.js";
import { reduceSum } from "./reduce.js";
import { chunksWhere, fromGroups, type RowGroups } from "./row-groups.js";
import { concat, reshape, slice } from "./shape.js";

const CHUNK_ROWS = 1024;
/** Above this many probabilities the backward pass recomputes them instead of keeping them (256 MiB in float32). */
const KEEP_AT_MOST = 64 * 2 ** 20;

/** The rows in work, cut into chunks. */
export interface RowChunks {
  /** The chunks of x [T, ...]. */
  take(x: Tensor): readonly Tensor[];
  /** Chunks of [T, D] joined again; zeros in rows that are not in work. */
  put(parts: readonly Tensor[]): Tensor;
}

/** Groups of the rows that are wanted: one sort serves all who ask for the same rows, and their chunks are the same tensors. */
const groupsOf = new WeakMap<Tensor, RowGroups>();

/**
 * All T rows, or those where `wanted` bool [T] is true, in chunks small enough for [rows, V]. Where sizes must be known in advance the
 * others are computed too, from zeros, and taken out again.
 */
export function rowChunks(rows: number, wanted: Tensor | null, target: Target = cpuTarget): RowChunks {
  if (wanted && target.dynamicShapes) {
    const groups = groupsOf.get(wanted) ?? chunksWhere(wanted, CHUNK_ROWS);
    groupsOf.set(wanted, groups);
    return {
      take: (x) => groups.rows.map((own) => gather(x, own)),
      put: (parts) => reshape(fromGroups(parts, groups), [rows, parts[0].shape[1]]),
    };
  }
  const starts = Array.from({ length: Math.ceil(rows / CHUNK_ROWS) }, (_, i) => i * CHUNK_ROWS);
  const only = (x: Tensor): Tensor =>
    wanted && x.dtype === "float32" ? where(reshape(wanted, [rows, ...x.shape.slice(1).fill(1)]), x, 0) : x;
  return {
    take: (x) => {
      const masked = only(x);
      return starts.map((start) => slice(masked, 0, start, Math.min(rows, start + CHUNK_ROWS)));
    },
    put: (parts) => only(concat(parts, 0)),
  };
}

/** One part of the logits: x [T, K] times table [V, K] transposed, plus bias [V] (default: none). */
export interface LogitTerm {
  readonly x: Tensor;
  readonly table: Tensor;
  readonly bias?: Tensor;
}

/** @throws Error unless a term has so many rows, and so many entries of the vocabulary. `which` term it is, for the message. */
function checkTerm(
  name: string,
  which: string,
  { x, table, bias }: LogitTerm,
  { rows, vocabulary }: { readonly rows: Dim; readonly vocabulary: Dim },
): void {
  requireTensor(name, `x of ${which}`, x, "float32", [rows, null]);
  requireTensor(name, `the table of ${which}`, table, "float32", [vocabulary, x.shape[1]]);
  if (bias) requireTensor(name, `the bias of ${which}`, bias, "float32", [vocabulary]);
}

/**
 * The same terms as products that each start from the sum of those before: the first takes its bias along, a later bias is a column more
 * of its table, against ones. So no bias is a pass over [T, V], and logits that begin with the same term share its product.
 */
function asProducts(terms: readonly LogitTerm[]): LogitTerm[] {
  return terms.map(({ x, table, bias }, k) => {
    if (k === 0 || !bias) return { x, table, bias };
    const [rows, vocabulary] = [x.staticShape[0], table.staticShape[0]];
    const ones = constant(new Float32Array(rows).fill(1), [rows, 1]);
    return { x: concat([x, ones], 1), table: concat([table, reshape(bias, [vocabulary, 1])], 1) };
  });
}

/** sum_i (x_i table_i^T + bias_i). x_i [T, K_i], table_i [V, K_i], bias_i [V] -> [T, V]. */
export function tiedLogits(terms: readonly LogitTerm[]): Tensor {
  requireSome("tiedLogits", terms, "term");
  return asProducts(terms).reduce<Tensor | null>(
    (total, { x, table, bias }) => linear(x, table, total ?? bias),
    null,
  )!;
}

/** The terms of some rows, for `tiedLogits`. take: x [T, K] -> those rows of it. */
export const termsAt = (terms: readonly LogitTerm[], take: (x: Tensor) => Tensor): LogitTerm[] =>
  asProducts(terms).map((term) => ({ ...term, x: take(term.x) }));

/** The terms of each chunk, for `tiedLogits`. */
export const chunkTerms = (terms: readonly LogitTerm[], chunks: RowChunks): LogitTerm[][] => {
  const products = asProducts(terms);
  const parts = products.map(({ x }) => chunks.take(x));
  return parts[0].map((_, i) => products.map((product, k) => ({ ...product, x: parts[k][i] })));
};

/** The terms again, computed when `before` is: what stood in memory for the chunk before has gone by then. */
const termsAfter = (terms: readonly LogitTerm[], before: readonly Tensor[]): LogitTerm[] =>
  terms.map((term) => ({ ...term, x: after(term.x, before) }));

/** How probabilities over the vocabulary reach the backward pass. */
export interface KeepOptions {
  /** Compute them again there, however few they are. Default: only above 64 M. */
  readonly recompute?: boolean;
}
/** Whether probabilities of so many rows over so many tokens are kept for the backward pass. */
export const keepsProbabilities = (
  rows: number,
  vocabulary: number,
  { recompute = false }: KeepOptions,
): boolean => !recompute && rows * vocabulary <= KEEP_AT_MOST;

interface CrossEntropyAttributes extends KeepOptions {
  /** For each term, whether it has a bias. */
  readonly biased: readonly boolean[];
  /** Whether the last input says which rows are wanted. */
  readonly some: boolean;
}
/** Of a composite over chunks of [rows, V]. */
interface Saved {
  readonly chunks: RowChunks;
  readonly probabilities: readonly Tensor[] | null;
}

/** x, table and bias of each term, then targets, wanted. `of`: inputs, or what belongs to them. */
function crossEntropyInputs<T>(of: readonly T[], { biased, some }: CrossEntropyAttributes) {
  let next = 0;
  const terms = biased.map((has) => ({
    x: of[next++],
    table: of[next++],
    bias: has ? of[next++] : undefined,
  }));
  return { terms, targets: of[next], wanted: some ? of[next + 1] : null };
}

const crossEntropyOperator = defineComposite<CrossEntropyAttributes, Saved>({
  name: "crossEntropy",
  infer: (inputs, attributes) => {
    const { terms, targets, wanted } = crossEntropyInputs(inputs, attributes);
    requireSome("crossEntropy", terms, "term");
    requireTensor("crossEntropy", "the targets", targets, "int64", [null]);
    const [rows, vocabulary] = [targets.shape[0], terms[0].table.shape[0]];
    for (const [k, term] of terms.entries())
      checkTerm("crossEntropy", `term ${k}`, term, { rows, vocabulary });
    if (wanted) requireTensor("crossEntropy", "the wanted rows", wanted, "bool", [rows]);
    return [{ dtype: "float32", shape: [rows] }];
  },
  lower: (inputs, attributes, target) => {
    const { terms, targets, wanted } = crossEntropyInputs(inputs, attributes);
    const rows = targets.staticShape[0];
    const chunks = rowChunks(rows, wanted, target);
    const own = chunks.take(targets);
    const probabilities = chunkTerms(terms, chunks).map((part) => softmax(tiedLogits(part)));
    const losses = probabilities.map((p, i) =>
      neg(log(maximum(gatherElements(p, reshape(own[i], [own[i].shape[0], 1]), 1), 1e-30))),
    );
    const keep = keepsProbabilities(rows, terms[0].table.staticShape[0], attributes);
    const outputs = [reshape(chunks.put(losses), [rows])];
    return { outputs, saved: { chunks, probabilities: keep ? probabilities : null } };
  },
  // d nll_t / d logits_tv = p_tv - [v = target_t]; the second part moves rows only and needs no product. All biases have one gradient.
  adjoint: ([g], { inputs, attributes, needed, saved: { chunks, probabilities } }) => {
    const { terms, targets, wanted } = crossEntropyInputs(inputs, attributes);
    const wants = crossEntropyInputs(needed, attributes).terms;
    const weights = chunks.take(reshape(g!, [targets.staticShape[0], 1]));
    const own = chunks.take(targets);
    const vocabulary = terms[0].table.staticShape[0];
    const xs = terms.map(({ x }) => chunks.take(x));
    const dx: Tensor[][] = terms.map(() => []);
    const dTable: (Tensor | undefined)[] = terms.map(() => undefined);
    let dBias: Tensor | null = null;
    let before: Tensor[] = [g!];
    for (const [i, part] of chunkTerms(terms, chunks).entries()) {
      const p = probabilities?.[i] ?? softmax(tiedLogits(termsAfter(part, before)));
      before = [];
      for (const [k, { table }] of terms.entries()) {
        if (wants[k].x) {
          dx[k].push(mul(sub(matmul(p, table), gather(table, own[i])), weights[i]));
          before.push(dx[k][i]);
        }
        if (!wants[k].table) continue;
        const weighted = mul(xs[k][i], weights[i]);
        const sum = dTable[k];
        const all = sum
          ? gemm(p, weighted, sum, { transposeA: true })
          : matmul(p, weighted, { transposeA: true });
        dTable[k] = addRows(all, own[i], neg(weighted));
        before.push(dTable[k]!);
      }
      if (!wants.some(({ bias }) => bias)) continue;
      const row = addRows(reshape(sumRows(p, weights[i]), [vocabulary, 1]), own[i], neg(weights[i]));
      dBias = dBias ? add(dBias, row) : row;
      before.push(dBias);
    }
    const gradients = terms.flatMap(({ bias }, k) => [
      wants[k].x ? chunks.put(dx[k]) : null,
      dTable[k] ?? null,
      ...(bias ? [wants[k].bias ? reshape(dBias!, bias.shape) : null] : []),
    ]);
    return [...gradients, null, ...(wanted ? [null] : [])];
  },
  evaluate: (inputs, attributes) => {
    const { terms, targets, wanted } = crossEntropyInputs(inputs, attributes);
    const [rows, vocabulary] = [targets.shape[0], terms[0].table.shape[0]];
    const out = NDArray.zeros([rows]);
    for (let t = 0; t < rows; t++) {
      if (wanted?.data[t] === 0) continue;
      const logits = new Float64Array(vocabulary);
      for (const { x, table, bias } of terms) {
        const width = x.shape[1];
        for (let v = 0; v < vocabulary; v++) {
          logits[v] += bias ? bias.data[v] : 0;
          for (let d = 0; d < width; d++) logits[v] += x.data[t * width + d] * table.data[v * width + d];
        }
      }
      const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
      const total = logits.reduce((a, b) => a + Math.exp(b - top), 0);
      out.data[t] = top + Math.log(total) - logits[targets.data[t]];
    }
    return [out];
  },
});

/**
 * Negative log likelihood of `targets` under softmax(tiedLogits(terms)), a value a row; nothing is computed, and 0 returned, where
 * `wanted` is false.
 * terms as for tiedLogits, targets int64 [T], wanted bool [T] -> float32 [T], in nats.
 * The value that runs is -log of a softmax in float32, whose probabilities count as 1e-30 at least: it is at most 69. The gradient,
 * softmax less the target, has no such bound and keeps pulling, and neither has the oracle. The log of the sum of all exponentials
 * would need no bound, but two more passes over [T, V].
 */
export const crossEntropy = (
  terms: readonly LogitTerm[],
  targets: Tensor,
  wanted: Tensor | null = null,
  options: KeepOptions = {},
): Tensor =>
  apply(
    crossEntropyOperator,
    [
      ...terms.flatMap(({ x, table, bias }) => (bias ? [x, table, bias] : [x, table])),
      targets,
      ...(wanted ? [wanted] : []),
    ],
    {
      biased: terms.map(({ bias }) => bias !== undefined),
      some: wanted !== null,
      ...options,
    } satisfies CrossEntropyAttributes,
  )[0];

const posteriorMeanOperator = defineComposite<KeepOptions, Saved>({
  name: "posteriorMean",
  infer: ([x, codebook, prior, table, wanted]) => {
    const [rows, vocabulary] = [x.shape[0], codebook.shape[0]];
    checkTerm("posteriorMean", "the channel", { x, table: codebook, bias: prior }, { rows, vocabulary });
    requireTensor("posteriorMean", "the table", table, "float32", [vocabulary, null]);
    if (wanted) requireTensor("posteriorMean", "the wanted rows", wanted, "bool", [rows]);
    return [{ dtype: "float32", shape: [rows, table.shape[1]] }];
  },
  lower: ([x, codebook, prior, table, wanted], options, target) => {
    const chunks = rowChunks(x.staticShape[0], wanted ?? null, target);
    const parts = chunkTerms([{ x, table: codebook, bias: prior }], chunks);
    const probabilities = parts.map((part) => softmax(tiedLogits(part)));
    const keep = keepsProbabilities(x.staticShape[0], prior.staticShape[0], options);
    const mean = chunks.put(probabilities.map((p) => matmul(p, table)));
    return { outputs: [mean], saved: { chunks, probabilities: keep ? probabilities : null } };
  },
  // y = P E, P = softmax(S), S = x C^T + prior: dE = P^T dy, dS = P * (dy E^T - rowsum(P * dy E^T)), dx = dS C, dC = dS^T x.
  adjoint: (
    [g],
    { inputs: [x, codebook, prior, table, wanted], needed, saved: { chunks, probabilities } },
  ) => {
    const dys = chunks.take(g!);
    let dTable: Tensor | null = null;
    let dCodebook: Tensor | null = null;
    const dx: Tensor[] = [];
    const dPrior: Tensor[] = [];
    let before: Tensor[] = [g!];
    for (const [i, part] of chunkTerms([{ x, table: codebook, bias: prior }], chunks).entries()) {
      const p = probabilities?.[i] ?? softmax(tiedLogits(termsAfter(part, before)));
      before = [];
      const dy = dys[i];
      if (needed[3]) {
        dTable = dTable ? gemm(p, dy, dTable, { transposeA: true }) : matmul(p, dy, { transposeA: true });
        before.push(dTable);
      }
      if (!needed[0] && !needed[1] && !needed[2]) continue;
      const weighted = mul(p, matmul(dy, table, { transposeB: true }));
      const ds = sub(weighted, mul(p, reduceSum(weighted, [1], true)));
      dx.push(matmul(ds, codebook));
      before.push(dx[i]);
      if (needed[2]) before.push(dPrior[dPrior.push(reduceSum(ds, [0])) - 1]);
      if (!needed[1]) continue;
      dCodebook = dCodebook
        ? gemm(ds, part[0].x, dCodebook, { transposeA: true })
        : matmul(ds, part[0].x, { transposeA: true });
      before.push(dCodebook);
    }
    return [
      needed[0] ? chunks.put(dx) : null,
      dCodebook,
      needed[2] ? sumOf(dPrior) : null,
      dTable,
      ...(wanted ? [null] : []),
    ];
  },
  evaluate: ([x, codebook, prior, table, wanted]) => {
    const [rows, width] = x.shape;
    const out = NDArray.zeros([rows, table.shape[1]]);
    for (let t = 0; t < rows; t++) {
      if (wanted?.data[t] === 0) continue;
      const scores = prior.data.slice();
      for (let v = 0; v < scores.length; v++)
        for (let d = 0; d < width; d++) scores[v] += x.data[t * width + d] * codebook.data[v * width + d];
      const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
      const weights = scores.map((s) => Math.exp(s - top));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let v = 0; v < scores.length; v++)
        for (let d = 0; d < table.shape[1]; d++)
          out.data[t * table.shape[1] + d] += (weights[v] / total) * table.data[v * table.shape[1] + d];
    }
    return [out];
  },
});

/**
 * E[table row | x]: softmax(x codebook^T + log prior) table, x being a token's noisy code times its precision. What the code alone says
 * about the token; zeros where `wanted` is false.
 * channel: x [T, D], its table the codebook [V, D], its bias the log prior [V]; table [V, K], wanted bool [T] -> [T, K].
 */
export const posteriorMean = (
  { x, table: codebook, bias: prior }: Required<LogitTerm>,
  table: Tensor,
  wanted: Tensor | null = null,
  options: KeepOptions = {},
): Tensor =>
  apply(posteriorMeanOperator, [x, codebook, prior, table, ...(wanted ? [wanted] : [])], options)[0];
