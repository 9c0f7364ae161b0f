import {
  createColumnHelper,
  createSortedRowModel,
  rowSortingFeature,
  tableFeatures,
  useTable,
} from "@tanstack/preact-table";
import { useMemo } from "preact/hooks";
import { best, type Cell, type Row, type Tab } from "./data";
import type { Shown } from "./provenance";
import type { View } from "./state";

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });
const helper = createColumnHelper<typeof features, Row>();

/** Figures that do not count come after those that do. */
function figure(row: Row, metric: string): number | undefined {
  const cell = row.cells[metric];
  return cell?.right && cell.value !== null ? cell.value : undefined;
}

interface Props {
  tab: Tab;
  rows: Row[];
  view: View;
  change: (part: Partial<View>) => void;
  show: (shown: Shown) => void;
}

export function ResultTable({ tab, rows, view, change, show }: Props) {
  const metrics = tab.columns.filter((column) => !view.metrics.includes(column.metric));
  const names = metrics.map((column) => column.metric).join();
  const columns = useMemo(
    () =>
      helper.columns([
        helper.accessor("platform", { id: "platform", header: "Platform", sortFn: "text" as never }),
        helper.accessor("engine", { id: "engine", header: "Framework" }),
        ...metrics.map(({ metric, unit }) =>
          helper.accessor((row: Row) => figure(row, metric), {
            id: metric, header: `${metric} (${unit})`, sortUndefined: "last",
            sortFn: (a, b) => (figure(a.original, metric) ?? 0) - (figure(b.original, metric) ?? 0),
          }),
        ),
      ]),
    [tab, names],
  );
  const sorting = view.sort ? [{ id: view.sort, desc: view.descending }] : [];
  const table = useTable({
    features, columns, data: rows, enableSortingRemoval: true, sortDescFirst: false, state: { sorting },
    onSortingChange: (update) => {
      const [first] = typeof update === "function" ? update(sorting) : update;
      change({ sort: first?.id ?? "", descending: first?.desc ?? false });
    },
  });
  const bests = useMemo(() => new Map(metrics.map(({ metric }) => [metric, best(rows, metric)])), [rows, names]);
  const most = new Map(metrics.map(({ metric }) => [metric, Math.max(...rows.map((row) => figure(row, metric) ?? 0))]));
  return (
    <div class="scroll" role="region" aria-label={`Results of ${tab.title}`} tabIndex={0}>
      <table>
        <caption>{tab.title}</caption>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id}>
              {group.headers.map((header) => {
                const sorted = header.column.getIsSorted();
                return (
                  <th key={header.id} scope="col" aria-sort={sorted === "asc" ? "ascending" : sorted ? "descending" : "none"}>
                    <button type="button" onClick={header.column.getToggleSortingHandler()}>
                      {String(header.column.columnDef.header)}
                      <span aria-hidden="true">{sorted === "asc" ? " ▲" : sorted ? " ▼" : ""}</span>
                    </button>
                  </th>
                );
              })}
              <th scope="col">loss</th>
            </tr>
          ))}
        </thead>
        <tbody>
          {table.getRowModel().rows.map(({ original: row, id }) => (
            <tr key={id}>
              <td>{row.platform}</td>
              <th scope="row">{row.engine}</th>
              {metrics.map(({ metric, unit }) => (
                <Figure
                  key={metric} cell={row.cells[metric]} isBest={bests.get(metric)!.has(row)} most={most.get(metric)!}
                  open={(cell) => show({ title: `${row.engine}, ${tab.title}, ${metric} in ${unit}`, cell })}
                />
              ))}
              <td class="number">{row.loss}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Figure({ cell, isBest, most, open }: { cell?: Cell; isBest: boolean; most: number; open: (cell: Cell) => void }) {
  if (!cell) return <td class="number"><span title="not part of this run">·</span></td>;
  const share = (value: number | null) => `${((value ?? 0) / (most || 1)) * 100}%`;
  const text = cell.struck ? <s>{cell.text}</s> : isBest ? <b>{cell.text}</b> : cell.text;
  return (
    <td class={`number ${cell.outcome}`}>
      <button type="button" class="figure" title={cell.note || undefined} onClick={() => open(cell)}>
        {text}
        {cell.note && <span class="hidden">: {cell.note}</span>}
      </button>
      {cell.note && <span class="note" aria-hidden="true">{cell.note}</span>}
      {cell.right && cell.value !== null && (
        <span
          class="bar" aria-hidden="true"
          style={{ "--value": share(cell.value), "--low": share(cell.low ?? cell.value), "--high": share(cell.high ?? cell.value) }}
        />
      )}
    </td>
  );
}
