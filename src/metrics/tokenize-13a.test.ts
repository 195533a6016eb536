import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyText } from "./testing/arbitrary.js";
import { tokenize13a } from "./tokenize-13a.js";

describe("tokenize13a", () => {
  it.each([
    ["Hello, world!", ["Hello", ",", "world", "!"]],
    ["1,000.5 at 3.", ["1,000.5", "at", "3", "."]],
    ["1990-1995 well-known", ["1990", "-", "1995", "well-known"]],
    ["don't (stop) [x] {y} a/b", ["don't", "(", "stop", ")", "[", "x", "]", "{", "y", "}", "a", "/", "b"]],
    ["&quot;A&amp;B&quot; &lt;i&gt;", ['"', "A", "&", "B", '"', "<", "i", ">"]],
    ["a<skipped>b hyphen-\nated\nline \n", ["ab", "hyphenated", "line"]],
    ["ends-\n", ["ends-"]],
    ["a.b,c", ["a", ".", "b", ",", "c"]],
    ["😀.日本、", ["😀", ".", "日本、"]],
    ["a\u00a0b\u0085c\u001cd\ufeffe", ["a", "b", "c", "d\ufeffe"]],
    ["", []],
  ])("cuts %j", (text, tokens) => {
    expect(tokenize13a(text)).toEqual(tokens);
  });

  it("yields tokens that are not empty and hold no white space", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(tokenize13a(text).every((token) => token !== "" && !/\p{White_Space}/u.test(token))).toBe(
          true,
        );
      }),
    );
  });
});
