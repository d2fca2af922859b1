import { useCallback, useEffect, useState } from "preact/hooks";
import { useApp } from "./app-context";
import { useAsked, type Asked } from "./asked";

export interface Pages<Row> extends Asked<Row[]> {
  keyOf: (row: Row) => string | number;
  isFirst: boolean;
  toFirst: () => void;
  toNext: (() => void) | undefined;
}

/**
 * A list that is read a page at a time. `read` (which must be stable) is told where the page begins: after the last row
 * of the one before, named by its key. Another `list` begins at its first page.
 */
export function usePages<Row, Cursor extends string | number>(
  read: (after: Cursor | null) => Promise<Row[]>,
  size: number,
  keyOf: (row: Row) => Cursor,
  turn?: unknown,
  list?: unknown,
): Pages<Row> {
  const [after, setAfter] = useState<Cursor | null>(null);
  useEffect(() => setAfter(null), [list]);
  const load = useCallback(() => read(after), [read, after]);
  const asked = useAsked(load, turn);
  const last = asked.isStale ? undefined : asked.data?.[size - 1];
  return { ...asked, keyOf, isFirst: after === null, toFirst: () => setAfter(null), toNext: last && (() => setAfter(keyOf(last))) };
}

/** The newest rows of a table that the caller may read, or of their personal account, and the older ones page by page. */
export function useNewest<Row extends { id: number }>(
  table: string,
  columns: string,
  size: number,
  turn?: unknown,
  personal = false,
): Pages<Row> {
  const { api } = useApp();
  const read = useCallback(
    (before: number | null) => api.newest<Row>(table, columns, size, before, personal),
    [api, table, columns, size, personal],
  );
  return usePages(read, size, (row) => row.id, turn);
}
