import { parseHTML } from "linkedom";
import { expect, it } from "vitest";
import { type ProfileData, profileSvg, profileText, shareReached } from "./profile-report.js";

const rows = [
  { name: "layers/attention", count: 12, milliseconds: 60, productMilliseconds: 40, flops: 2e9 },
  { name: "loss <&>", count: 3, milliseconds: 39.9, productMilliseconds: 20, flops: 1e9 },
  { name: "specks", count: 1, milliseconds: 0.1, productMilliseconds: 0, flops: 0 },
];
const data: ProfileData = {
  title: "masked of 2 layers",
  where: "2 threads",
  milliseconds: 100,
  tokens: 512,
  ceiling: 60,
  byPhase: rows,
  byPart: rows,
  byOperator: rows,
};

it("says what share of the machine is reached", () => {
  expect(shareReached(data)).toBeCloseTo(3e9 / 0.1 / 60e9, 12);
  const text = profileText(data);
  expect(text).toContain("masked of 2 layers, 2 threads: 100 ms for loss and gradients of 512 tokens");
  expect(text).toContain("60 GFLOP/s (1,024 cubed); the step reaches 50 % of it");
  expect(text).toContain("     60.0  60.0%     12       50      83%  layers/attention");
  expect(text).toContain("      0.1   0.1%      1                    specks");
});

it("draws a bar for each part worth seeing", () => {
  const { document } = parseHTML(`<html><body>${profileSvg(data)}</body></html>`);
  const words = [...document.querySelectorAll("text")].map((text) => text.textContent);
  expect(words).toContain("loss <&>");
  expect(words).toContain("60 ms, 60 %");
  expect(words).not.toContain("specks");
  const widths = [...document.querySelectorAll("rect")].slice(2).map((r) => Number(r.getAttribute("width")));
  expect(widths).toHaveLength(4);
  expect(widths[0] / widths[1]).toBeCloseTo(2, 2);
  expect((widths[0] + widths[1]) / (widths[2] + widths[3])).toBeCloseTo(60 / 39.9, 2);
});
