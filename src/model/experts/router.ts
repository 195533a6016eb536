/**
 * @file The router: which experts a token visits and with what weight. Selections are constants; gradients reach the logits through the
 * gates alone.
 *
 * - top-k: the k largest of logits + selection bias; gates = softmax of those k raw logits. One alone (k = 1) would always have a gate of 1,
 *   from which the router learns nothing: its gate is its probability, as in the Switch Transformer (arXiv 2101.03961, equation 2).
 * - top-p: the fewest experts (at most k) whose probabilities add up to p; gates = their probabilities as they are
 *   (arXiv 2403.07652): renormalised, that of a token with one expert would be 1 too.
 * - expert-choice: within each sequence expert e takes its c = ceil(k * valid / E) most probable tokens; gate = the probability.
 *
 * Probabilities are those of the raw logits over all experts; where experts are ranked for top-p, of logits + selection bias.
 *
 * Every decision looks at one token, or at the valid tokens of one sequence: neither the rest of the batch nor padding changes it.
 */
import {
  add,
  and,
  cast,
  constant,
  cumulativeSum,
  div,
  equal,
  expand,
  gatherElements,
  topK as largest,
  less,
  minimum,
  mul,
  reduceSum,
  reshape,
  scatterElements,
  showShape,
  softmax,
  type Tensor,
  transpose,
  where,
  withScope,
  zeros,
} from "../../graph/index.js";

export type RouterKind = "top-k" | "top-p" | "expert-choice";

export interface RoutingOptions {
  readonly router: RouterKind;
  /** Experts a token visits (top-k), at most (top-p), on average (expert-choice). */
  readonly topK: number;
  /** top-p: the probability to be reached. */
  readonly topP: number;
  /** An expert takes at most ceil(capacityFactor * topK * valid / E) tokens of a sequence; `null`: dropless. */
  readonly capacityFactor: number | null;
  /** Number B of sequences in the batch. */
  readonly sequences: number;
  /** Their length N; the logits have T = B * N rows. */
  readonly length: number;
  /** float32 or bool [T]: 0 on padding. */
  readonly valid: Tensor;
  /** float32 [1, E], added to the logits in the selection only (not used by expert-choice, which is balanced already). */
  readonly selectionBias: Tensor | null;
}

export interface Routing {
  /** int64 [T, K]; the value E means "no expert". K is topK, or E for expert-choice. No expert appears twice in a row. */
  readonly experts: Tensor;
  /** float32 [T, K]; 0 where there is no expert. */
  readonly gates: Tensor;
  /** float32 [T, E]: softmax of the raw logits. */
  readonly probabilities: Tensor;
  /** float32 [B, E]: tokens of each sequence that chose each expert, before any were dropped for capacity. */
  readonly demand: Tensor;
}

/** Assigns tokens to experts. logits float32 [T, E]. */
export function routeTokens(logits: Tensor, options: RoutingOptions): Routing {
  const { router, topK, sequences, length } = options;
  const [tokens, numExperts] = logits.shape;
  if (logits.rank !== 2 || tokens !== sequences * length || numExperts === null)
    throw new Error(
      `router: expected logits [${sequences} x ${length}, experts], got ${showShape(logits.shape)}`,
    );
  if (topK < 1 || topK > numExperts)
    throw new Error(`router: expected topK between 1 and ${numExperts} experts, got ${topK}`);
  return withScope("router", () => {
    const probabilities = softmax(logits);
    const context: Context = {
      ...options,
      logits,
      probabilities,
      numExperts,
      present: cast(reshape(options.valid, [sequences * length, 1]), "bool"),
      validCounts: reduceSum(reshape(cast(options.valid, "int64"), [sequences, length]), [1], true),
    };
    const choice = router === "expert-choice" ? expertChoice(context) : tokenChoice(context);
    const demand = reduceSum(reshape(choice.assigned, [sequences, length, numExperts]), [1]);
    const kept =
      options.capacityFactor === null || router === "expert-choice" ? choice : dropOverflow(choice, context);
    const { experts, gates } = kept;
    return { experts, gates, probabilities, demand };
  });
}

interface Context extends RoutingOptions {
  readonly logits: Tensor;
  readonly probabilities: Tensor;
  readonly numExperts: number;
  /** bool [T, 1]: not padding. */
  readonly present: Tensor;
  /** int64 [B, 1]: tokens of each sequence that are not padding. */
  readonly validCounts: Tensor;
}

/** `assigned` float32 [T, E]: 1 where the token visits the expert. */
interface Choice {
  readonly experts: Tensor;
  readonly gates: Tensor;
  readonly assigned: Tensor;
}

