/**
 * @file What training asks of the router, and what it reports, for each sequence over its valid tokens:
 *
 *     balance = E * sum_e f_e P_e        f_e: share of the assignments that went to expert e, P_e: mean probability (Switch, 2101.03961)
 *     z       = mean (log sum_e exp logit_e)^2
 *     entropy = mean -sum_e p_e log p_e
 *
 * Perfectly even loads give balance 1. A sequence without valid tokens yields zeros.
 */
import {
  cast,
  div,
  logSumExp,
  maximum,
  mul,
  reduceSum,
  reshape,
  rowDot,
  sub,
  type Tensor,
  withScope,
} from "../../graph/index.js";
import type { Routing, RoutingOptions } from "./router.js";

export interface RouterLosses {
  /** float32 [B], differentiable; the shares f are constants and count what was chosen, dropped or not. */
  readonly balance: Tensor;
  /** float32 [B], differentiable. */
  readonly z: Tensor;
}

export interface RouterStatistics {
  /** float32 [B, E]: tokens of each sequence that chose each expert, dropped or not: what balance is about. */
  readonly demand: Tensor;
  /** float32 [B]: mean entropy of the router's probabilities, in nats; log E when it has no preference. */
  readonly entropy: Tensor;
}

/** Losses and statistics of one routing. logits float32 [T, E] are those that were routed. */
export function routerLosses(
  logits: Tensor,
  routing: Routing,
  { sequences, length, valid }: Pick<RoutingOptions, "sequences" | "length" | "valid">,
): { losses: RouterLosses; statistics: RouterStatistics } {
  const numExperts = logits.staticShape[1];
  const { probabilities, demand } = routing;
  return withScope("router", () => {
    const mask = reshape(cast(valid, "float32"), [sequences, length, 1]);
    const tokens = maximum(reduceSum(mask, [1]), 1); // [B, 1]
    const rowMean = (x: Tensor): Tensor =>
      div(reduceSum(mul(reshape(x, [sequences, length, x.staticShape[1]]), mask), [1]), tokens);

    const shares = div(demand, maximum(reduceSum(demand, [1], true), 1));
    const balance = mul(reduceSum(mul(shares, rowMean(probabilities)), [1]), numExperts);
    const normaliser = logSumExp(logits);
    const z = reshape(rowMean(mul(normaliser, normaliser)), [sequences]);
    const entropy = reshape(rowMean(sub(normaliser, rowDot(probabilities, logits))), [sequences]);
    return { losses: { balance, z }, statistics: { demand, entropy } };
  });
}
