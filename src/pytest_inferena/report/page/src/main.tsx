import { render } from "preact";
import { useMemo, useState } from "preact/hooks";
import { Charts } from "./charts";
import { FACETS, type Facet, type Results, type Row, type Tab } from "./data";
import { Provenance, type Shown } from "./provenance";
import { useView, type View } from "./state";
import { ResultTable } from "./table";
import "./style.css";

const results = (window as unknown as { RESULTS: Results }).RESULTS;

function App() {
  const [view, change] = useView(results);
  const [shown, show] = useState<Shown | null>(null);
  const tab = results.tabs.find((one) => one.title === view.tab) ?? results.tabs[0];
  const rows = useMemo(() => (tab ? filtered(tab, view) : []), [tab, view]);
  if (!tab) return <main><h1>pytest-inferena</h1><p>No cell was recorded.</p></main>;
  const others = results.tabs.filter((one) => one.family === tab.family).map((one) => ({ ...one, rows: filtered(one, view) }));
  const platforms = [...new Set(tab.rows.map((row) => row.platform))];
  return (
    <>
      <header>
        <h1>Which framework runs this model best, and does it still compute the right thing?</h1>
        <p>
          Every figure is the median of repeated steps with its 95 % interval, of an engine whose outputs and gradients
          were compared with PyTorch in float64. Figures compare within one platform, on one day.
        </p>
      </header>
      <Tabs titles={results.tabs.map((one) => one.title)} active={tab.title} choose={(title) => change({ tab: title })} />
      <main>
        <div id="panel" role="tabpanel" aria-labelledby={`tab-${results.tabs.indexOf(tab)}`}>
        <Filters tab={tab} view={view} change={change} />
        <p role="status">{rows.length} of {tab.rows.length} rows on {platforms.length === 1 ? "one platform" : `${platforms.length} platforms`}</p>
        <ResultTable tab={tab} rows={rows} view={view} change={change} show={show} />
        <Legend />
        <Charts tab={tab} rows={rows} others={others} view={view} change={change} />
        </div>
        <Runs />
      </main>
      <Provenance shown={shown} close={() => show(null)} runs={results.runs} />
    </>
  );
}

function filtered(tab: Tab, view: View): Row[] {
  return tab.rows.filter(
    (row) =>
      FACETS.every((facet) => !view.hidden[facet].includes(row[facet])) &&
      (!view.verified || Object.values(row.cells).some((cell) => cell.right)),
  );
}

function Tabs({ titles, active, choose }: { titles: string[]; active: string; choose: (title: string) => void }) {
  const move = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1 };
    const at = titles.indexOf(active);
    const to = event.key === "Home" ? 0 : event.key === "End" ? titles.length - 1 : at + (steps[event.key] ?? NaN);
    if (Number.isNaN(to)) return;
    event.preventDefault();
    const index = (to + titles.length) % titles.length;
    choose(titles[index]);
    document.getElementById(`tab-${index}`)?.focus();
  };
  return (
    <nav aria-label="Models">
    <div class="tabs" role="tablist" aria-label="Model" onKeyDown={move}>
      {titles.map((title, index) => (
        <button
          key={title} id={`tab-${index}`} role="tab" type="button" aria-controls="panel"
          aria-selected={title === active} tabIndex={title === active ? 0 : -1} onClick={() => choose(title)}
        >
          {title}
        </button>
      ))}
    </div>
    </nav>
  );
}

function Filters({ tab, view, change }: { tab: Tab; view: View; change: (part: Partial<View>) => void }) {
  const values = (facet: Facet) => [...new Set(tab.rows.map((row) => row[facet]))].filter(Boolean);
  const toggle = (list: string[], value: string) =>
    list.includes(value) ? list.filter((one) => one !== value) : [...list, value];
  const metrics = tab.columns.map((column) => column.metric);
  return (
    <form class="filters" aria-label="Filters" onSubmit={(event) => event.preventDefault()}>
      {FACETS.filter((facet) => values(facet).length > 1).map((facet) => (
        <Choices
          key={facet} name={facet} values={values(facet)} hidden={view.hidden[facet]}
          toggle={(value) => change({ hidden: { ...view.hidden, [facet]: toggle(view.hidden[facet], value) } })}
          all={(hidden) => change({ hidden: { ...view.hidden, [facet]: hidden } })}
        />
      ))}
      <Choices
        name="metric" values={metrics} hidden={view.metrics}
        toggle={(value) => change({ metrics: toggle(view.metrics, value) })} all={(hidden) => change({ metrics: hidden })}
      />
      <label class="single">
        <input type="checkbox" checked={view.verified} onChange={() => change({ verified: !view.verified })} />
        only verified
      </label>
    </form>
  );
}

interface ChoicesProps {
  name: string;
  values: string[];
  hidden: string[];
  toggle: (value: string) => void;
  all: (hidden: string[]) => void;
}

function Choices({ name, values, hidden, toggle, all }: ChoicesProps) {
  const left = values.filter((value) => !hidden.includes(value));
  const said = left.length === values.length ? "all" : left.length === 1 ? left[0] : `${left.length} of ${values.length}`;
  return (
    <details class="choices">
      <summary>{name}: {said}</summary>
      <fieldset>
        <legend>{name}</legend>
        <button type="button" onClick={() => all([])}>all</button>
        <button type="button" onClick={() => all(values)}>none</button>
        {values.map((value) => (
          <label key={value}>
            <input type="checkbox" checked={!hidden.includes(value)} onChange={() => toggle(value)} />
            {value}
          </label>
        ))}
      </fieldset>
    </details>
  );
}

function Legend() {
  return (
    <dl class="legend">
      <div><dt><b>bold</b></dt><dd>best of its column on its platform, with all whose intervals overlap with it</dd></div>
      <div><dt>≈</dt><dd>CLOSE: right, but at reduced precision</dd></div>
      <div><dt>†</dt><dd>ran the baseline's graph of forward and backward; the others differentiate by themselves</dd></div>
      <div><dt><s>struck</s></dt><dd>FAIL: another model's result, so the figure does not count</dd></div>
      <div><dt>°</dt><dd>as somebody else published it; nothing of it was verified</dd></div>
      <div><dt>✗</dt><dd>it broke</dd></div>
      <div><dt>—</dt><dd>the engine does not have it</dd></div>
      <div><dt>·</dt><dd>not part of this run</dd></div>
    </dl>
  );
}

function Runs() {
  return (
    <section aria-labelledby="runs">
      <h2 id="runs">Runs</h2>
      {results.runs.map((run, index) => (
        <details key={index} class="run">
          <summary>{run.facts.find(([name]) => name === "Platform")?.[1] ?? "?"}, {run.date.slice(0, 10)}</summary>
          <dl>{run.facts.map(([name, text]) => <div key={name}><dt>{name}</dt><dd>{text}</dd></div>)}</dl>
        </details>
      ))}
    </section>
  );
}

render(<App />, document.getElementById("page")!);
