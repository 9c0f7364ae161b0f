// What is shown, kept in the URL's fragment, so that a view can be linked.
import { useEffect, useState } from "preact/hooks";
import { FACETS, type Facet, type Results } from "./data";

export interface View {
  tab: string;
  hidden: Record<Facet, string[]>;
  metrics: string[]; // those that are hidden
  verified: boolean;
  sort: string;
  descending: boolean;
  chart: string;
}

export function parse(fragment: string, results: Results): View {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const titles = results.tabs.map((tab) => tab.title);
  const tab = given.get("model") ?? "";
  return {
    tab: titles.includes(tab) ? tab : (titles[0] ?? ""),
    hidden: Object.fromEntries(FACETS.map((facet) => [facet, given.getAll(`no-${facet}`)])) as View["hidden"],
    metrics: given.getAll("no-metric"),
    verified: given.get("verified") === "1",
    sort: given.get("sort") ?? "",
    descending: given.get("descending") === "1",
    chart: given.get("chart") ?? "inference",
  };
}

export function fragment(view: View): string {
  const made = new URLSearchParams({ model: view.tab });
  for (const facet of FACETS) for (const value of view.hidden[facet]) made.append(`no-${facet}`, value);
  for (const metric of view.metrics) made.append("no-metric", metric);
  if (view.verified) made.set("verified", "1");
  if (view.sort) made.set("sort", view.sort);
  if (view.descending) made.set("descending", "1");
  if (view.chart !== "inference") made.set("chart", view.chart);
  return `#${made}`;
}

export function useView(results: Results): [View, (change: Partial<View>) => void] {
  const [view, setView] = useState(() => parse(location.hash, results));
  useEffect(() => {
    const follow = () => setView(parse(location.hash, results));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, [results]);
  const change = (part: Partial<View>) => {
    const next = { ...view, ...part };
    history.replaceState(null, "", fragment(next));
    setView(next);
  };
  return [view, change];
}
