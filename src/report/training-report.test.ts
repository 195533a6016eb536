import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import type { ReportData } from "./data.js";
import { sampleDenoising, samplePattern, sampleReport } from "./testing/sample.js";
import { trainingReport } from "./training-report.js";

const parse = (data: ReportData) => parseHTML(trainingReport(data)).document;
const headings = (data: ReportData) =>
  [...parse(data).querySelectorAll("h2")].map((heading) => heading.textContent);

describe("a full report", () => {
  const document = parse(sampleReport());

  it("has every section", () => {
    expect([...document.querySelectorAll("h2")].map((heading) => heading.textContent)).toEqual([
      "How it learned",
      "Who does the work: expert load",
      "Who sees whom: attention",
      "From noise to text",
      "The text",
      "The run",
      "What to try next",
      "How to read this",
    ]);
    expect(document.querySelector("title")?.textContent).toBe("A run");
  });

  it("says in a sentence what the run reached", () => {
    expect(document.querySelector(".summary")?.textContent).toBe(
      "In 1 min, a model of 10.4M parameters (4.1M active for each token) read 123k tokens of 233 addresses. Its validation loss went from 7.53 to 5.30 nats per token. At 1.73 bits per byte it is better than the unigram baseline (2.50) and not yet as good as the bigram baseline (1.60).",
    );
  });

  it("has its numbers, pictures, frames, text, facts and commands", () => {
    const tiles = [...document.querySelectorAll(".tiles .value")].map((value) => value.textContent);
    expect(tiles).toEqual(["5.30 nats/token", "1.73 ", "2.05k tokens/s", "10.4M "]);
    // loss, bits, three small ones, two terms, two layers, one pattern, the map
    expect(document.querySelectorAll(".chart svg").length).toBe(11);
    expect(document.querySelectorAll(".frame").length).toBe(5);
    expect(document.querySelector(".text")?.textContent).toBe("We the people of the United States");
    expect(document.querySelector(".facts")?.textContent).toContain("Sequence length1,024");
    expect([...document.querySelectorAll(".commands code")].map((code) => code.textContent)).toEqual([
      "moe-diffuseq generate --seed 2",
      "moe-diffuseq --help",
    ]);
  });

  it("marks given, fresh and pending text in the frames", () => {
    const [first, second, , , last] = [...document.querySelectorAll(".words")];
    expect(first.querySelector("u")?.textContent).toBe("We the");
    expect(first.querySelector("i")?.textContent).toMatch(/^░/);
    expect(first.querySelector("mark")).toBe(null);
    expect(second.querySelector("mark")).not.toBe(null);
    expect(last.querySelector("i")).toBe(null);
    expect(last.textContent).toBe("We the people of the United States");
  });

  it("says what bits per byte are estimated from", () => {
    const { metrics, ...rest } = sampleReport();
    const logged = metrics.map((line) => (line.kind === "valid" ? { ...line, sequences: 3 } : line));
    const page = trainingReport({ ...rest, metrics: logged });
    expect(page).toContain("On the validation documents, 3 sequences a point.");
    expect(page).toMatch(
      /it is an estimate of an upper bound, from one draw of noise for each validation sequence/,
    );
    expect(trainingReport(sampleReport())).toContain("On the validation documents.");
  });

  it("keeps validations on other rows apart", () => {
    const { metrics, ...rest } = sampleReport();
    const logged = metrics.map((line) =>
      line.kind === "valid" && line.step > 60 ? { ...line, texts: "0123456789ab" } : line,
    );
    const document = parse({ ...rest, metrics: logged });
    expect(document.querySelector(".summary")?.textContent).toContain(
      "Its validation loss went from 5.64 to 5.30 nats per token.",
    );
    const charts = [...document.querySelectorAll(".chart")].map(({ textContent }) => textContent);
    expect(charts.filter((text) => text.includes("on other rows"))).toHaveLength(2);
    expect(charts[0]).toContain("they do not compare with the last ones");
    expect(trainingReport(sampleReport())).not.toMatch(/other rows/);
  });

  it("asks nothing of any network", () => {
    const page = trainingReport(sampleReport()).replaceAll('xmlns="http://www.w3.org/2000/svg"', "");
    expect(page).not.toMatch(/https?:|\/\/[a-z]|url\(|@import|<link|<img| src=| href=/);
    expect(page).toContain("default-src 'none'");
  });

  it("is the same for the same data, and small", () => {
    expect(trainingReport(sampleReport())).toBe(trainingReport(sampleReport()));
    expect(trainingReport(sampleReport()).length).toBeLessThan(90_000);
  });
});

describe("text from a corpus", () => {
  const evil = `</div></title><script>alert(1)</script><img src=x onerror=alert(2)>"'&amp;\u0000\u001b[31m`;

  it("is shown, not obeyed", () => {
    const data = sampleReport({
      title: evil,
      run: { preset: evil, corpus: evil, versions: { [evil]: evil }, more: { [evil]: evil } },
      finalText: evil,
      denoising: sampleDenoising([evil, evil, evil, evil]),
      baselines: [{ name: evil, bitsPerByte: 2 }],
      nextCommands: [evil, { command: evil, note: evil }],
      attention: { ...samplePattern(), groups: [{ ...samplePattern().groups[0], label: evil }] },
      metrics: [
        ...sampleReport().metrics,
        { kind: "train", step: 1, tokens: 1, loss: 9, terms: { [evil]: 1, b: 1 } },
      ],
    });
    const page = trainingReport(data);
    expect(page).not.toContain("<script>alert");
    expect(page).not.toContain("<img");
    expect(page).not.toContain("\u0000");
    expect(page).not.toContain("\u001b");
    const document = parseHTML(page).document;
    expect(document.querySelectorAll("script").length).toBe(1);
    expect(document.querySelector(".text")?.textContent).toContain("<script>alert(1)</script>");
  });

  it("unfolds when it is long", () => {
    const document = parse(sampleReport({ finalText: "x".repeat(20_000) }));
    expect(document.querySelector(".text summary")?.textContent).toBe("8,000 more characters");
    expect(document.querySelector(".text")?.textContent).toContain("x".repeat(12_000));
  });
});

describe("odd runs", () => {
  const empty: ReportData = { title: "Nothing", run: {}, metrics: [] };
  const clean = (data: ReportData) => {
    const page = trainingReport(data);
    expect(page).not.toMatch(/NaN|Infinity|undefined|\[object/);
    return page;
  };

  it("nothing at all", () => {
    clean(empty);
    expect(headings(empty)).toEqual(["The run", "How to read this"]);
  });

  it("one line of metrics", () => {
    const page = clean({ ...empty, metrics: [{ kind: "train", step: 1, loss: 9.01 }] });
    expect(page).toContain("Its training loss is 9.01 nats per token.");
  });

  it("no validation", () => {
    const metrics = sampleReport().metrics.filter((line) => line.kind === "train");
    expect(headings({ ...empty, metrics })).toEqual(["How it learned", "The run", "How to read this"]);
    expect(clean({ ...empty, metrics })).toContain("Its training loss went from");
  });

  it("values that are not finite, or null, or of another type", () => {
    const metrics = sampleReport().metrics.map((line, i) =>
      i % 3 === 0
        ? {
            ...line,
            loss: [Number.NaN, null, "9"][(i % 9) / 3],
            gradNorm: Number.POSITIVE_INFINITY,
            terms: null,
          }
        : line,
    );
    clean({ ...empty, metrics });
    clean({ ...empty, metrics: [{ kind: "valid", step: 3, loss: Number.NaN }] });
  });

  it("lines without tokens, of other kinds, and out of order", () => {
    const metrics = [...sampleReport().metrics].reverse().map((line) => ({ ...line, tokens: undefined }));
    expect(clean({ ...empty, metrics: [...metrics, { kind: "note", step: 1 }] })).toContain("training step");
  });

  it("dense layers, dead experts, and a change in the number of layers", () => {
    const load = [[], [0, 2, 1, 1]];
    const page = clean({
      ...empty,
      metrics: [
        { kind: "valid", step: 1, expertLoad: [[1]] },
        { kind: "valid", step: 2, expertLoad: load },
      ],
    });
    expect(page).toContain("1 expert is dead");
    clean({ ...empty, metrics: [{ kind: "valid", step: 1, expertLoad: [[]] }] });
  });

  it("frames without tokens, of different lengths, with all given, and only one", () => {
    const given = { text: "all", settled: true, given: true };
    const one = [{ step: 0, time: 0, tokens: [given] }];
    expect(clean({ ...empty, denoising: one })).toContain("100 % settled");
    expect(clean({ ...empty, denoising: one })).not.toContain("<script>");
    clean({ ...empty, denoising: [{ step: 0, time: 1, tokens: [] }, ...one, ...sampleDenoising()] });
    expect(headings({ ...empty, denoising: [{ step: 0, time: 1, tokens: [] }] })).not.toContain(
      "From noise to text",
    );
  });

  it("a long run stays small", () => {
    const metrics = Array.from({ length: 50_000 }, (_, step) => ({
      kind: "train",
      step,
      tokens: 1000 * step,
      loss: 5 + Math.sin(step * 1.3),
      expertLoad: [[1, 1, 0.5 + (step % 10) / 10, 1.5 - (step % 10) / 10]],
    }));
    expect(clean({ ...empty, metrics }).length).toBeLessThan(120_000);
  });
});
