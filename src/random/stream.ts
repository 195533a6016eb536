/** @file What a random number is for. Two purposes never share a stream, so no draw can disturb another. */

/** Stream numbers: part of the counter, hence of every result and checkpoint. Add at the end, never renumber. */
export const Stream = {
  /** Initial parameters; sequence: number of the parameter. */
  Init: 0,
  /** Order of documents and rows; sequence: epoch, step: section of a large corpus. */
  Shuffle: 1,
  /** Division into training and held-out documents; sequence: part of a large corpus. */
  Split: 2,
  /** Diffusion time of a training sequence. */
  Time: 3,
  /** Gaussian noise of the forward process. */
  Noise: 4,
  /** Which positions are absorbed. */
  Absorb: 5,
  /** Dropout masks. */
  Dropout: 6,
  /** Whether a training sequence gets its own last estimate as input. */
  SelfCondition: 7,
  /** Whether a training sequence loses its condition. */
  ConditionDropout: 8,
  /** Gaussian noise of the reverse process; sequence: number of the sample. */
  SamplerNoise: 9,
  /** Which absorbed positions are released at a sampling step. */
  Release: 10,
  /** The draw of a token from its distribution. */
  Draw: 11,
  /** Synthetic data: copy and reverse tasks, random words. */
  Synthetic: 12,
  /** Resampling in statistics of an evaluation. */
  Bootstrap: 13,
  /** Order of the blocks of pieces in a corpus too large to be shuffled at once; sequence: epoch. */
  ShuffleBlocks: 14,
  /** What is given of a training document; sequence: number of the row, step: of the document in it. */
  Gaps: 15,
} as const;
export type Stream = (typeof Stream)[keyof typeof Stream];
