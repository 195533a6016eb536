/**
 * @file DPM-Solver++ (arXiv 2211.01095): the probability flow of the Gaussian branch, solved in z - m by data prediction. With
 * lambda = log(a / sigma), sigma the total one of the process and h = lambda_s - lambda_t, the flow from t to s is, exactly,
 *
 *     z_s - m = sigma_s / sigma_t (z_t - m) + sigma_s * integral from lambda_t to lambda_s of e^lambda (x0(lambda) - m) dlambda
 *
 * and the solvers differ in what they put for x0(lambda), E = 1 - e^-h:
 *
 *     order 1     x0(t): a_s E x0, which is DDIM with eta 0
 *     2M          the line through the last two predictions, as in the paper: a_s E ((1 + 1/2r) x0 - 1/2r x1), r = (lambda_t - lambda_1) / h
 *     3M          the parabola through the last three, integrated exactly
 *     2S          x0 at the middle u of the step, found by a step of order 1 and a second run of the network: a_s E x0(u)
 *
 * All are z_s = m + B (z_t - m) + sum_j A_j (x_j - m). The integral is about a / sigma alone, so noise scale and step-0 noise change
 * nothing. A clean end (sigma_s = 0) lies infinitely far in lambda: there the step has order 1, z_s = x0.
 */
import type { DiffusionProcess, NoiseLevel } from "../diffusion/process.js";
import { UserError } from "../errors.js";

export type Floats = Float32Array | Float64Array;

/** One sequence of N positions with codes of width D on its way from t to s. */
export interface SolverContext {
  readonly process: DiffusionProcess;
  readonly t: number;
  readonly s: number;
  /** m: [D]. */
  readonly m: Floats;
  /** The prediction at t: [N, D]. */
  readonly x0: Floats;
  /** The state: [N, D], changed in place. */
  readonly z: Floats;
}

/** Steps of one sequence, in order of time: solvers remember predictions or states, for every position its own. */
export interface Solver {
  /**
   * Moves some positions from t to s.
   * @param positions in the Gaussian branch at t. One that was not there at the last step has no past: it is moved with order 1, then 2 ...
   */
  move(context: SolverContext, positions: readonly number[]): void;
}

/** B and A_j; j = 0 is the newest prediction. */
export interface SolverCoefficients {
  readonly zCoefficient: number;
  readonly x0Coefficients: readonly number[];
}

/** lambda = log(a / sigma), half the log-SNR; Infinity where there is no noise. */
export const halfLogSnr = ({ signal, sigma }: Pick<NoiseLevel, "signal" | "sigma">): number =>
  Math.log(signal / sigma);

/** Steps in lambda below this are taken for none. */
const TINY = 1e-9;

/**
 * One multistep step to s.
 * @param times of the predictions, the newest first: [t], [t, t_1] or [t, t_1, t_2]. As many give the order; predictions at the same
 * noise level as a newer one are of no use, and before a clean end the newest is all that counts: their coefficients are left out
 */
export function multistepCoefficients(
  process: DiffusionProcess,
  s: number,
  times: readonly number[],
): SolverCoefficients {
  const [from, to] = [process.level(times[0]), process.level(s)];
  if (from.sigma === 0) return { zCoefficient: 1, x0Coefficients: [0] };
  const lambdas = times.map((time) => halfLogSnr(process.level(time)));
  const h = halfLogSnr(to) - lambdas[0];
  const share = to.signal * -Math.expm1(-h);
  const zCoefficient = to.sigma / from.sigma;
  const [h1, h2] = [lambdas[0] - lambdas[1], lambdas[1] - lambdas[2]];
  if (!(h1 > TINY) || h === Number.POSITIVE_INFINITY) return { zCoefficient, x0Coefficients: [share] };
  if (!(h2 > TINY)) {
    const half = h / (2 * h1);
    return { zCoefficient, x0Coefficients: [share * (1 + half), -share * half] };
  }
  // Divided differences d1 = (x0 - x1) / h1, d2 = (d1 - (x1 - x2) / h2) / (h1 + h2), weighted by integrals of 1, u and u (u + h1).
  const first = to.signal * (h + Math.expm1(-h));
  const second = to.signal * h * h + (h1 - 2) * first;
  const [w1, w2] = [first / h1, second / (h1 + h2)];
  return {
    zCoefficient,
    x0Coefficients: [share + w1 + w2 / h1, -w1 - w2 * (1 / h1 + 1 / h2), w2 / h2],
  };
}

