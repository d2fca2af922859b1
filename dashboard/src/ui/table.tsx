import type { ComponentChildren } from "preact";
import type { Pages } from "../pages";
import { Loaded } from "./loaded";
import { Empty } from "./parts";

interface Column<Row> {
  head: ComponentChildren;
  cell: (row: Row) => ComponentChildren;
  right?: boolean;
  /** What names the row. */
  isHead?: boolean;
}

interface Props<Row> {
  label: string;
  wide?: boolean;
  columns: Column<Row>[];
  rows: Row[];
  keyOf: (row: Row) => string | number;
}

/** The head of a column that has a row's buttons. */
export const ACTIONS = <span class="hidden">Actions</span>;

/** A table that scrolls by itself where it is too wide. */
export const Table = <Row,>({ label, wide, columns, rows, keyOf }: Props<Row>) => (
  <div class={wide ? "table-box wide" : "table-box"} role="group" aria-label={label} tabIndex={0}>
    <table>
      <thead>
        <tr>
          {columns.map(({ head, right }, index) => (
            <th key={index} scope="col" class={right ? "right" : undefined}>
              {head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={keyOf(row)}>
            {columns.map(({ cell, right, isHead }, index) => {
              const Cell = isHead ? "th" : "td";
              return (
                <Cell key={index} scope={isHead ? "row" : undefined} class={right ? "right" : undefined}>
                  {cell(row)}
                </Cell>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

interface PagedProps<Row> extends Omit<Props<Row>, "rows" | "keyOf"> {
  pages: Pages<Row>;
  what: string;
  empty: string;
}

/** A page of a longer table. Only where the first has nothing is there none at all; from any other a way leads back. */
export const PagedTable = <Row,>({ pages, what, empty, ...table }: PagedProps<Row>) => (
  <Loaded asked={pages} what={what}>
    {(rows) => (
      <>
        {rows.length > 0 ? <Table {...table} rows={rows} keyOf={pages.keyOf} /> : <Empty title={pages.isFirst ? empty : "Nothing is on this page any more"} />}
        <div class="actions">
          {!pages.isFirst && (
            <button type="button" onClick={pages.toFirst}>
              First page
            </button>
          )}
          {pages.toNext && (
            <button type="button" onClick={pages.toNext}>
              Next page
            </button>
          )}
        </div>
      </>
    )}
  </Loaded>
);
