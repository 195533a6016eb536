/**
 * @file Checks what is handed to a program against what the program declares, before anything runs: a wrong feed can end the process
 * inside ONNX Runtime.
 */
import { UserError } from "../errors.js";
import {
  arrayTypes,
  fitsShape,
  GRADIENT_PREFIX,
  type IoSpec,
  sameShape,
  showShape,
  sizeOf,
  type TensorData,
} from "../graph/index.js";
import { heldOfRows, isHeld, isHeldRows, type ProgramInfo, type RunOptions } from "./device.js";
import type { ParameterLayout } from "./parameter-layout.js";

export type Feeds = Readonly<Record<string, TensorData>>;

const quote = (names: readonly string[]): string =>
  names.length === 0 ? "none" : names.map((name) => `"${name}"`).join(", ");

/** @throws UserError unless there is exactly one value for every input that is not held, each of the declared dtype and shape */
export function checkFeeds(program: ProgramInfo, feeds: Feeds): void {
  const fed = program.inputs.filter(({ name }) => !isHeld(name));
  const specs = new Map(fed.map((spec) => [spec.name, spec]));
  // Also what was looked up and not found: { x: all.x }.
  const missing = [...specs.keys()].filter(
    (name) => !Object.hasOwn(feeds, name) || feeds[name] === undefined,
  );
  const unknown = Object.keys(feeds).filter((name) => !specs.has(name));
  if (missing.length > 0 || unknown.length > 0)
    throw new UserError(
      `program "${program.name}": expected a feed for every input (${quote([...specs.keys()])}); ` +
        `missing ${quote(missing)}, unknown ${quote(unknown)}`,
    );
  for (const [name, spec] of specs) checkFeed(program, spec, feeds[name]);
}

function checkFeed(program: ProgramInfo, { name, dtype, shape }: IoSpec, feed: TensorData): void {
  const where = `program "${program.name}", input "${name}"`;
  if (feed.dtype !== dtype || !fitsShape(shape, feed.shape))
    throw new UserError(
      `${where}: expected ${dtype}${showShape(shape)}, got ${feed.dtype}${showShape(feed.shape)}; ` +
        "feed what the program was built for, or build one for this shape",
    );
  const type = arrayTypes[dtype];
  if (!(feed.data instanceof type))
    throw new UserError(
      `${where}: expected a ${type.name} for ${dtype}, got ${Object.prototype.toString.call(feed.data).slice(8, -1)}`,
    );
  if (feed.data.length !== sizeOf(feed.shape))
    throw new UserError(
      `${where}: expected ${sizeOf(feed.shape)} values for shape ${showShape(feed.shape)}, got ${feed.data.length}` +
        (feed.data.buffer.byteLength === 0 ? "; was the array handed over in an earlier run?" : ""),
    );
}

/** Names, element types and shapes of held tensors. */
export type HeldSpecs = ReadonlyMap<string, Pick<IoSpec, "dtype" | "shape">>;

/** @throws UserError when the program has held tensors but no place for them, or takes one that is not there or is another */
export function checkHeld(program: ProgramInfo, held: HeldSpecs | undefined): void {
  const taken = program.inputs.filter(({ name }) => isHeld(name));
  const named = [...taken, ...program.outputs.filter(({ name }) => isHeld(name))];
  if (!held && named.length > 0)
    throw new UserError(
      `program "${program.name}": expected a place for its ${named.length} held tensors, got none; pass { held } to run`,
    );
  for (const { name, dtype, shape } of taken) {
    const found = held!.get(name);
    if (found?.dtype !== dtype || !sameShape(found.shape, shape))
      throw new UserError(
        `program "${program.name}", input "${name}": expected a held ${dtype}${showShape(shape)}, got ` +
          (found ? `${found.dtype}${showShape(found.shape)}` : "none by that name") +
          "; run the program that leaves it first",
      );
  }
}

/** The outputs of a program that are left as whole held tensors. Their shapes are known in advance. */
export const heldOutputsOf = ({ outputs }: ProgramInfo): readonly IoSpec[] =>
  outputs.filter(({ name }) => isHeld(name) && !isHeldRows(name));

/**
 * @throws UserError unless every output of rows has a held tensor whose rows it can take the place of, and every row number is one of it
 */
export function checkHeldRows(program: ProgramInfo, held: HeldSpecs | undefined, rows?: Int32Array): void {
  for (const { name, dtype, shape } of program.outputs) {
    if (!isHeldRows(name)) continue;
    const where = `program "${program.name}", output "${name}"`;
    const whole = heldOfRows(name);
    const found = held?.get(whole);
    if (found?.dtype !== dtype || !sameShape(found.shape.slice(1), shape.slice(1)))
      throw new UserError(
        `${where}: expected ${dtype} "${whole}" with rows of ${showShape(shape.slice(1))}, got ` +
          (found ? `${found.dtype}${showShape(found.shape)}` : "none by that name") +
          "; run the program that leaves it first",
      );
    if (shape[0] !== rows?.length)
      throw new UserError(
        `${where}: expected heldRows for its ${shape[0]} rows, got ${rows?.length ?? "none"}; pass { heldRows } to run`,
      );
    const last = Number(found.shape[0]) - 1;
    const beyond = rows.find((row) => row < -1 || row > last);
    if (beyond !== undefined)
      throw new UserError(`${where}: expected heldRows from -1 to ${last}, got ${beyond}`);
  }
}

/** Copies the rows of `from` [R, ...] to where `rows` int32 [R] says in `into` [T, ...]; -1: nowhere. */
export function writeRows<A extends TensorData["data"]>(from: A, rows: Int32Array, into: A): void {
  const width = from.length / rows.length;
  for (const [r, row] of rows.entries())
    if (row >= 0) into.set(from.subarray(r * width, (r + 1) * width) as never, row * width);
}

/** Name of the parameter whose gradient an output is. */
export const parameterOfGradient = (spec: Pick<IoSpec, "name">): string =>
  spec.name.slice(GRADIENT_PREFIX.length);

/**
 * @param layout of the parameters given; undefined when none were given
 * @throws UserError when the program reads a parameter or makes a gradient that the store does not hold, or holds in another shape
 */
export function checkParameters(
  program: ProgramInfo,
  layout: ParameterLayout | undefined,
  { slot = "value" }: RunOptions,
): void {
  if (!layout) {
    const needed = program.parameters.length > 0 ? "parameters" : "gradients";
    if (program[needed].length > 0)
      throw new UserError(
        `program "${program.name}": expected a parameter store for its ${program[needed].length} ${needed}, got none; ` +
          "pass { parameters } to run",
      );
    return;
  }
  layout.requireSlot(slot);
  const held = new Map(layout.specs.map((spec) => [spec.name, spec]));
  for (const { name, shape } of program.parameters) {
    const spec = held.get(name);
    if (!spec || !sameShape(shape, spec.shape))
      throw new UserError(
        `program "${program.name}", parameter "${name}": expected shape ${showShape(shape)}, got ` +
          (spec ? showShape(spec.shape) : "no such parameter in the store"),
      );
  }
  for (const spec of program.gradients) {
    const { shape } = layout.require("gradient", parameterOfGradient(spec));
    if (!fitsShape(spec.shape, shape))
      throw new UserError(
        `program "${program.name}", gradient "${spec.name}": expected shape ${showShape(spec.shape)}, got ${showShape(shape)} in the store`,
      );
  }
}
