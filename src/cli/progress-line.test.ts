import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { formatBytes, formatCount, formatDuration } from "./format.js";
import { ProgressLine, trainingLine } from "./progress-line.js";
import { memoryStream } from "./testing/memory-terminal.js";

beforeEach(() => vi.stubEnv("TERM", "xterm"));
afterEach(() => vi.unstubAllEnvs());

/** A line on a stream, with a clock set by hand. */
function setUp(options: { isTTY?: boolean; columns?: number }) {
  const stream = memoryStream(options);
  const clock = { ms: 0 };
  return { stream, clock, line: new ProgressLine(stream, { now: () => clock.ms }) };
}

describe("ProgressLine", () => {
  it("rewrites one line on a terminal, cut to its width", () => {
    const { stream, clock, line } = setUp({ isTTY: true, columns: 10 });
    line.update("step 1");
    clock.ms = 50;
    line.update("too soon");
    clock.ms = 100;
    line.update("step 3, long");
    line.end();
    expect(stream.text).toBe("\r\u001b[Kstep 1\r\u001b[Kstep 3, …\n");
  });

  it("takes a terminal that does not know its width for one of 80 columns", () => {
    const { stream, line } = setUp({ isTTY: true, columns: 0 });
    line.update("step 1");
    line.end();
    expect(stream.text).toBe("\r\u001b[Kstep 1\n");
  });

  it("prints a line every few seconds elsewhere, and the last", () => {
    const { stream, clock, line } = setUp({});
    for (let second = 0; second <= 12; second++) {
      clock.ms = second * 1000;
      line.update(`step ${second}`);
    }
    line.end();
    expect(stream.text).toBe("step 0\nstep 10\nstep 12\n");
    line.end();
    expect(stream.text).toBe("step 0\nstep 10\nstep 12\n");
  });

  it("sends no codes to a terminal that knows none", () => {
    vi.stubEnv("TERM", "dumb");
    const { stream, line } = setUp({ isTTY: true });
    line.update("step 1");
    line.note("validation 5.1");
    line.end();
    expect(stream.text).toBe("step 1\nvalidation 5.1\n");
  });

  it("keeps notes above the live line", () => {
    const { stream, line } = setUp({ isTTY: true });
    line.update("step 1");
    line.note("validation 5.1");
    line.end();
    expect(stream.text).toBe("\r\u001b[Kstep 1\r\u001b[Kvalidation 5.1\n\r\u001b[Kstep 1\n");
  });

  it("shows training", () => {
    const progress = { step: 120, totalSteps: 2000, loss: 5.93124, tokensPerSecond: 3412, secondsLeft: 725 };
    expect(trainingLine(progress)).toBe("step 120/2000  loss 5.9312  3.41k tokens/s  12m 05s left");
    expect(trainingLine({ ...progress, totalSteps: null, secondsLeft: null })).toBe(
      "step 120  loss 5.9312  3.41k tokens/s",
    );
  });
});

describe("numbers", () => {
  it.each([
    [0, "0"],
    [0.25, "0.3"],
    [999, "999"],
    [999.9, "1.00k"],
    [1000, "1.00k"],
    [12_345, "12.3k"],
    [999_499, "999k"],
    [999_999, "1.00M"],
    [4_567_890, "4.57M"],
    [3e9, "3.00G"],
  ])("%d is %s", (value, text) => {
    expect(formatCount(value)).toBe(text);
  });

  it("of bytes and seconds", () => {
    expect([512, 1.6e9].map(formatBytes)).toEqual(["512 B", "1.60 GB"]);
    expect([-1, 8.4, 59.6, 125, 3599.6, 11_220].map(formatDuration)).toEqual([
      "0s",
      "8s",
      "1m 00s",
      "2m 05s",
      "1h 00m",
      "3h 07m",
    ]);
  });
});
