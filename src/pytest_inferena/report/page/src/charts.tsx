import * as Plot from "@observablehq/plot";
import { useEffect, useRef } from "preact/hooks";
import { baseline, type Row, type Tab } from "./data";
import type { View } from "./state";

interface Props {
  tab: Tab;
  rows: Row[];
  /** The tabs of its family, and it itself, with the rows that are shown. */
  others: Tab[];
  view: View;
  change: (part: Partial<View>) => void;
}

interface Point {
  engine: string;
  platform: string;
  value: number;
  low: number;
  high: number;
}

/** Right figures of a metric. */
function points(rows: Row[], metric: string): (Point & { row: Row })[] {
  return rows.flatMap((row) => {
    const cell = row.cells[metric];
    if (!cell?.right || cell.value === null) return [];
    const { value, low, high } = cell;
    return [{ row, engine: row.engine, platform: row.platform, value, low: low ?? value, high: high ?? value }];
  });
}

/** Each in relation to PyTorch on the same platform. */
function relative(rows: Row[], metric: string): Point[] {
  return points(rows, metric).flatMap((point) => {
    const base = baseline(rows, point.platform, metric);
    return base ? [{ ...point, value: base / point.value, low: base / point.high, high: base / point.low }] : [];
  });
}

/** What no other point of its platform beats in both, from left to right. */
function front<T extends { x: number; y: number; platform: string }>(all: T[]): T[] {
  const least = new Map<string, number>();
  const beaten = ({ y, platform }: T) => y >= (least.get(platform) ?? Infinity);
  return [...all].sort((a, b) => a.x - b.x || a.y - b.y)
    .filter((point) => !beaten(point) && least.set(point.platform, point.y));
}

/** Figures by a dimension of the inputs, of the tabs that differ from this one in nothing else; none of fewer than two. */
function curve(tab: Tab, others: Tab[], metric: string, by: "batch" | "seq") {
  const rest = by === "batch" ? "seq" : "batch";
  const sized = others.filter((one) => one[by] !== null && one[rest] === tab[rest]);
  if (tab[by] === null || sized.length < 2) return [];
  const several = new Set(sized.flatMap((one) => one.rows.map((row) => row.platform))).size > 1;
  return sized.flatMap((one) => points(one.rows, metric).map(({ row, ...point }) => (
    { ...point, size: one[by]!, series: several ? `${point.engine}, ${point.platform}` : point.engine })));
}

const SIZES = { batch: "batch size", seq: "sequence length" };

