/** @file The ONNX writer: lowers a module, names its values and encodes the protobuf that ONNX Runtime reads. */
import { PbfWriter } from "pbf";
import { lint } from "./lint.js";
import { lower } from "./lower.js";
import { type GraphModule, leavesOf, rootsOf } from "./module.js";
import type { OnnxAttribute, OnnxForm } from "./operator.js";
import { cutNodes, joinNodes, type Pack, packsOf } from "./packs.js";
import { cpuTarget, type Target } from "./target.js";
import { type ConstantAttributes, constantKey, type LeafAttributes, type Tensor } from "./tensor.js";
import { type DType, type IoSpec, onnxTypes, type TypedData } from "./types.js";
import { topologicalOrder } from "./walk.js";

const OPSET = 22;
const IR_VERSION = 10;
export const GRADIENT_PREFIX = "gradient:";

/** An encoded model with the names and types of its ends. Gradient names carry the prefix "gradient:". */
export interface OnnxProgram {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly inputs: readonly IoSpec[];
  readonly parameters: readonly IoSpec[];
  readonly outputs: readonly IoSpec[];
  readonly gradients: readonly IoSpec[];
  /** The arrays that parameters are fed as and gradients come as; null: each by its own name. */
  readonly packs: { readonly parameters: readonly Pack[]; readonly gradients: readonly Pack[] } | null;
  /** Number of ONNX nodes: session creation grows faster than linearly with it. */
  readonly nodeCount: number;
}

export interface OnnxNode extends OnnxForm {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}
interface Initializer {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedData;
}

