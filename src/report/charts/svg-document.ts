/** @file A picture as a file of its own, for documents: the colours come along, on a ground that makes them readable anywhere. */
import { type ColorScheme, themeCss } from "../theme.js";

export interface SvgDocumentOptions {
  /** Default "auto": light or dark as the reader's system is. */
  readonly scheme?: ColorScheme;
  /** Pixels around the picture. Default 16. */
  readonly padding?: number;
}

/**
 * A standalone SVG file of an <svg> element of this room.
 *
 * @throws Error when `svg` has no width and height of its own.
 */
export function svgDocument(svg: string, { scheme = "auto", padding = 16 }: SvgDocumentOptions = {}): string {
  const opening = /^<svg [^>]*>/.exec(svg)?.[0] ?? "";
  const size = (name: string) => {
    const value = new RegExp(` ${name}="([\\d.]+)"`).exec(opening)?.[1];
    if (value === undefined)
      throw new Error(`svgDocument: expected an <svg> element with a ${name}, got ${svg.slice(0, 60)}`);
    return Number(value) + 2 * padding;
  };
  const [width, height] = [size("width"), size("height")];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    `<style>${themeCss(":root", scheme)}text{white-space:pre}</style>`,
    `<rect width="${width}" height="${height}" rx="8" fill="var(--surface)"/>`,
    svg.replace("<svg ", `<svg x="${padding}" y="${padding}" color="var(--ink)" `),
    "</svg>\n",
  ].join("\n");
}
