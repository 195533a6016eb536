/**
 * @file The graph a sampler runs: the denoiser with its rounding as far as it needs no random numbers. Products over the vocabulary are
 * computed where they are wanted, and tokens are drawn there, so that logits stay in the graph. The host draws where it must: where a token
 * depends on the one before (repetition control), and where many are drawn to be ranked or one a text, which takes it less time. Of many,
 * the logits come some rows at a time, from a graph of their own (`headModule`), as [K, V] may not fit into memory.
 *
 * T = B * N positions. Inputs beside the denoiser's: ending int64 [T], 1 where the text may end; draw int64 [K], where to draw, and uniform
 * float32 [K], what to draw with. Outputs beside the router's and `embedding` [T, D]: drawnToken int64 [K] with drawnProbability float32
 * [K]; or, where the host draws, drawLogits float32 [K, V], or what they are made of, drawRows float32 [K, W] and drawEnding int64 [K];
 * x0 float32 [T, D] for Gaussian processes, at targets that are not absorbed (elsewhere 0, or what the head says); with `guess` also likeliest int64 [T] and its probability float32 [T] at predicted
 * positions (elsewhere 0). Where only active rows are computed (model/active-rows.ts), the outputs mean something there alone. Forbidden
 * tokens have logits below -1e8. Where keys and values are to be held, those of every layer.
 *
 * Guided (guidance.ts), the denoiser has twice as many rows: those of samples and behind them, as many, of twins without condition. Input
 * guidance float32 [1]; the outputs above say what both come to, but for `embedding` and the router's, which every row has of its own.
 */

import { denoisingGraph, heldOutputs, type ModuleConfig } from "../diffusion/modules.js";
import {
  add,
  argMax,
  cast,
  chunkTerms,
  concat,
  constant,
  drawTokens,
  type GraphModule,
  gather,
  input,
  type LogitTerm,
  matmul,
  reduceMax,
  reshape,
  rowChunks,
  slice,
  softmax,
  type Target,
  type Tensor,
  termsAt,
  tiedLogits,
  withScope,
} from "../graph/index.js";
import type { ActiveShape } from "../model/active-rows.js";
import type { BatchShape } from "../model/layout.js";
import { guidedRows, unguidedRows } from "./guidance.js";

/** Ids never written: inside the text, and in the last gap, where it may end. */
export interface ForbiddenTokens {
  readonly inside: readonly number[];
  readonly ending: readonly number[];
}

const FORBIDDEN = -1e9;

/** What a step's graph has beside the batch's shape. */
export interface StepShape {
  /** Whether the likeliest tokens are wanted. */
  readonly guess: boolean;
  /** Whether every row has a twin. */
  readonly guided: boolean;
  /** "all": every row is computed; else the active rows of the samples, beside kept keys and values of the others. */
  readonly rows: "all" | ActiveShape;
  /** Rows of the samples that the tokens are drawn at: the last layer is computed for them alone. null: for all that are computed. */
  readonly drawn: ActiveShape | null;
  /**
   * How tokens are drawn: in the graph, by these inputs (temperature, topK and topP, float32 [1]); or by the host, from logits, or from rows
   * that `headModule` makes logits of.
   */
  readonly rounding: Readonly<Record<"temperature" | "topK" | "topP", boolean>> | "logits" | "rows";
  /** Whether the rows that are computed leave their keys and values. */
  readonly hold: boolean;
}

/**
 * @param shape of the samples: B rows
 * @param target what the program is for
 */
