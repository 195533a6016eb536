/**
 * @file Re-absorption in the masked limit: unsure tokens go back to the absorbing state and are written anew, knowing more of the text.
 *
 *     taken back by step k  <=  share * tokens written by step k - 1
 *
 * After ReMDM with confidence (arXiv 2503.00307): how sure a token is, says its probability when it was drawn, which needs no further
 * prediction. Ours are the budget and two rules: no position goes back twice, and none whose token was surer than a threshold. A step
 * that takes tokens back releases as many more, so that the number of written ones follows the schedule; the last step takes none.
 */

/** One sample's tokens, n positions. */
export interface WrittenTokens {
  /** [n] 1: to be generated. */
  readonly target: Uint8Array;
  /** [n] 1: in the absorbing state; else, on targets, written. */
  readonly absorbed: Uint8Array;
  /** [n] probability of each token when it was drawn. */
  readonly probability: Float32Array;
}

export class Reabsorption {
  private written = 0;
  private taken = 0;
  private readonly twice: Uint8Array;

  /**
   * @param share of the written tokens that may be taken back, in [0, 1]
   * @param threshold tokens of this probability or more stay
   * @param positions n
   */
  constructor(
    private readonly share: number,
    private readonly threshold: number,
    positions: number,
  ) {
    this.twice = new Uint8Array(positions);
  }

  /** The tokens to take back at a step, ascending: the least sure of those written at earlier steps. None once all are written. */
  choose({ target, absorbed, probability }: WrittenTokens): number[] {
    const budget = Math.floor(this.share * this.written) - this.taken;
    if (budget <= 0 || !absorbed.includes(1)) return [];
    const unsure: number[] = [];
    for (let p = 0; p < target.length; p++) {
      const written = target[p] === 1 && absorbed[p] === 0;
      if (written && this.twice[p] === 0 && probability[p] < this.threshold) unsure.push(p);
    }
    unsure.sort((p, q) => probability[p] - probability[q] || p - q);
    return unsure.slice(0, budget).sort((p, q) => p - q);
  }

  /** Tells what a step has done. @param taken positions taken back @param written how many it has written */
  record(taken: readonly number[], written: number): void {
    for (const p of taken) this.twice[p] = 1;
    this.taken += taken.length;
    this.written += written;
  }
}
