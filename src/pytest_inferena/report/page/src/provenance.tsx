import { useEffect, useRef } from "preact/hooks";
import type { Cell, Results } from "./data";

export interface Shown {
  title: string;
  cell: Cell;
}

/** Where one figure comes from; the browser's own dialog keeps the focus and closes on Escape. */
export function Provenance({ shown, close, runs }: { shown: Shown | null; close: () => void; runs: Results["runs"] }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (shown) dialog.current?.showModal();
  }, [shown]);
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="provenance">
      {shown && (
        <>
          <h2 id="provenance">{shown.title}</h2>
          <p class="large">{shown.cell.text}{shown.cell.note && `: ${shown.cell.note}`}</p>
          <dl>
            {[...shown.cell.facts, ...runs[shown.cell.run].facts].map(([name, text], index) => (
              <div key={index}><dt>{name}</dt><dd>{text}</dd></div>
            ))}
          </dl>
          <form method="dialog"><button>Close</button></form>
        </>
      )}
    </dialog>
  );
}
