import { useCallback, useState } from "preact/hooks";
import { useAsked, type Asked } from "./asked";

export interface Pages<Row> extends Asked<Row[]> {
  isFirst: boolean;
  toFirst: () => void;
  toNext: (() => void) | undefined;
}

/**
 * A list that is read a page at a time. `read` (which must be stable) is told where the page begins: after the last row
 * of the one before, named by its `cursorOf`.
 */
export function usePages<Row, Cursor extends string | number>(
  read: (after: Cursor | null) => Promise<Row[]>,
  size: number,
  cursorOf: (row: Row) => Cursor,
  turn?: unknown,
): Pages<Row> {
  const [after, setAfter] = useState<Cursor | null>(null);
  const load = useCallback(() => read(after), [read, after]);
  const asked = useAsked(load, turn);
  const last = asked.isStale ? undefined : asked.data?.[size - 1];
  return { ...asked, isFirst: after === null, toFirst: () => setAfter(null), toNext: last && (() => setAfter(cursorOf(last))) };
}
