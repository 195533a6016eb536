/** @file How large sizes and counts may be: far above what can be computed, and small enough for the lists made of them. */

/** Of tokens, positions, texts, samples for a request, and columns of a matrix. */
export const MOST = 2 ** 24;
/** Of layers, and of heads in a layer. */
export const MOST_LAYERS = 2 ** 12;
/** The least number above 0 that is itself in float32 arithmetic: lesser ones lose digits, and become 0 in the end. */
export const LEAST_FLOAT = 2 ** -126;
/** Of threads that share one operator. */
export const MOST_THREADS = 2 ** 10;
/** Of experts in a layer. */
export const MOST_EXPERTS = 2 ** 16;
/** Of sequences in a batch, and of batches in a step. */
export const MOST_ROWS = 2 ** 20;
