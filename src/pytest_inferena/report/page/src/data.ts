// What the Python side puts into the page; see report/html.py.
export interface Cell {
  run: number;
  outcome: string;
  text: string;
  value: number | null;
  low: number | null;
  high: number | null;
  right: boolean;
  competes: boolean;
  struck: boolean;
  note: string;
  facts: [string, string][];
  history: [string, number, number, number][];
}

export interface Row {
  platform: string;
  engine: string;
  framework: string;
  backend: string;
  device: string;
  variant: string;
  language: string;
  loss: string;
  cells: Record<string, Cell>;
}

export interface Tab {
  title: string;
  /** The title without batch and sequence: tabs of one family are points of one curve. */
  family: string;
  batch: number | null;
  seq: number | null;
  /** Metrics, and what was asked for beside them, which no chart draws. */
  columns: { metric: string; unit: string; asked?: boolean }[];
  rows: Row[];
}

export interface Results {
  runs: { date: string; facts: [string, string][] }[];
  tabs: Tab[];
}

export const FACETS = ["platform", "framework", "language", "backend", "device", "variant"] as const;
export type Facet = (typeof FACETS)[number];

/** The rows whose interval overlaps that of the least median, of each platform on its own. */
export function best(rows: Row[], metric: string): Set<Row> {
  const found = new Set<Row>();
  for (const platform of new Set(rows.map((row) => row.platform))) {
    const able = rows.filter((row) => row.platform === platform && row.cells[metric]?.competes);
    if (able.length < 2) continue; // alone, it is not better than anything
    const least = able.reduce((a, b) => (b.cells[metric].value! < a.cells[metric].value! ? b : a)).cells[metric];
    for (const row of able) {
      const cell = row.cells[metric];
      if (cell.low! <= least.high! && least.low! <= cell.high!) found.add(row);
    }
  }
  return found;
}

/** A platform's PyTorch, the row that others are set in relation to: the quickest right one of its backends. */
export function baseline(rows: Row[], platform: string, metric: string): number | null {
  const values = rows
    .filter((row) => row.platform === platform && row.framework === "PyTorch" && row.cells[metric]?.right)
    .map((row) => row.cells[metric].value)
    .filter((value) => value !== null);
  return values.length ? Math.min(...values) : null;
}
