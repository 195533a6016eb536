/** @file A made-up run, small and always the same, for the tests of reports. */
import type { AttentionPattern, DenoisingStep, MetricsLine, ReportData } from "../data.js";

export const STEPS = 120;
const LAYERS = 2;
const EXPERTS = 4;

function metrics(): MetricsLine[] {
  const lines: MetricsLine[] = [];
  for (let step = 1; step <= STEPS; step++) {
    const tokens = step * 1024;
    const curve = 5 + 4 * Math.exp(-step / 40);
    const noise = 0.2 * Math.sin(step * 12.9898);
    const terms = { ce: curve + noise - 0.01, balance: 0.01 };
    lines.push({
      kind: "train",
      step,
      tokens,
      seconds: step / 2,
      loss: curve + noise,
      terms,
      learningRate: 2e-3 * (1 - step / 200),
      gradNorm: 1 + noise,
      tokensPerSecond: 2000 + 100 * noise,
    });
    if (step % 20 === 0)
      lines.push({
        kind: "valid",
        step,
        tokens,
        loss: curve + 0.1,
        terms,
        bitsPerByte: curve / 3,
        expertLoad: Array.from({ length: LAYERS }, (_, layer) =>
          Array.from(
            { length: EXPERTS },
            (_, expert) => 1 + (0.5 - step / 400) * Math.sin(3 * expert + layer),
          ),
        ),
      });
  }
  return lines;
}

/** Two documents of 24 and 8 positions, two global positions at the start of each, window 3. */
export function samplePattern(window = 3, dilation = 1, full = false): AttentionPattern {
  const length = 32;
  const segment = (i: number) => (i < 24 ? 0 : 1);
  const isGlobal = Array.from({ length }, (_, i) => i < 2 || i === 24 || i === 25);
  const sees = (i: number, j: number) =>
    segment(i) === segment(j) &&
    (full ||
      isGlobal[i] ||
      isGlobal[j] ||
      (Math.abs(i - j) <= window * dilation && (i - j) % dilation === 0));
  const mask = Array.from({ length: length * length }, (_, at) =>
    Number(sees(Math.floor(at / length), at % length)),
  );
  return { length, isGlobal, groups: [{ label: "every layer", window, dilation, full, mask }] };
}

/** Words settle in an order of their own; the first two are given. */
export function sampleDenoising(words = ["We", " the", " people", " of", " the", " United", " States"]) {
  return [0, 2, 4, 6, 8].map(
    (step): DenoisingStep => ({
      step,
      time: 1 - step / 8,
      tokens: words.map((text, i) =>
        i < 2
          ? { text, settled: true, given: true }
          : (i * 5) % 8 < step
            ? { text, settled: true }
            : { text: step === 0 ? "" : " guess", settled: false },
      ),
    }),
  );
}

export function sampleReport(changes: Partial<ReportData> = {}): ReportData {
  return {
    title: "A run",
    run: {
      preset: "moe-diffuseq",
      parameters: { total: 10_400_000, active: 4_100_000 },
      tokens: STEPS * 1024,
      tokensPerSecond: 2048,
      minutes: 1,
      corpus: "233 addresses",
      seed: 1,
      versions: { node: "20.20.0" },
      more: { "Sequence length": 1024 },
    },
    metrics: metrics(),
    attention: samplePattern(),
    denoising: sampleDenoising(),
    finalText: "We the people of the United States",
    baselines: [
      { name: "unigram", bitsPerByte: 2.5 },
      { name: "bigram", bitsPerByte: 1.6 },
    ],
    nextCommands: [
      { note: "Write another.", command: "moe-diffuseq generate --seed 2" },
      "moe-diffuseq --help",
    ],
    ...changes,
  };
}
