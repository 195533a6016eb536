/** @file Settings that a command decides itself are refused: one that was set would be replaced, and be taken for heeded. */
import { settingFields } from "../config/layers.js";
import { UserError } from "../errors.js";

/** By their paths, the flag that says them instead; null: nothing does. */
export type OwnedSettings = Readonly<Record<string, string | null>>;

/** @param who decides them, as messages call it @throws UserError for the first of `sets` that gives one, however it is written */
export function refuseOwned(sets: readonly string[], owned: OwnedSettings, who: string): void {
  const given = sets.flatMap(settingFields).find(({ path }) => Object.hasOwn(owned, path));
  if (!given) return;
  const flag = owned[given.path];
  throw new UserError(
    `--set ${given.path}: ${who} decides this itself; ${flag === null ? "leave it out" : `give ${flag} instead`}.`,
  );
}
