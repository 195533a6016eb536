/** @file What is said of files that cannot be read. */
import { expect, it } from "vitest";
import { explainReadError, isMissing, UserError } from "../src/errors.js";

const error = (code: string) => Object.assign(new Error(code), { code });

it("what a user can mend is a message; what is missing, and the rest, are told apart", () => {
  for (const code of ["EACCES", "EPERM"]) {
    const explained = explainReadError(error(code), "a/b");
    expect(explained).toBeInstanceOf(UserError);
    expect(String(explained)).toContain("Cannot read a/b: permission denied; change its permissions");
  }
  const other = error("ENOTSUP");
  expect(explainReadError(other, "a/b")).toBe(other);
  expect(["ENOENT", "ENOTDIR", "EACCES", "ELOOP"].map((code) => isMissing(error(code)))).toEqual([
    true,
    true,
    false,
    false,
  ]);
});
