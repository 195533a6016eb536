/** @file The same models in PyTorch, where a Python has it: bench/peers/denoiser.py, compiled or not, in float32 or bfloat16. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { RunConfig } from "../config/index.js";
import { UserError } from "../errors.js";
import { environmentKeepingMemory } from "../runtime/heap.js";
import type { DeviceKind } from "../runtime/index.js";
import { SamplingProcess, samplingTimes } from "../sampling/sampling-times.js";
import { StepProcess } from "./step-process.js";

/** Variants of the peer, by the names users give them. */
export const peerVariants = ["eager", "compiled", "bfloat16", "compiled-bfloat16"] as const;
export type PeerVariant = (typeof peerVariants)[number];

/** A Python with PyTorch (its version, and on a graphics card the card's name), or why there is none. */
export type PeerPython =
  | { readonly python: string; readonly torch: string }
  | { readonly python: null; readonly missing: string };

const script = fileURLToPath(new URL("../../bench/peers/denoiser.py", import.meta.url));

/** PyTorch's name for where it computes what ours computes on a device. */
const torchDevice = (device: DeviceKind): "cuda" | "cpu" => (device === "webgpu" ? "cuda" : "cpu");

/**
 * @param path a Python. Default: `python3` on the path
 * @param device where ours is measured: for a graphics card PyTorch must see one too. Default "cpu"
 */
export async function findPeer(path = "python3", device: DeviceKind = "cpu"): Promise<PeerPython> {
  const missing = (why: string): PeerPython => ({ python: null, missing: why });
  if (!existsSync(script)) return missing("the peers (bench/peers) are not part of this installation");
  const child = spawn(path, ["-c", VERSION], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const code = await new Promise<number | null>((resolve) => {
    child.once("error", () => resolve(null));
    child.once("close", resolve);
  });
  if (code === null) return missing(`there is no ${path}`);
  if (code !== 0) return missing(`${path} has no PyTorch`);
  const [torch, ...card] = output.trim().split(" ");
  if (torchDevice(device) === "cpu") return { python: path, torch };
  if (card.length === 0) return missing(`PyTorch ${torch} of ${path} sees no card that speaks CUDA`);
  return { python: path, torch: `${torch} on ${card.join(" ")}` };
}

/** Prints the version, and the name of the card where there is one. */
const VERSION =
  "import torch; c = torch.cuda; print(torch.__version__, c.get_device_name() if c.device_count() else '')";

/** The Python that `flag` names. @throws UserError where it has no PyTorch */
export async function requirePeer(
  path: string,
  flag = "--python",
  device: DeviceKind = "cpu",
): Promise<Extract<PeerPython, { python: string }>> {
  const peer = await findPeer(path, device);
  if (peer.python !== null) return peer;
  throw new UserError(
    `${flag}: ${peer.missing}; pass a Python in which \`import torch\` works${device === "webgpu" ? " and finds a card" : ""}.`,
  );
}

/** Whether the peer computes in float32, so that its gradients must be ours. */
export const isExact = (variant: PeerVariant): boolean => !variant.includes("bfloat16");

export interface PeerOptions {
  readonly variant: PeerVariant;
  readonly threads: number;
  /** Where ours is measured. Default "cpu". */
  readonly device?: DeviceKind;
  /** The vocabulary's products at every position. Default false. */
  readonly allRows?: boolean;
}

/** Starts a peer on a dump (see dump.ts). What it frees is kept, as ours is: by the C library's defaults its steps take up to half longer. */
export async function startPeer(
  python: string,
  folder: string,
  { variant, threads, device = "cpu", allRows = false }: PeerOptions,
): Promise<StepProcess> {
  const flags = [
    ...["--device", torchDevice(device)],
    ...(variant.includes("compiled") ? ["--compile"] : []),
    ...(isExact(variant) ? [] : ["--bfloat16"]),
    ...(allRows ? ["--all-rows"] : []),
  ];
  const args = [script, folder, "--serve", "--threads", String(threads), ...flags];
  const name = `PyTorch ${variant}${allRows ? ", all rows" : ""}`;
  return (await StepProcess.start(name, python, args, environmentKeepingMemory(process.env))).child;
}

/** Levels of DiffuSeq-v2's solver, DPM-Solver++ 2M over even times, as the peer reads them; null in the masked limit, which has none. */
export function solverLevels(
  { diffusion }: RunConfig,
  steps: number,
): Record<"time" | "signal" | "sigma" | "channel", number[]> | null {
  if (!diffusion.gaussian) return null;
  const process = new SamplingProcess(diffusion);
  const times = samplingTimes(process, steps, "uniform", diffusion.minTime);
  const levels = Array.from(times, (time) => process.level(Math.min(time, 1 - 1e-4)));
  const column = (name: "time" | "signal" | "sigma" | "channel") => levels.map((level) => level[name]);
  return {
    time: column("time"),
    signal: column("signal"),
    sigma: column("sigma"),
    channel: column("channel"),
  };
}
