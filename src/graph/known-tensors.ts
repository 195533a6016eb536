/**
 * @file Which tensors of a graph are known before it runs, because they are made of parameters and constants alone, and what they are: a
 * weight, or a table of embeddings with its rows scaled and a column of biases behind them.
 */
import { evaluateTensors } from "./evaluate.js";
import { NDArray } from "./ndarray.js";
import {
  type ConstantAttributes,
  constantKey,
  type LeafAttributes,
  type Node,
  type Tensor,
} from "./tensor.js";

/** What a known tensor is made of. */
export interface Origin {
  /** Names of the parameters. */
  readonly parameters: ReadonlySet<string>;
  /** Equal for equal values, in any graph over the same parameters. */
  readonly key: string;
}

export class KnownTensors {
  private readonly origins = new Map<Tensor, Origin | null>();

  /** @param values float32 by parameter name */
  constructor(private readonly values: Readonly<Record<string, Float32Array>>) {}

  /** Takes note of a node; those it depends on come before it. */
  visit(node: Node): void {
    const origin = this.originOf(node);
    for (const [i, out] of node.outputs.entries())
      this.origins.set(out, origin && i > 0 ? { ...origin, key: `${origin.key}.${i}` } : origin);
  }

  /** null: it depends on what is fed (or on a large constant). */
  origin(tensor: Tensor): Origin | null {
    return this.origins.get(tensor) ?? null;
  }

  private originOf({ operator, attributes, inputs }: Node): Origin | null {
    switch (operator.kind) {
      case "input":
        return null;
      case "parameter": {
        const { name } = attributes as LeafAttributes;
        return { parameters: new Set([name]), key: name };
      }
      case "constant": {
        const key = constantKey(attributes as ConstantAttributes);
        return key === null ? null : { parameters: new Set(), key };
      }
      default: {
        const parts = inputs.map((x) => this.origin(x));
        if (!parts.every((part) => part !== null)) return null;
        return {
          parameters: new Set(parts.flatMap(({ parameters }) => [...parameters])),
          key: `${operator.name}${JSON.stringify(attributes)}(${parts.map(({ key }) => key).join(", ")})`,
        };
      }
    }
  }

  /** The value of a parameter. @throws Error when it is missing or has another size */
  parameter(tensor: Tensor): Float32Array {
    const { name, shape } = tensor.node.attributes as LeafAttributes;
    const value = this.values[name];
    const size = shape.reduce<number>((product, d) => product * d!, 1);
    if (value?.length !== size)
      throw new Error(`freeze: expected ${size} values for "${name}", got ${value?.length ?? "none"}`);
    return value;
  }

  /** The value of a known tensor, float32. */
  value(tensor: Tensor): Float32Array {
    if (tensor.node.operator.kind === "parameter") return this.parameter(tensor);
    const leaf = (node: Node): NDArray => {
      const parameter = node.outputs[0];
      return NDArray.from({
        dtype: "float32",
        shape: parameter.staticShape,
        data: this.parameter(parameter),
      });
    };
    return Float32Array.from(evaluateTensors([tensor], new Map(), leaf)[0].data);
  }
}
