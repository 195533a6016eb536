import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { parseJson } from "./json.js";

describe("parseJson", () => {
  it("agrees with JSON.parse on every value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(undefined, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        expect(parseJson(text, "x.json")).toEqual(JSON.parse(text));
      }),
    );
  });

  it("refuses exactly what JSON.parse refuses", () => {
    const piece = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"a"',
      '"b"',
      "1",
      "-",
      ".5",
      "e3",
      "tru",
      "null",
      " ",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const text = pieces.join("");
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        let accepted = true;
        try {
          parseJson(text, "x.json");
        } catch (error) {
          accepted = (error as Error).message.includes("each key once") ? valid : false;
        }
        expect(accepted).toBe(valid);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['{\n  "a": 1\n  "b": 2\n}', 'x.json:3:3: not valid JSON: expected "," or "}", got "\\"".'],
    ['{"a": 1,}', 'x.json:1:9: not valid JSON: expected another entry after ",", got "}".'],
    ["{'a': 1}", 'x.json:1:2: not valid JSON: expected a key in double quotes, got "\'".'],
    ['{"a": tru}', 'x.json:1:7: not valid JSON: expected a value, got "t".'],
    ['{"a": "b', 'x.json:1:7: not valid JSON: expected a whole string, got "\\"".'],
    ['{"a": [1, 2', 'x.json:1:12: not valid JSON: expected "," or "]", got the end.'],
    ["", "x.json:1:1: not valid JSON: expected a value, got the end."],
    ["{}\n{}", 'x.json:2:1: not valid JSON: expected the end of the file, got "{".'],
    [
      '{"a": 1,\n"a": 2}',
      'x.json:2:1: not valid JSON: expected each key once, but "a" is there already, got "\\"".',
    ],
  ])("says where %j is broken", (text, message) => {
    expect(() => parseJson(text, "x.json")).toThrow(new UserError(message));
  });

  it("refuses what is nested more deeply than anybody writes", () => {
    const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
    expect(() => parseJson(nested(20_000), "x.json")).toThrow(
      new UserError(
        'x.json:1:101: not valid JSON: expected at most 100 objects and lists within each other, got "[".',
      ),
    );
    expect(parseJson(`[${nested(99)},${nested(99)}]`, "x.json")).toHaveLength(2);
  });

  it("accepts a byte order mark", () => {
    expect(parseJson('\uFEFF{"a": 1}', "x.json")).toEqual({ a: 1 });
  });
});