/** The solver of a configuration. @throws UserError for an order the method does not have */
export function createSolver(method: "multistep" | "singlestep", order: number): Solver {
  const orders = method === "multistep" ? [1, 2, 3] : [1, 2];
  if (!orders.includes(order))
    throw new UserError(
      `generation.order: expected ${orders.join(" or ")} with generation.solverMethod "${method}", got ${order}`,
    );
  // Of order 1, the two methods are one.
  return order === 1 || method === "multistep" ? new MultistepSolver(order) : new SinglestepSolver();
}

/** Orders 1, 2 (2M) and 3 (3M): one run of the network a step, and a memory of predictions. */
export class MultistepSolver implements Solver {
  /** Earlier predictions, the newest first. */
  private past: { readonly time: number; readonly x0: Floats }[] = [];
  /** [N]: how many of them each position has been in the Gaussian branch for. */
  private age = new Uint8Array();

  constructor(private readonly order: number) {}

  move(context: SolverContext, positions: readonly number[]): void {
    const { process, t, s, m, x0, z } = context;
    const { past, age } = this;
    const times = [t, ...past.map(({ time }) => time)];
    const predictions = [x0, ...past.map((entry) => entry.x0)];
    const byDepth = times.map((_, k) => multistepCoefficients(process, s, times.slice(0, k + 1)));
    const next = new Uint8Array(z.length / m.length);
    for (const p of positions) {
      const depth = age[p] ?? 0;
      combine(z, z, m, p, byDepth[depth], predictions);
      next[p] = Math.min(depth + 1, this.order - 1);
    }
    this.age = next;
    this.past = [{ time: t, x0: x0.slice() }, ...past].slice(0, this.order - 1);
  }
}

/**
 * Order 2 by a second run of the network in the middle of the step (2S, r = 1/2). A whole step is two calls: from t to u, of order 1, and
 * from u, half-way in lambda (`withMidpoints`), to s, which starts again from the state at t. So everything else sees two ordinary steps.
 * A position that joins at u goes on from there with order 1, and so does everyone at the last step when it has no second half.
 */
export class SinglestepSolver implements Solver {
  /** The state at t, between the two calls. */
  private start: { readonly time: number; readonly z: Floats; readonly moved: Uint8Array } | null = null;

  move(context: SolverContext, positions: readonly number[]): void {
    const { process, t, s, m, x0, z } = context;
    const { start } = this;
    const coefficients = multistepCoefficients(process, s, [t]);
    if (start) {
      const whole = multistepCoefficients(process, s, [start.time]);
      for (const p of positions) {
        const began = start.moved[p] === 1;
        combine(z, began ? start.z : z, m, p, began ? whole : coefficients, [x0]);
      }
      this.start = null;
      return;
    }
    const moved = new Uint8Array(z.length / m.length);
    for (const p of positions) moved[p] = 1;
    this.start = { time: t, z: z.slice(), moved };
    for (const p of positions) combine(z, z, m, p, coefficients, [x0]);
  }
}

/** z_p = m + B (from_p - m) + sum_j A_j (x_j,p - m) at position p. z, from, predictions: [N, D] */
function combine(
  z: Floats,
  from: Floats,
  m: Floats,
  p: number,
  { zCoefficient, x0Coefficients }: SolverCoefficients,
  predictions: readonly Floats[],
): void {
  const width = m.length;
  for (let d = 0, at = p * width; d < width; d++, at++) {
    let sum = zCoefficient * (from[at] - m[d]);
    for (let j = 0; j < x0Coefficients.length; j++) sum += x0Coefficients[j] * (predictions[j][at] - m[d]);
    z[at] = m[d] + sum;
  }
}
