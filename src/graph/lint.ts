/**
 * @file The last check before a model is written: operators that ONNX Runtime 1.30 is known to compute wrongly or slowly are refused.
 */
import type { OnnxNode } from "./onnx.js";

interface Rule {
  readonly refuses: (node: OnnxNode) => boolean;
  readonly why: string;
}

const rules: readonly Rule[] = [
  {
    refuses: (n) => n.type === "ScatterND" && (n.attributes?.reduction ?? "none") !== "none",
    why: "ScatterND with a reduction loses updates on duplicate indices when two threads run; gather by an inverse permutation or use ScatterElements",
  },
  {
    refuses: (n) => n.type === "ConstantOfShape",
    why: "ConstantOfShape yields floats whatever is asked of it; expand a constant instead",
  },
  {
    refuses: (n) => /^Random|^Multinomial$|^Bernoulli$/.test(n.type),
    why: "random operators ignore the counter-based generator; feed the numbers",
  },
  {
    refuses: (n) => n.type === "Dropout",
    why: "Dropout draws its own numbers; multiply by a mask that is fed",
  },
];

/** Throws on the first node that a rule refuses, naming the node and the way out. */
export function lint(nodes: readonly OnnxNode[]): void {
  for (const node of nodes)
    for (const rule of rules)
      if (rule.refuses(node)) throw new Error(`onnx: ${node.type} at ${node.name} is refused: ${rule.why}`);
}
