/** @file What a model says about one of its parameters: name, shape, whether it learns, and how it starts. */
import { parameter, type Tensor } from "../graph/index.js";

/** How a parameter is filled before training. `normal` has mean zero. */
export type Initializer =
  | { readonly kind: "normal"; readonly std: number }
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  | { readonly kind: "constant"; readonly value: number };

/** One float32 parameter. `trainable: false` is a buffer: fed and saved, never updated by the optimiser. */
export interface ParameterDefinition {
  readonly name: string;
  readonly shape: readonly number[];
  readonly trainable: boolean;
  /** Of a buffer: it has an average of its own, kept by whoever updates it, as trained parameters have. Default false. */
  readonly averaged?: boolean;
  readonly init: Initializer;
}

/** weight [out, in] and bias [out] of one linear map, named `${name}.weight` and `${name}.bias`. Default std: 1/sqrt(in). */
export const linearParameters = (
  name: string,
  out: number,
  inSize: number,
  std = 1 / Math.sqrt(inSize),
): ParameterDefinition[] => [
  { name: `${name}.weight`, shape: [out, inSize], trainable: true, init: { kind: "normal", std } },
  { name: `${name}.bias`, shape: [out], trainable: true, init: { kind: "zeros" } },
];

/** Finds a parameter's tensor by name. */
export type ParameterLookup = (name: string) => Tensor;

/** One graph tensor for each definition; looking up a name that no definition has is a mistake in the model. */
export function parameterTensors(definitions: readonly ParameterDefinition[]): ParameterLookup {
  const tensors = new Map(definitions.map(({ name, shape }) => [name, parameter(name, shape)]));
  return (name) => {
    const found = tensors.get(name);
    if (!found) throw new Error(`model: no parameter is named "${name}"`);
    return found;
  };
}

/** weight [size] (ones) and bias [size] (zeros) of a layer norm. */
export const layerNormParameters = (name: string, size: number): ParameterDefinition[] => [
  { name: `${name}.weight`, shape: [size], trainable: true, init: { kind: "ones" } },
  { name: `${name}.bias`, shape: [size], trainable: true, init: { kind: "zeros" } },
];
