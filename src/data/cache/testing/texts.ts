/** @file For tests: small corpora in files, a tokenizer for them, and what a folder holds. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { embeddedCorpus } from "../../embedded.js";
import { Tokenizer } from "../../tokenizer.js";

/** JSON Lines of `count` free texts and pairs in turn. */
export function writeTexts(path: string, count = 60): string {
  const [{ text = "" }] = embeddedCorpus("train");
  const lines = Array.from({ length: count }, (_, i) => {
    const from = (37 * i) % 4000;
    const piece = text.slice(from, from + 20 + ((i * 53) % 400));
    if (i % 3 !== 2) return { text: `${i} ${piece}` };
    return { src: piece.slice(0, piece.length >> 1), trg: `${i}é ${piece.slice(piece.length >> 1)}` };
  });
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return path;
}

/** A vocabulary of 300 tokens, saved. @returns the path of its tokenizer.json */
export async function writeTokenizer(folder: string, vocabSize = 300): Promise<string> {
  const tokenizer = await Tokenizer.train([embeddedCorpus("train")[0].text!], { vocabSize });
  await tokenizer.save(folder);
  return join(folder, "tokenizer.json");
}

/** Names and contents of a folder's files. */
export const contents = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name)).toString("base64")]),
  );
