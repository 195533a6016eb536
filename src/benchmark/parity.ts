/** @file Do two programs compute the same step? Loss and the gradient of every parameter, from equal weights and an equal batch. */
import { rmSync } from "node:fs";
import { readGradients } from "./dump.js";
import type { StepProcess } from "./step-process.js";
import type { Workload } from "./workload.js";

/** Largest differences that rounding in float32 explains. */
export const tolerance = { loss: 1e-5, gradient: 1e-3 };

/** What is not finite is null. Plain JSON. */
export interface Parity {
  readonly loss: readonly [ours: number | null, peer: number | null];
  /** |ours - peer| / |peer|. */
  readonly lossError: number | null;
  /** max |ours - peer| / max |peer| a parameter, largest first. */
  readonly gradientErrors: readonly { readonly name: string; readonly error: number | null }[];
  readonly holds: boolean;
}

/** One program's step. */
export interface StepGradients {
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Float32Array>>;
}

/** Loss and gradients of a process's batch; its weights stay as they are. @param path where the gradients travel */
export async function gradientsOf(
  child: StepProcess,
  definitions: Workload["definitions"],
  path: string,
): Promise<StepGradients> {
  const { loss } = await child.ask("gradients", { path });
  const gradients = readGradients(path, definitions);
  rmSync(path); // the next program may map the file, and would leave in it what it lacks itself
  return { loss, gradients };
}

/** Both of the same weights and batch. */
export function compareGradients(ours: StepGradients, peer: StepGradients): Parity {
  const size = (error: number | null) => error ?? Number.MAX_VALUE;
  const gradientErrors = Object.keys(peer.gradients)
    .map((name) => ({ name, error: finite(relativeError(ours.gradients[name], peer.gradients[name])) }))
    .sort((x, y) => size(y.error) - size(x.error));
  const lossError = finite(Math.abs(ours.loss - peer.loss) / Math.abs(peer.loss));
  const holds =
    size(lossError) <= tolerance.loss &&
    gradientErrors.every(({ error }) => size(error) <= tolerance.gradient);
  return { loss: [finite(ours.loss), finite(peer.loss)], lossError, gradientErrors, holds };
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

/** "1.2e-7", or that there is no such number. */
export const formatError = (error: number | null): string =>
  error === null ? "not finite" : error.toExponential(1);

function relativeError(ours: Float32Array, peer: Float32Array): number {
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < peer.length; i++) {
    difference = Math.max(difference, Math.abs(ours[i] - peer[i]));
    largest = Math.max(largest, Math.abs(peer[i]));
  }
  return largest === 0 ? difference : difference / largest; // NaN where either has numbers that are none
}
