import { expect, it } from "vitest";
import { cleanText, escapeHtml, html, trusted } from "./html.js";

it("escapes what is put in, in text and in attributes", () => {
  const evil = `<script>alert("1")</script> & 'x'`;
  expect(html`<p title="${evil}">${evil}</p>`.toString()).toBe(
    '<p title="&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;">&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;</p>',
  );
});

it("leaves markup of its own alone, joins arrays and drops what is not there", () => {
  const items = ["a", "<b>"].map((item) => html`<li>${item}</li>`);
  expect(html`<ul>${items}${null}${undefined}${false}${0}${trusted("<hr>")}</ul>`.toString()).toBe(
    "<ul><li>a</li><li>&lt;b&gt;</li>0<hr></ul>",
  );
});

it("keeps backslashes as they are", () => {
  expect(html`${"\\n"}\\n`.toString()).toBe("\\n\\n");
});

it("replaces what XML does not allow, and nothing else", () => {
  expect(cleanText("a\u0000b\u001bc\ud800d\tе\n👩‍👧é\uffff")).toBe("a\ufffdb\ufffdc\ufffdd\tе\n👩‍👧é\ufffd");
  expect(escapeHtml("\u0007<")).toBe("\ufffd&lt;");
});
