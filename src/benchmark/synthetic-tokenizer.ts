/** @file A vocabulary of any size without any text: bytes and pairs of bytes. What is written with it is noise; its cost is not. */
import { BYTE_ALPHABET } from "../data/byte-level.js";
import { Tokenizer } from "../data/tokenizer.js";
import { tokenizerJson } from "../data/tokenizer-json.js";

/** @param vocabSize 259 to 259 + 256^2 */
export function pairTokenizer(vocabSize: number): Tokenizer {
  const merges = Array.from({ length: vocabSize - BYTE_ALPHABET.length - 3 }, (_, i): [string, string] => [
    BYTE_ALPHABET[Math.floor(i / BYTE_ALPHABET.length)],
    BYTE_ALPHABET[i % BYTE_ALPHABET.length],
  ]);
  return Tokenizer.fromJSON(tokenizerJson({ merges, tokens: merges.map((pair) => pair.join("")) }));
}
