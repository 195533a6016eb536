/**
 * @file Operators over the whole vocabulary, in chunks of rows so that [rows, V] never stands in memory at once:
 * cross entropy of tied logits, and the posterior mean of a token given its noisy code.
 */
import { NDArray } from "../ndarray.js";
import { defineComposite } from "../operator.js";
import { apply, type Tensor } from "../tensor.js";
import { log, maximum, mul, neg, sub, sumOf } from "./elementwise.js";
import { gather, gatherElements, scatterElements } from "./indexing.js";
import { gemm, matmul } from "./matmul.js";
import { softmax } from "./normalise.js";
import { reduceSum } from "./reduce.js";
import { concat, expand, reshape, slice, zeros } from "./shape.js";

const CHUNK_ROWS = 1024;
/** Above this many probabilities the backward pass recomputes them instead of keeping them (256 MB in float32). */
const KEEP_AT_MOST = 64 * 2 ** 20;

/** [start, end) of each chunk of rows. */
function chunksOf(rows: number): [number, number][] {
  return Array.from({ length: Math.ceil(rows / CHUNK_ROWS) }, (_, i) => [
    i * CHUNK_ROWS,
    Math.min(rows, (i + 1) * CHUNK_ROWS),
  ]);
}

/** One product that adds to the logits: x [T, K] times table [V, K] transposed. */
export interface LogitTerm {
  readonly x: Tensor;
  readonly table: Tensor;
}

/** Logits of rows start..end: sum_i x_i table_i^T + bias. */
function logitsOf(terms: readonly LogitTerm[], bias: Tensor, start: number, end: number): Tensor {
  return terms.reduce(
    (total, { x, table }) => gemm(slice(x, 0, start, end), table, total, { transposeB: true }),
    bias,
  );
}

/** sum_i x_i table_i^T + bias. x_i [T, K_i], table_i [V, K_i], bias [V] -> [T, V]. */
export const tiedLogits = (terms: readonly LogitTerm[], bias: Tensor): Tensor =>
  logitsOf(terms, bias, 0, terms[0].x.staticShape[0]);

const termsOf = (inputs: readonly Tensor[]): LogitTerm[] =>
  Array.from({ length: (inputs.length - 2) / 2 }, (_, i) => ({ x: inputs[2 * i], table: inputs[2 * i + 1] }));

/** table.shape gradient rows: adds rows [T, K] into a zero table at `targets` [T]. */
function rowsToTable(rows: Tensor, targets: Tensor, like: Tensor): Tensor {
  const [count, width] = rows.staticShape;
  const index = expand(reshape(targets, [count, 1]), [count, width]);
  return scatterElements(zeros(like.staticShape), index, rows, 0, "add");
}

const crossEntropyOperator = defineComposite<object, { probabilities: Tensor[] | null }>({
  name: "crossEntropy",
  infer: (inputs) => [{ dtype: "float32", shape: [inputs[0].shape[0]] }],
  lower: (inputs) => {
    const terms = termsOf(inputs);
    const [bias, targets] = inputs.slice(-2);
    const rows = targets.staticShape[0];
    const kept: Tensor[] = [];
    const losses = chunksOf(rows).map(([start, end]) => {
      const p = softmax(logitsOf(terms, bias, start, end));
      kept.push(p);
      const own = gatherElements(p, reshape(slice(targets, 0, start, end), [end - start, 1]), 1);
      return neg(log(maximum(own, 1e-30)));
    });
    const keep = rows * bias.staticShape[0] <= KEEP_AT_MOST;
    return { outputs: [reshape(concat(losses, 0), [rows])], saved: { probabilities: keep ? kept : null } };
  },
  // d nll_t / d logits_tv = p_tv - [v = target_t]; the second part moves rows only and needs no product.
  adjoint: ([g], { inputs, needed, saved }) => {
    const terms = termsOf(inputs);
    const [bias, targets] = inputs.slice(-2);
    const rows = targets.staticShape[0];
    const weight = reshape(g!, [rows, 1]);
    const dx: Tensor[][] = terms.map(() => []);
    const dTable: (Tensor | null)[] = terms.map(() => null);
    let dBias: Tensor | null = null;
    for (const [i, [start, end]] of chunksOf(rows).entries()) {
      const p = saved.probabilities?.[i] ?? softmax(logitsOf(terms, bias, start, end));
      const w = slice(weight, 0, start, end);
      for (const [k, { x, table }] of terms.entries()) {
        if (needed[2 * k]) dx[k].push(matmul(p, table));
        if (!needed[2 * k + 1]) continue;
        const weighted = mul(slice(x, 0, start, end), w);
        dTable[k] = dTable[k]
          ? gemm(p, weighted, dTable[k], { transposeA: true })
          : matmul(p, weighted, { transposeA: true });
      }
      dBias = dBias ? gemm(w, p, dBias, { transposeA: true }) : matmul(w, p, { transposeA: true });
    }
    const gradients = terms.flatMap(({ x, table }, k) => [
      needed[2 * k] ? mul(sub(concat(dx[k], 0), gather(table, targets)), weight) : null,
      needed[2 * k + 1] ? sub(dTable[k]!, rowsToTable(mul(x, weight), targets, table)) : null,
    ]);
    const ownBias = scatterElements(zeros(bias.staticShape), targets, g!, 0, "add");
    return [...gradients, sub(reshape(dBias!, bias.staticShape), ownBias), null];
  },
  evaluate: (inputs) => {
    const [bias, targets] = inputs.slice(-2);
    const [rows, vocabulary] = [targets.shape[0], bias.shape[0]];
    const out = NDArray.zeros([rows]);
    for (let t = 0; t < rows; t++) {
      const logits = bias.data.slice();
      for (let k = 0; k < inputs.length - 2; k += 2) {
        const [x, table] = [inputs[k], inputs[k + 1]];
        const width = x.shape[1];
        for (let v = 0; v < vocabulary; v++)
          for (let d = 0; d < width; d++) logits[v] += x.data[t * width + d] * table.data[v * width + d];
      }
      const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
      const total = logits.reduce((a, b) => a + Math.exp(b - top), 0);
      out.data[t] = top + Math.log(total) - logits[targets.data[t]];
    }
    return [out];
  },
});

