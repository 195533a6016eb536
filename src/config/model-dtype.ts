/** @file How the weights of a trained model are held while it runs, by the names of transformers.js. */

/** "fp32": as trained. "q8": the transformer's linear layers and the tables of the vocabulary in eight bits. */
export const modelDTypes = ["fp32", "q8"] as const;
export type ModelDType = (typeof modelDTypes)[number];