const upTo = (count: number, dtype: "float32" | "int64" = "int64"): Tensor =>
  constant(
    Array.from({ length: count }, (_, i) => i),
    [1, count],
    dtype,
  );

/** Every token takes its best experts: top-k and top-p. */
function tokenChoice({
  router,
  logits,
  probabilities,
  topK,
  topP,
  selectionBias,
  present,
  numExperts,
}: Context): Choice {
  const scores = selectionBias ? add(logits, selectionBias) : logits;
  let experts: Tensor;
  let taken = present;
  if (router === "top-k") experts = largest(scores, topK).indices;
  else {
    const ranked = largest(selectionBias ? softmax(scores) : probabilities, topK);
    experts = ranked.indices;
    // An expert is taken while those before it fall short of topP, so the first one always is.
    const before = cumulativeSum(ranked.values, 1, true);
    taken = and(present, less(before, Math.max(topP, 1e-30)));
  }
  const among = (values: Tensor) => gatherElements(values, experts, 1, true);
  const weights = router === "top-k" && topK > 1 ? softmax(among(logits)) : among(probabilities);
  return withAssignment(where(taken, experts, numExperts), where(taken, weights, 0), numExperts);
}

function withAssignment(experts: Tensor, gates: Tensor, numExperts: number): Choice {
  const [tokens, columns] = experts.staticShape;
  const hit = equal(reshape(experts, [tokens, columns, 1]), reshape(upTo(numExperts), [1, 1, numExperts]));
  return { experts, gates, assigned: reduceSum(cast(hit, "float32"), [1]) };
}

/** Every expert takes its best tokens of each sequence. Padding scores below any probability, and capacity never exceeds the valid tokens. */
function expertChoice(context: Context): Choice {
  const { probabilities, sequences, length, numExperts, topK, capacityFactor, present } = context;
  const share = Math.min(capacityFactor ?? 1, 1);
  const most = Math.ceil((topK * length) / numExperts);
  const scores = reshape(where(present, probabilities, -1), [sequences, length, numExperts]);
  const best = largest(transpose(scores, [0, 2, 1]), most).indices;
  const within = less(
    reshape(upTo(most), [1, 1, most]),
    reshape(capacity(context, share), [sequences, 1, 1]),
  );
  const picked = scatterElements(
    zeros([sequences, numExperts, length]),
    best,
    expand(cast(within, "float32"), [sequences, numExperts, most]),
    2,
  );
  const assigned = reshape(transpose(picked, [0, 2, 1]), [sequences * length, numExperts]);
  const taken = cast(assigned, "bool");
  const experts = where(taken, upTo(numExperts), numExperts);
  return { experts, gates: where(taken, probabilities, 0), assigned };
}

type Shares = Pick<RoutingOptions, "topK"> & { readonly numExperts: number };

/** factor * topK / E as a ratio of integers, so that whoever computes with it rounds alike; the factor counts to 1e-6. */
function shareOf(factor: number, { topK, numExperts }: Shares): { over: number; under: number } {
  const whole = Number.isInteger(factor) ? 1 : 1e6;
  return { over: Math.round(factor * whole) * topK, under: whole * numExperts };
}

/** ceil(factor * topK * valid / E): tokens of a sequence that an expert takes at most. */
export function capacityOf(valid: number, factor: number, shares: Shares): number {
  const { over, under } = shareOf(factor, shares);
  return Math.ceil((valid * over) / under);
}

/** The same for each sequence, int64 [B, 1]. */
function capacity(context: Context, factor: number): Tensor {
  const { over, under } = shareOf(factor, context);
  return div(add(mul(context.validCounts, over), under - 1), under);
}

/** Drops the tokens of a sequence that come to an expert after it is full; the gates of the others stay as they are. */
function dropOverflow(
  { experts, gates, assigned }: Choice,
  context: Context,
): Pick<Routing, "experts" | "gates"> {
  const { sequences, length, numExperts } = context;
  const perRow = [sequences, length, numExperts];
  const place = cumulativeSum(reshape(assigned, perRow), 1, true);
  const limit = cast(capacity(context, context.capacityFactor!), "float32");
  const fits = cast(less(place, reshape(limit, [sequences, 1, 1])), "float32");
  const room = reshape(fits, [sequences * length, numExperts]);
  const keep = cast(gatherElements(room, minimum(experts, numExperts - 1), 1), "bool");
  return { experts: where(keep, experts, numExperts), gates: where(keep, gates, 0) };
}
