/** @file Do two programs compute the same step? Loss and the gradient of every parameter, from equal weights and an equal batch. */
import { join } from "node:path";
import { readGradients } from "./dump.js";
import type { StepProcess } from "./step-process.js";
import type { Workload } from "./workload.js";

/** Largest differences that rounding in float32 explains. */
export const tolerance = { loss: 1e-5, gradient: 1e-3 };

export interface Parity {
  readonly loss: readonly [ours: number, peer: number];
  /** |ours - peer| / |peer|. */
  readonly lossError: number;
  /** max |ours - peer| / max |peer| a parameter, largest first. */
  readonly gradientErrors: readonly { readonly name: string; readonly error: number }[];
  readonly holds: boolean;
}

/** Both start from the same dump; neither updates its weights. */
export async function checkParity(
  ours: StepProcess,
  peer: StepProcess,
  definitions: Workload["definitions"],
  folder: string,
): Promise<Parity> {
  const run = async (child: StepProcess, file: string) => {
    const path = join(folder, file);
    const { loss } = await child.ask("gradients", { path });
    return { loss, gradients: readGradients(path, definitions) };
  };
  const [a, b] = [await run(ours, "ours.bin"), await run(peer, "peer.bin")];
  const gradientErrors = Object.keys(b.gradients)
    .map((name) => ({ name, error: relativeError(a.gradients[name], b.gradients[name]) }))
    .sort((x, y) => y.error - x.error);
  const lossError = Math.abs(a.loss - b.loss) / Math.abs(b.loss);
  const holds = lossError <= tolerance.loss && gradientErrors[0].error <= tolerance.gradient;
  return { loss: [a.loss, b.loss], lossError, gradientErrors, holds };
}

function relativeError(ours: Float32Array, peer: Float32Array): number {
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < peer.length; i++) {
    difference = Math.max(difference, Math.abs(ours[i] - peer[i]));
    largest = Math.max(largest, Math.abs(peer[i]));
  }
  return largest === 0 ? difference : difference / largest;
}
