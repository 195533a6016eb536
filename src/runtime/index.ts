/** @file Where graphs run and parameters live: devices, parameter stores, compiled programs. */
export { createDevice } from "./create-device.js";
export type {
  AdamWOptions,
  Device,
  DeviceKind,
  DeviceOptions,
  Executable,
  HeldTensors,
  ParameterOptions,
  ParameterSpec,
  ParameterStore,
  ProfileOptions,
  ProgramInfo,
  RunOptions,
  Slot,
  StepResult,
} from "./device.js";
export { deviceKinds, HELD_PREFIX, isHeld } from "./device.js";
export { createInt8Memory, requireInt8 } from "./int8-memory.js";
export {
  groupTimes,
  leastTimes,
  type NodeGroup,
  type NodeTime,
  partOf,
  phaseOf,
  totalTime,
} from "./profile.js";