/**
 * Negative log likelihood of `targets` under softmax(sum_i x_i table_i^T + bias), a value a row.
 * x_i [T, K_i], table_i [V, K_i], bias [V], targets int64 [T] -> float32 [T] (nats; at most 69, the log of 1e-30).
 */
export const crossEntropy = (terms: readonly LogitTerm[], bias: Tensor, targets: Tensor): Tensor =>
  apply(crossEntropyOperator, [...terms.flatMap(({ x, table }) => [x, table]), bias, targets], {})[0];

const posteriorMeanOperator = defineComposite<object, { probabilities: Tensor[] | null }>({
  name: "posteriorMean",
  infer: ([u, , , , table]) => [{ dtype: "float32", shape: [u.shape[0], table.shape[1]] }],
  lower: ([u, precision, codebook, prior, table]) => {
    const rows = u.staticShape[0];
    const scaled = mul(u, precision);
    const probabilities = chunksOf(rows).map(([start, end]) =>
      softmax(logitsOf([{ x: scaled, table: codebook }], prior, start, end)),
    );
    const keep = rows * prior.staticShape[0] <= KEEP_AT_MOST;
    const mean = concat(
      probabilities.map((p) => matmul(p, table)),
      0,
    );
    return { outputs: [mean], saved: { probabilities: keep ? probabilities : null } };
  },
  // y = P E, P = softmax(S), S = c u C^T + prior: dE = P^T dy, dS = P * (dy E^T - rowsum(P * dy E^T)), du = c dS C, dC = dS^T (c u).
  adjoint: ([g], { inputs: [u, precision, codebook, prior, table], needed, saved }) => {
    const rows = u.staticShape[0];
    const scaled = mul(u, precision);
    let dTable: Tensor | null = null;
    let dCodebook: Tensor | null = null;
    const dScaled: Tensor[] = [];
    const dPrior: Tensor[] = [];
    for (const [i, [start, end]] of chunksOf(rows).entries()) {
      const p =
        saved.probabilities?.[i] ?? softmax(logitsOf([{ x: scaled, table: codebook }], prior, start, end));
      const dy = slice(g!, 0, start, end);
      if (needed[4])
        dTable = dTable ? gemm(p, dy, dTable, { transposeA: true }) : matmul(p, dy, { transposeA: true });
      if (!needed[0] && !needed[1] && !needed[2] && !needed[3]) continue;
      const weighted = mul(p, matmul(dy, table, { transposeB: true }));
      const ds = sub(weighted, mul(p, reduceSum(weighted, [1], true)));
      dScaled.push(matmul(ds, codebook));
      if (needed[3]) dPrior.push(reduceSum(ds, [0]));
      if (!needed[2]) continue;
      const x = slice(scaled, 0, start, end);
      dCodebook = dCodebook
        ? gemm(ds, x, dCodebook, { transposeA: true })
        : matmul(ds, x, { transposeA: true });
    }
    const back = dScaled.length > 0 ? concat(dScaled, 0) : null;
    return [
      needed[0] ? mul(back!, precision) : null,
      needed[1] ? reduceSum(mul(back!, u), [1], true) : null,
      dCodebook,
      needed[3] ? sumOf(dPrior) : null,
      dTable,
    ];
  },
  evaluate: ([u, precision, codebook, prior, table]) => {
    const [rows, width] = u.shape;
    const out = NDArray.zeros([rows, table.shape[1]]);
    for (let t = 0; t < rows; t++) {
      const scores = prior.data.slice();
      for (let v = 0; v < scores.length; v++)
        for (let d = 0; d < width; d++)
          scores[v] += precision.data[t] * u.data[t * width + d] * codebook.data[v * width + d];
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
 * E[table row | u]: softmax(precision * u codebook^T + prior) table. What a token's noisy code alone says about it.
 * u [T, D], precision [T, 1], codebook [V, D], prior [V] (log probabilities), table [V, K] -> [T, K].
 */
export const posteriorMean = (
  u: Tensor,
  precision: Tensor,
  codebook: Tensor,
  prior: Tensor,
  table: Tensor,
): Tensor => apply(posteriorMeanOperator, [u, precision, codebook, prior, table], {})[0];
