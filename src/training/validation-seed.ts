/** @file The one seed of validation: see `VALIDATION_SEED`. */

/**
 * Seed of the order of all validation rows and of their noise, whatever the run's seed: runs are compared on the same rows under the same
 * noise.
 */
export const VALIDATION_SEED = 20_251_220;
