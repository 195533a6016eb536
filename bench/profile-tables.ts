/** @file A profile as tables: by operator, by part of the model, by both, and by shape; those that take most time first. */
import { groupTimes, type NodeTime, partOf, phaseOf, totalTime } from "../src/runtime/index.js";

/** @param rows lines a table has at most */
export function printProfile(nodes: readonly NodeTime[], rows: number): void {
  const place = (node: NodeTime) => `${phaseOf(node)} ${partOf(node)}`;
  const table = (title: string, keyOf: (node: NodeTime) => string) => {
    console.log(`      ms  share  count  GFLOP/s  ${title}`);
    for (const { name, count, microseconds, flops } of groupTimes(nodes, keyOf).slice(0, rows)) {
      const columns = [
        (microseconds / 1000).toFixed(1).padStart(8),
        `${((100 * microseconds) / totalTime(nodes)).toFixed(1)}%`.padStart(6),
        String(count).padStart(6),
        (flops > 0 ? (flops / microseconds / 1000).toFixed(0) : "").padStart(8),
      ];
      console.log(`${columns.join(" ")}  ${name}`);
    }
    console.log();
  };
  table("operator", ({ operator }) => operator);
  table("part", place);
  table("part and operator", (node) => `${place(node)}  ${node.operator}`);
  table("operator on shapes", (node) => `${node.operator} ${node.shapes}  ${place(node)}`);
}
