/**
 * @file Parameters and gradients that cross to a graphics card and back joined into few arrays: each transfer costs a millisecond or more
 * there, however small. The program cuts the arrays apart and joins them again.
 */
import type { OnnxNode } from "./onnx.js";
import { type IoSpec, showShape, sizeOf } from "./types.js";

export interface PackPart {
  readonly name: string;
  /** Elements of the array before it, and its own. */
  readonly start: number;
  readonly size: number;
}

/** An array float32 [size] in which tensors stand one after the other. */
export interface Pack {
  readonly name: string;
  readonly size: number;
  readonly parts: readonly PackPart[];
}

/** Elements of an array at most, unless one tensor alone has more: 128 MiB, what every WebGPU implementation can bind. */
const LARGEST = 2 ** 25;

/** The arrays for float32 tensors, named `prefix` and a number. @throws Error when a shape is not known */
export function packsOf(prefix: string, specs: readonly IoSpec[]): Pack[] {
  const packs: { name: string; size: number; parts: PackPart[] }[] = [];
  for (const { name, shape } of specs) {
    if (shape.includes(null))
      throw new Error(`packs: expected "${name}" of known shape, got ${showShape(shape)}`);
    const size = sizeOf(shape as readonly number[]);
    let pack = packs.at(-1);
    if (!pack || pack.size + size > LARGEST) {
      pack = { name: `${prefix}${packs.length}`, size: 0, parts: [] };
      packs.push(pack);
    }
    pack.parts.push({ name, start: pack.size, size });
    pack.size += size;
  }
  return packs;
}

/** A constant's name, for int64 [n]. */
type Vector = (values: readonly number[]) => string;

/** The nodes that cut one tensor out of an array. */
export function cutNodes(pack: Pack, part: PackPart, shape: readonly number[], vector: Vector): OnnxNode[] {
  const { name, start, size } = part;
  const flat = `${name}/flat`;
  return [
    {
      type: "Slice",
      name: flat,
      inputs: [pack.name, vector([start]), vector([start + size]), vector([0])],
      outputs: [flat],
    },
    { type: "Reshape", name: `${name}/shaped`, inputs: [flat, vector(shape)], outputs: [name] },
  ];
}

/** The nodes that join tensors to an array. */
export function joinNodes({ name, parts }: Pack, vector: Vector): OnnxNode[] {
  const flats = parts.map((part) => `${part.name}/flat`);
  return [
    ...parts.map((part, i) => ({
      type: "Reshape",
      name: flats[i],
      inputs: [part.name, vector([part.size])],
      outputs: [flats[i]],
    })),
    { type: "Concat", name: `${name}/joined`, attributes: { axis: 0 }, inputs: flats, outputs: [name] },
  ];
}
