/**
 * @file The graph language: symbolic tensors, operators, gradients and the ONNX writer.
 */
export { checkpoint } from "./checkpoint.js";
export { cutModule } from "./cut.js";
export { type EvaluateOptions, evaluate, type Values } from "./evaluate.js";
export { type FreezeOptions, freeze, Int8Memory } from "./freeze.js";
export { gradient, vectorJacobianProduct } from "./gradient.js";
export { lower } from "./lower.js";
export { type GraphModule, leavesOf, rootsOf } from "./module.js";
export { NDArray } from "./ndarray.js";
export { GRADIENT_PREFIX, type OnnxProgram, writeOnnx } from "./onnx.js";
export {
  type AdjointContext,
  type CompositeDefinition,
  type CompositeOperator,
  defineComposite,
  definePrimitive,
  type MaybeTensor,
  type OnnxForm,
  type Operator,
  type PrimitiveDefinition,
  type PrimitiveOperator,
} from "./operator.js";
export { type Activation, activation, activationReference } from "./operators/activation.js";
export { after } from "./operators/after.js";
export { drawTokens } from "./operators/draw.js";
export * from "./operators/elementwise.js";
export {
  addRows,
  argMax,
  gather,
  gatherElements,
  maxRows,
  scatterElements,
  topK,
} from "./operators/indexing.js";
export { int8Range, linearInt8, packInt8, quantizeRows } from "./operators/linear-int8.js";
export { logSumExp } from "./operators/log-sum-exp.js";
export { gemm, linear, matmul, rowDot, sumRows } from "./operators/matmul.js";
export { layerNorm, rmsNorm, softmax } from "./operators/normalise.js";
export { cumulativeSum, reduceMax, reduceMean, reduceMin, reduceSum } from "./operators/reduce.js";
export { rotary } from "./operators/rotary.js";
export {
  blockRows,
  blocksOfGroups,
  fromBlocks,
  type RowBlocks,
  toBlocks,
  valuesToBlocks,
} from "./operators/row-blocks.js";
export { fromGroups, groupRows, onesOfGroups, type RowGroups, toGroups } from "./operators/row-groups.js";
export { concat, expand, pad, reshape, slice, splitByCounts, transpose, zeros } from "./operators/shape.js";
export {
  chunkTerms,
  crossEntropy,
  keepsProbabilities,
  type LogitTerm,
  posteriorMean,
  rowChunks,
  termsAt,
  tiedLogits,
} from "./operators/vocabulary.js";
export { cpuTarget, type Target, webgpuTarget } from "./target.js";
export { apply, constant, input, type Node, parameter, Tensor, type TypeInfo, withScope } from "./tensor.js";
export * from "./types.js";
