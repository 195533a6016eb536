/** @file Links between the documents: each names a file that is there, and a heading that is in it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import GithubSlugger from "github-slugger";
import { marked, type Token, type Tokens } from "marked";
import { expect, it } from "vitest";

const markdownIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name));

/** Every token of a kind, however deep. */
function tokensOf<Kind extends Token>(text: string, type: Kind["type"]): Kind[] {
  const found: Kind[] = [];
  marked.walkTokens(marked.lexer(text), (token) => {
    if (token.type === type) found.push(token as Kind);
  });
  return found;
}

const anchorsOf = (text: string): Set<string> => {
  const slugger = new GithubSlugger();
  return new Set(tokensOf<Tokens.Heading>(text, "heading").map((heading) => slugger.slug(heading.text)));
};

it("every link between the documents leads somewhere", () => {
  const documents = [".", "docs", "examples"].flatMap(markdownIn);
  const texts = new Map(documents.map((path) => [path, readFileSync(path, "utf8")]));
  const links = [...texts].flatMap(([from, text]) =>
    [...tokensOf<Tokens.Link>(text, "link"), ...tokensOf<Tokens.Image>(text, "image")]
      .filter(({ href }) => !/^[a-z]+:/.test(href))
      .map(({ href }) => ({ from, href })),
  );
  expect(links.length).toBeGreaterThan(50);
  const broken = links.filter(({ from, href }) => {
    const [path, anchor] = href.split("#");
    const target = path === "" ? from : normalize(join(dirname(from), path));
    if (!existsSync(target)) return true;
    return anchor !== undefined && !anchorsOf(texts.get(target) ?? "").has(anchor);
  });
  expect(broken).toEqual([]);
});
