import { useCallback } from "preact/hooks";
import { useApp } from "../../app-context";
import { useAsked } from "../../asked";
import { plural } from "../../format";
import { Badge, Empty, Missing, Skeleton, Time } from "../../ui/parts";

interface Report {
  ended_at: string;
  complete: boolean;
  differences: number;
  report: unknown;
}

/** What the nightly comparisons found. */
export const Reports = ({ turn }: { turn: number }) => (
  <div class="columns">
    <ReportCard id="reconciliation" heading="Reconciliation of the books" name="read_reconciliation" turn={turn} />
    <ReportCard id="drift" heading="Drift of the keys in LiteLLM" name="read_drift_report" turn={turn} />
  </div>
);

function ReportCard({ id, heading, name, turn }: { id: string; heading: string; name: string; turn: number }) {
  const { api } = useApp();
  const load = useCallback(() => api.read<Report | null>(name), [api, name, turn]);
  const { data, error, reload } = useAsked(load);
  return (
    <section class="card" aria-labelledby={id}>
      <h2 id={id}>{heading}</h2>
      {data ? (
        <>
          <p>
            <Badge tone={data.differences ? "bad" : data.complete ? "good" : "wait"}>{plural(data.differences, "difference")}</Badge>{" "}
            {!data.complete && <Badge tone="wait">not complete</Badge>} <Time at={data.ended_at} />
          </p>
          <details>
            <summary>The whole report</summary>
            <pre tabIndex={0}>{JSON.stringify(data.report, null, 2)}</pre>
          </details>
        </>
      ) : data === null ? (
        <Empty title="Nothing was compared yet" />
      ) : error ? (
        <Missing error={error} what="The report" retry={reload} />
      ) : (
        <Skeleton label="the report" lines={2} />
      )}
    </section>
  );
}