/** Writes a module as an ONNX model for a target. Throws when it holds an operator that is known to be wrong (see lint). */
export function writeOnnx(module: GraphModule, target: Target = cpuTarget): OnnxProgram {
  const roots = lower(rootsOf(module), target);
  const names = [
    ...Object.keys(module.outputs),
    ...Object.keys(module.gradients ?? {}).map((name) => GRADIENT_PREFIX + name),
  ];
  const specs = (leaves: Map<string, Tensor>): IoSpec[] =>
    Array.from(leaves, ([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const inputs = specs(leavesOf(roots, "input"));
  const parameters = specs(leavesOf(roots, "parameter"));
  const ends = roots.map(({ dtype, shape }, i) => ({ name: names[i], dtype, shape }));
  const count = Object.keys(module.outputs).length;
  const outputs = ends.slice(0, count);
  const gradients = ends.slice(count);
  const packs = target.cheapTransfers
    ? null
    : { parameters: packsOf("parameters.", parameters), gradients: packsOf("gradients.", gradients) };
  const emitted = emit(roots, names, packs);
  lint(emitted.nodes);
  const crossing = (specs: readonly IoSpec[], joined: readonly Pack[] | undefined): readonly IoSpec[] =>
    joined ? joined.map(({ name, size }) => ({ name, dtype: "float32", shape: [size] })) : specs;
  const fed = [...inputs, ...crossing(parameters, packs?.parameters)];
  checkNames(module.name, emitted, fed);
  return {
    name: module.name,
    bytes: encode(module.name, emitted, fed, [...outputs, ...crossing(gradients, packs?.gradients)]),
    inputs,
    parameters,
    outputs,
    gradients,
    packs,
    nodeCount: emitted.nodes.length,
  };
}

interface Emitted {
  readonly nodes: OnnxNode[];
  readonly initializers: Initializer[];
}

function emit(roots: readonly Tensor[], rootNames: readonly string[], packs: OnnxProgram["packs"]): Emitted {
  const nodes: OnnxNode[] = [];
  const initializers: Initializer[] = [];
  const constants = new Map<string, string>();
  const values = new Map<Tensor, string>();
  const shapes = new Map(Array.from(leavesOf(roots, "parameter"), ([name, x]) => [name, x.staticShape]));

  const initializer = (dtype: DType, shape: readonly number[], data: TypedData): string => {
    // Small constants (axes, scalars, shapes) recur hundreds of times: one initializer serves all.
    const key = constantKey({ dtype, shape, data });
    const known = key !== null ? constants.get(key) : undefined;
    if (known) return known;
    const name = `constant_${initializers.length}`;
    initializers.push({ name, dtype, shape, data });
    if (key !== null) constants.set(key, name);
    return name;
  };

  const vector = (list: readonly number[]): string =>
    initializer(
      "int64",
      [list.length],
      BigInt64Array.from(list, (v) => BigInt(v)),
    );
  for (const pack of packs?.parameters ?? [])
    for (const part of pack.parts) nodes.push(...cutNodes(pack, part, shapes.get(part.name)!, vector));

  // A value computed for exactly one output takes that output's name; leaves and values wanted twice go through Identity.
  const direct = new Map<Tensor, string>();
  for (const [i, root] of roots.entries())
    if (root.node.operator.kind === "primitive" && !direct.has(root)) direct.set(root, rootNames[i]);

  for (const node of topologicalOrder(roots)) {
    const { operator, attributes } = node;
    switch (operator.kind) {
      case "input":
      case "parameter":
        values.set(node.outputs[0], (attributes as LeafAttributes).name);
        break;
      case "constant": {
        const { dtype, shape, data } = attributes as ConstantAttributes;
        values.set(node.outputs[0], initializer(dtype, shape, data));
        break;
      }
      case "primitive": {
        const form = operator.onnx(attributes, node.inputs);
        const name = `${node.scope ? `${node.scope}/` : ""}${operator.name}_${node.id}`;
        const outputs = node.outputs.map((out, i) => direct.get(out) ?? (i === 0 ? name : `${name}.${i}`));
        for (const [i, out] of node.outputs.entries()) values.set(out, outputs[i]);
        const extra = (form.constants ?? []).map((list) => (list === null ? "" : vector(list)));
        const own = node.inputs.map((x) => values.get(x)!);
        const places = form.places ?? own.map((_, i) => i);
        const inputs = [...places.map((i) => (i === null ? "" : own[i])), ...extra];
        nodes.push({ ...form, name, inputs, outputs });
        break;
      }
      default:
        throw new Error(`onnx: ${operator.name} should have been lowered`);
    }
  }
  for (const [i, root] of roots.entries()) {
    const value = values.get(root)!;
    if (value !== rootNames[i])
      nodes.push({ type: "Identity", name: `identity_${i}`, inputs: [value], outputs: [rootNames[i]] });
  }
  for (const pack of packs?.gradients ?? []) nodes.push(...joinNodes(pack, vector));
  return { nodes, initializers };
}

/** @throws Error when two values have one name: an input and an output, say, or a parameter and what the writer named itself */
function checkNames(module: string, { nodes, initializers }: Emitted, fed: readonly IoSpec[]): void {
  const seen = new Set<string>();
  const made = nodes.flatMap(({ outputs }) => outputs);
  for (const name of [...[...fed, ...initializers].map((value) => value.name), ...made]) {
    if (seen.has(name))
      throw new Error(
        `onnx: expected a name of its own for every value of "${module}", got "${name}" twice; rename an input, parameter or output`,
      );
    seen.add(name);
  }
}

// Field numbers are those of onnx.proto (ONNX IR 10).
function encode(
  name: string,
  { nodes, initializers }: Emitted,
  inputs: readonly IoSpec[],
  outputs: readonly IoSpec[],
): Uint8Array {
  const pbf = new PbfWriter();
  pbf.writeVarintField(1, IR_VERSION);
  pbf.writeStringField(2, "moe-diffuseq");
  pbf.writeMessage(
    7,
    (_: null, graph: PbfWriter) => {
      for (const node of nodes) graph.writeMessage(1, writeNode, node);
      graph.writeStringField(2, name);
      for (const item of initializers) graph.writeMessage(5, writeInitializer, item);
      for (const spec of inputs) graph.writeMessage(11, writeValueInfo, spec);
      for (const spec of outputs) graph.writeMessage(12, writeValueInfo, spec);
    },
    null,
  );
  for (const [domain, version] of [
    ["", OPSET],
    ["com.microsoft", 1],
  ] as const)
    pbf.writeMessage(
      8,
      (_: null, set: PbfWriter) => {
        set.writeStringField(1, domain);
        set.writeVarintField(2, version);
      },
      null,
    );
  return pbf.finish();
}

function writeNode(node: OnnxNode, pbf: PbfWriter): void {
  for (const value of node.inputs) pbf.writeStringField(1, value);
  for (const value of node.outputs) pbf.writeStringField(2, value);
  pbf.writeStringField(3, node.name);
  pbf.writeStringField(4, node.type);
  for (const entry of Object.entries(node.attributes ?? {})) pbf.writeMessage(5, writeAttribute, entry);
  if (node.domain) pbf.writeStringField(7, node.domain);
}

function writeAttribute([name, value]: [string, OnnxAttribute], pbf: PbfWriter): void {
  pbf.writeStringField(1, name);
  if (typeof value === "number") {
    pbf.writeVarintField(3, value);
    pbf.writeVarintField(20, 2);
  } else if (typeof value === "string") {
    pbf.writeStringField(4, value);
    pbf.writeVarintField(20, 3);
  } else if ("float" in value) {
    pbf.writeFloatField(2, value.float);
    pbf.writeVarintField(20, 1);
  } else {
    for (const v of value) pbf.writeVarintField(8, v);
    pbf.writeVarintField(20, 7);
  }
}

function writeInitializer({ name, dtype, shape, data }: Initializer, pbf: PbfWriter): void {
  for (const d of shape) pbf.writeVarintField(1, d);
  pbf.writeVarintField(2, onnxTypes[dtype]);
  pbf.writeStringField(8, name);
  pbf.writeBytesField(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function writeValueInfo({ name, dtype, shape }: IoSpec, pbf: PbfWriter): void {
  pbf.writeStringField(1, name);
  pbf.writeMessage(
    2,
    (_: null, type: PbfWriter) =>
      type.writeMessage(
        1,
        (__: null, tensor: PbfWriter) => {
          tensor.writeVarintField(1, onnxTypes[dtype]);
          tensor.writeMessage(
            2,
            (___: null, dims: PbfWriter) => {
              for (const [i, d] of shape.entries())
                dims.writeMessage(
                  1,
                  (value: number | null, dim: PbfWriter) =>
                    value === null ? dim.writeStringField(2, `${name}_${i}`) : dim.writeVarintField(1, value),
                  d,
                );
            },
            null,
          );
        },
        null,
      ),
    null,
  );
}
