/** @file Files that other programs read and write: safetensors, and writing that is whole or not at all. */

export { requireWritable, type WrittenFile, writeFileAtomic } from "./durable-file.js";
export { readKept, writeKept } from "./kept-result.js";
export {
  readSafetensors,
  readSafetensorsHeader,
  type SafetensorsData,
  type SafetensorsDType,
  type SafetensorsEntry,
  type SafetensorsHeader,
  type SafetensorsTensor,
  writeSafetensors,
} from "./safetensors.js";
