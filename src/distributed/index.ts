/** @file Processes that train one model together: ranks, and the sums and copies between them. */
export {
  allOrNone,
  alone,
  broadcastJson,
  type Communicator,
  type CommunicatorHandle,
  type Summable,
  sumOverRanks,
} from "./communicator.js";
export { joinRanks, leaveRanks } from "./join.js";
export { type Launch, launchOf, threadsOfRank } from "./launcher.js";