export function samplingModule(
  config: ModuleConfig,
  shape: BatchShape,
  forbidden: ForbiddenTokens,
  { guess, guided, rows, drawn: drawnRows, rounding, hold }: StepShape,
  target?: Target,
): GraphModule {
  const { model } = config;
  const sidesCount = guided ? 2 : 1;
  const ofBothSides = (some: ActiveShape) => ({ ...some, groups: sidesCount * some.groups });
  const active = rows === "all" ? null : ofBothSides(rows);
  const network = { ...shape, batchSize: sidesCount * shape.batchSize };
  const graph = denoisingGraph(config, network, active, drawnRows && ofBothSides(drawnRows));
  const { logits, tokens, gaussian: moving, predicted, embedding, outputs } = graph;
  const positions = shape.batchSize * shape.length;
  return withScope("rounding", () => {
    const { sides, combine } = guided ? guidedRows() : unguidedRows;
    const own = (x: Tensor) => sides(x)[0];
    const sideTerms = sides(logits[0].x).map((_, side) =>
      logits.map((term) => ({ ...term, x: sides(term.x)[side] })),
    );
    const combinedOf = (terms: readonly LogitTerm[]) =>
      terms.map((term) => ({ ...term, x: combine(sides(term.x)) }));
    const combinedTerms = combinedOf(logits);
    const ending = input("ending", "int64", [positions]);
    const allowed = allowedLogits(model.vocabSize, forbidden);

    const draw = input("draw", "int64", [null]);
    const drawn = termsAt(graph.drawn ? combinedOf(graph.drawn.logits) : combinedTerms, (x) =>
      gather(x, draw),
    );
    const held = hold ? heldOutputs(graph, rows === "all" ? "all" : "active") : {};
    const rounded: Record<string, Tensor> = {
      // What all rows say of the last layer is not computed for the router's sake.
      ...(drawnRows && !guess ? {} : outputs),
      ...held,
    };
    const drawEnding = gather(ending, draw);
    if (rounding === "rows") {
      rounded.drawRows = concat(
        drawn.map(({ x }) => x),
        1,
      );
      rounded.drawEnding = drawEnding;
    } else if (rounding === "logits") rounded.drawLogits = allowed(drawn, drawEnding);
    else {
      const setting = (name: keyof typeof rounding) => (rounding[name] ? input(name, "float32", [1]) : null);
      const { id, confidence } = drawTokens(allowed(drawn, drawEnding), {
        uniform: input("uniform", "float32", [null]),
        temperature: setting("temperature"),
        topK: setting("topK"),
        topP: setting("topP"),
      });
      rounded.drawnToken = id;
      rounded.drawnProbability = confidence;
    }

    const averages = moving !== null && model.prediction === "mixture";
    if (guess || averages) {
      const chunks = rowChunks(positions, own(guess ? predicted : moving!), target);
      const ends = chunks.take(ending);
      const probabilities = (of: readonly LogitTerm[]) =>
        chunkTerms(of, chunks).map((terms, i) => softmax(allowed(terms, ends[i])));
      const combined = guess || !guided ? probabilities(combinedTerms) : [];
      if (averages) {
        const bySide = guided ? sideTerms.map(probabilities) : [combined];
        const means = bySide.map((parts) => chunks.put(parts.map((p) => matmul(p, tokens.codebook))));
        rounded.x0 = combine(means);
      }
      if (guess) {
        const parts = combined;
        const column = (pick: (p: Tensor) => Tensor) =>
          reshape(chunks.put(parts.map((p) => reshape(pick(p), [null, 1]))), [positions]);
        rounded.likeliest = cast(
          column((p) => cast(argMax(p), "float32")),
          "int64",
        );
        rounded.probability = column((p) => reduceMax(p, [-1]));
      }
    }
    if (moving) rounded.x0 ??= combine(sides(embedding));
    return { name: "sampling", outputs: rounded };
  });
}

/** The logits of some rows, below -1e8 at tokens that may not stand there. ends: int64 [rows], 1 where the text may end. */
function allowedLogits(vocabSize: number, forbidden: ForbiddenTokens) {
  const penalties = new Float32Array(2 * vocabSize);
  for (const id of forbidden.inside) penalties[id] = FORBIDDEN;
  for (const id of forbidden.ending) penalties[vocabSize + id] = FORBIDDEN;
  const table = constant(penalties, [2, vocabSize]);
  return (terms: readonly LogitTerm[], ends: Tensor) => add(tiedLogits(terms), gather(table, ends));
}

/**
 * Logits of rows that a denoiser has handed over: drawRows float32 [R, W] (what each term of the logits takes, side by side), drawEnding
 * int64 [R] -> drawLogits float32 [R, V].
 */
export function headModule(config: ModuleConfig, forbidden: ForbiddenTokens): GraphModule {
  // Of this denoiser only the tables are asked for, which do not know its shape.
  const { logits } = denoisingGraph(config, { batchSize: 1, length: 1, globalSlots: 0 });
  return withScope("rounding", () => {
    const widths = termsAt(logits, (x) => x).map(({ x }) => x.staticShape[1]);
    const rows = input("drawRows", "float32", [null, widths.reduce((sum, width) => sum + width, 0)]);
    let end = 0;
    const terms = termsAt(logits, (x) => {
      const first = end;
      end += x.staticShape[1];
      return slice(rows, 1, first, end);
    });
    const ends = input("drawEnding", "int64", [null]);
    const drawLogits = allowedLogits(config.model.vocabSize, forbidden)(terms, ends);
    return { name: "head", outputs: { drawLogits } };
  });
}
