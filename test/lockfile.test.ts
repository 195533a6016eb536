/** @file `npm ci` refuses a lock file that leaves out packages of other platforms, as some npm versions write it. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

interface Entry {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

it("the lock file names every dependency of every package, for all platforms", () => {
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as {
    packages: Record<string, Entry>;
  };
  /** Whether `name` is found from the package at `place`: in its own node_modules, or in one further up. */
  const isLocked = (place: string, name: string): boolean => {
    if (Object.hasOwn(packages, `${place && `${place}/`}node_modules/${name}`)) return true;
    return place !== "" && isLocked(place.slice(0, Math.max(0, place.lastIndexOf("/node_modules/"))), name);
  };
  const missing = Object.entries(packages).flatMap(([place, entry]) =>
    Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })
      .filter((name) => !isLocked(place, name))
      .map((name) => `${name} of ${place}`),
  );
  expect(missing).toEqual([]);
});
