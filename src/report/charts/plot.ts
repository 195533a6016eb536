/**
 * @file Observable Plot without a browser: a plot into a string of SVG. Plot draws into any DOM; here it is linkedom's.
 */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { cleanText } from "../html.js";
import { FONT, svgAttributes } from "./svg.js";

/** Attributes that hold coordinates; a tenth of a pixel is as fine as anyone sees. */
const COORDINATES = ["d", "transform", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"];

const rounded = (coordinates: string): string =>
  coordinates.replace(/-?\d+\.\d+(?:e[-+]?\d+)?/g, (number) => String(Math.round(Number(number) * 10) / 10));

/**
 * Draws a plot.
 *
 * @param description what the picture shows, for those who cannot see it.
 * @returns an <svg> element that is well-formed as XML, has no style sheet of its own and scales with its container; colours
 *   are the theme's variables.
 */
export function renderPlot(options: Plot.PlotOptions, description: string): string {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const svg = Plot.plot({ ...options, document: document as unknown as Document });
  svg.querySelector("style")?.remove();
  svg.removeAttribute("class");
  svg.removeAttribute("font-family");
  for (const element of svg.querySelectorAll("*")) {
    element.removeAttribute("aria-label"); // parts of the picture: their names are for authors
    for (const name of COORDINATES) {
      const value = element.getAttribute(name);
      if (value?.includes(".")) element.setAttribute(name, rounded(value));
    }
  }
  // linkedom leaves < and & in attributes as they are: what is not ours is written here.
  const attributes = `${svgAttributes(description)} font-family="${FONT}"`;
  return cleanText(svg.outerHTML).replace(/^<svg /, () => `<svg ${attributes} `);
}
