/** @file Counter-based random numbers: reproducible whatever the batch, the order and the number of threads. */
export { CounterRandom } from "./counter-random.js";
export { type PhiloxCounter, type PhiloxKey, philox4x32 } from "./philox.js";
export { Stream } from "./stream.js";
