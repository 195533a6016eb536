/** @file Files of settings, read. Node only. */
import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { explainReadError, UserError } from "../errors.js";
import { parseJson } from "./json.js";

/**
 * The text of a configuration file as a value.
 * @param what the file in messages @throws UserError when it cannot be read or is broken (file, line, column)
 */
export function readConfigFile(path: string, what = `the configuration ${path}`): unknown {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw explainReadError(error, what);
  }
  if (!isUtf8(bytes))
    throw new UserError(
      `${what}: expected UTF-8 text, got another encoding; convert it (iconv -f latin1 -t utf-8).`,
    );
  return parseJson(bytes.toString("utf8"), path);
}