export function Charts({ tab, rows, others, view, change }: Props) {
  const metrics = tab.columns.filter((column) => !column.asked).map((column) => column.metric);
  const metric = metrics.includes(view.chart) ? view.chart : metrics[0];
  const unit = tab.columns.find((column) => column.metric === metric)?.unit ?? "";
  const speed = relative(rows, metric);
  const both = points(rows, metric).flatMap(({ row, ...point }) => {
    const compile = row.cells.compile;
    return compile?.right && compile.value && metric !== "compile" ? [{ ...point, x: compile.value, y: point.value }] : [];
  });
  const past = rows.flatMap((row) => {
    const history = row.cells[metric]?.history ?? [];
    if (history.length < 2) return []; // no line
    return history.map(([date, value, low, high]) => ({ series: `${row.engine}, ${row.platform}`, date: new Date(date), value, low, high }));
  });
  const several = new Set(speed.map((point) => point.platform)).size > 1;
  const fy = several ? { fy: "platform" } : {};
  const plain = (value: number) => String(+value.toPrecision(2));
  return (
    <section aria-labelledby="charts">
      <h2 id="charts">Charts</h2>
      <label>
        Metric{" "}
        <select value={metric} onChange={(event) => change({ chart: event.currentTarget.value })}>
          {metrics.map((name) => <option key={name} value={name}>{name}</option>)}
        </select>
      </label>
      <Figure
        title={`Speed of ${metric} in relation to PyTorch's quickest backend; longer is better`} empty={!speed.length}
        make={(width) => Plot.plot({
          width, marginLeft: 190, marginRight: several ? 160 : 20,
          x: { grid: true, label: "× PyTorch", domain: [0, Math.max(1, ...speed.map((p) => p.high))] },
          y: { label: null }, fy: { label: null },
          marks: [
            Plot.barX(speed, { x: "value", y: "engine", ...fy, fill: "var(--accent)", sort: { y: "-x" } }),
            Plot.ruleY(speed, { x1: "low", x2: "high", y: "engine", ...fy, stroke: "currentColor" }),
            Plot.ruleX([1], { stroke: "currentColor", strokeDasharray: "4 3" }),
          ],
        })}
      />
      <Figure
        title={`${metric} (${unit}) against compile time (s), with what nothing beats in both`} empty={both.length < 2}
        make={(width) => Plot.plot({
          width, grid: true, inset: 12, marginLeft: 50, marginRight: 150,
          x: { type: "log", label: "compile (s) →", tickFormat: plain },
          y: { type: "log", label: `↑ ${metric} (${unit})`, tickFormat: plain },
          marks: [
            Plot.line(front(both), { x: "x", y: "y", z: "platform", curve: "step-after", stroke: "currentColor", strokeDasharray: "4 3" }),
            Plot.ruleX(both, { x: "x", y1: "low", y2: "high", stroke: "currentColor" }),
            Plot.dot(both, { x: "x", y: "y", fill: "var(--accent)", symbol: several ? "platform" : "circle" }),
            Plot.text(both, { x: "x", y: "y", text: "engine", dx: 6, textAnchor: "start", fill: "currentColor" }),
          ],
        })}
      />
      {(["batch", "seq"] as const).map((by) => [by, curve(tab, others, metric, by)] as const)
        .filter(([, sized]) => sized.length > 0).map(([by, sized]) => (
        <Figure
          key={by} title={`${metric} (${unit}) by ${SIZES[by]}`} empty={false}
          make={(width) => Plot.plot({
            width, grid: true, marginLeft: 50, color: { legend: true },
            x: { type: "log", label: `${SIZES[by]} →`, ticks: sized.map((point) => point.size), tickFormat: String },
            y: { type: "log", label: `↑ ${metric} (${unit})`, tickFormat: plain },
            marks: [
              Plot.line(sized, { x: "size", y: "value", z: "series", stroke: "series", sort: "size" }),
              Plot.ruleX(sized, { x: "size", y1: "low", y2: "high", stroke: "series" }),
              Plot.dot(sized, { x: "size", y: "value", fill: "series" }),
            ],
          })}
        />
      ))}
      {past.length > 0 && (
        <Figure
          title={`${metric} (${unit}) over time`} empty={false}
          make={(width) => Plot.plot({
            width, grid: true, x: { type: "utc", label: null }, y: { label: `↑ ${unit}` }, color: { legend: true },
            marks: [
              Plot.line(past, { x: "date", y: "value", z: "series", stroke: "series" }),
              Plot.ruleX(past, { x: "date", y1: "low", y2: "high", stroke: "series" }),
            ],
          })}
        />
      )}
    </section>
  );
}

function Figure({ title, empty, make }: { title: string; empty: boolean; make: (width: number) => Element }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!place.current) return;
    if (empty) return place.current.replaceChildren();
    const chart = make(Math.min(900, place.current.clientWidth || 900));
    chart.setAttribute("aria-hidden", "true"); // the table has the figures; Plot labels groups that have no role
    for (const part of [chart, ...chart.querySelectorAll("[aria-label]")]) part.removeAttribute("aria-label");
    place.current.replaceChildren(chart);
  });
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <div ref={place} role="img" aria-label={`Chart: ${title}. The table above has its figures.`} hidden={empty} />
      {empty && <p>There are too few figures for this chart.</p>}
    </figure>
  );
}
