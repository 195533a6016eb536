/** @file Do two programs compute the same step? Loss and the gradient of every parameter, from equal weights and an equal batch. */
import { rmSync } from "node:fs";
import { readGradients } from "./dump.js";
import type { StepProcess } from "./step-process.js";
import type { Workload } from "./workload.js";

/** Largest differences that rounding in float32 explains. */
export const tolerance = { loss: 1e-5, gradient: 1e-3 };

export interface Parity {
  readonly loss: readonly [ours: number, peer: number];
  /** |ours - peer| / |peer|. */
  readonly lossError: number;
  /** max |ours - peer| / max |peer| a parameter, largest first; infinite where either is not finite. */
  readonly gradientErrors: readonly { readonly name: string; readonly error: number }[];
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
  const gradientErrors = Object.keys(peer.gradients)
    .map((name) => ({ name, error: relativeError(ours.gradients[name], peer.gradients[name]) }))
    .sort((x, y) => (x.error === y.error ? 0 : y.error - x.error));
  const lossError = Math.abs(ours.loss - peer.loss) / Math.abs(peer.loss);
  const holds =
    lossError <= tolerance.loss && gradientErrors.every(({ error }) => error <= tolerance.gradient);
  return { loss: [ours.loss, peer.loss], lossError, gradientErrors, holds };
}

function relativeError(ours: Float32Array, peer: Float32Array): number {
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < peer.length; i++) {
    difference = Math.max(difference, Math.abs(ours[i] - peer[i]));
    largest = Math.max(largest, Math.abs(peer[i]));
  }
  const error = largest === 0 ? difference : difference / largest;
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error; // either has numbers that are none
}
