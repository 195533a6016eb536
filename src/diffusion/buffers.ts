/** @file Typed arrays kept from one batch to the next, so that large inputs are not allocated for every step. */

/** A set of named arrays. One that was transferred to a worker or does not fit the new length is replaced. */
export class BatchBuffers {
  private readonly floats = new Map<string, Float32Array>();
  private readonly integers = new Map<string, BigInt64Array>();

  /** An array of `length` zeros. */
  float32(name: string, length: number): Float32Array {
    const kept = this.floats.get(name);
    if (kept?.length === length) return kept.fill(0);
    const made = new Float32Array(length);
    this.floats.set(name, made);
    return made;
  }

  /** An array of `length` zeros. */
  int64(name: string, length: number): BigInt64Array {
    const kept = this.integers.get(name);
    if (kept?.length === length) return kept.fill(0n);
    const made = new BigInt64Array(length);
    this.integers.set(name, made);
    return made;
  }
}
