import { expect, it } from "vitest";
import { SettlingView, wrapText } from "./settling-view.js";
import { memoryStream } from "./testing/memory-terminal.js";

it("wraps by cells, keeps characters whole and shows what would steer the terminal as dots", () => {
  expect(wrapText("abcdef\n\ngh", 4)).toEqual(["abcd", "ef", "", "gh"]);
  expect(wrapText("日本語e\u0301x", 4)).toEqual(["日本", "語e\u0301x"]);
  expect(wrapText("a\u001b[2Jb\u202ec", 20)).toEqual(["a·[2Jb·c"]);
  expect(wrapText("", 4)).toEqual([""]);
});

it("redraws in place on a terminal", () => {
  const stream = memoryStream({ isTTY: true, columns: 11 });
  const view = new SettlingView(Object.assign(stream, { rows: 24 }));
  view.show("░░░", "step 1/2");
  view.show("one\ntwo", "step 2/2");
  view.clear();
  view.clear();
  expect(stream.text).toBe("░░░\nstep 1/2\n\u001b[2A\r\u001b[Jone\ntwo\nstep 2/2\n\u001b[3A\r\u001b[J");
});

it("shows the beginning of a text longer than the terminal", () => {
  const stream = memoryStream({ isTTY: true, columns: 80 });
  new SettlingView(Object.assign(stream, { rows: 6 })).show("1\n2\n3\n4\n5", "status");
  expect(stream.text).toBe("1\n2\n…\nstatus\n");
});

it("prints a line a step elsewhere", () => {
  const stream = memoryStream();
  const view = new SettlingView(stream);
  view.show("one\ntwo", "step 1/2");
  view.clear();
  expect(stream.text).toBe("step 1/2  one two\n");
});
