/** @file Mixture of experts: the router, its losses, the dropless computation, and the feed-forward half of a layer built from them. */
export { type ExpertWeights, runExperts } from "./experts.js";
export {
  type FeedForwardConfig,
  type FeedForwardResult,
  feedForward,
  feedForwardParameters,
  selectionBiasName,
  type TokenLayout,
} from "./feed-forward.js";
export { type RouterKind, type Routing, type RoutingOptions, routeTokens } from "./router.js";
export { type RouterLosses, type RouterStatistics, routerLosses } from "./router-losses.js";
export { updatedSelectionBias } from "./selection-bias.js";
