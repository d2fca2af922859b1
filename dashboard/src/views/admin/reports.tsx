import { useCallback } from "preact/hooks";
import { useApp } from "../../app-context";
import { useAsked } from "../../asked";
import { plural } from "../../format";
import { Loaded } from "../../ui/loaded";
import { Badge, Card, Empty, Time } from "../../ui/parts";

interface Report {
  ended_at: string;
  complete: boolean;
  differences: number;
  report: unknown;
}

/** What the last comparisons found. */
export const Reports = ({ turn }: { turn: number }) => (
  <div class="columns">
    <ReportCard heading="Reconciliation of the books" name="read_reconciliation" turn={turn} />
    <ReportCard heading="Drift of the keys in LiteLLM" name="read_drift_report" turn={turn} />
  </div>
);

function ReportCard({ heading, name, turn }: { heading: string; name: string; turn: number }) {
  const { api } = useApp();
  const load = useCallback(() => api.read<Report | null>(name), [api, name]);
  return (
    <Card heading={heading}>
      <Loaded asked={useAsked(load, turn)} what="the report" lines={2}>
        {(found) =>
          found ? (
            <>
              <p>
                <Badge tone={found.differences ? "bad" : found.complete ? "good" : "wait"}>{plural(found.differences, "difference")}</Badge>{" "}
                {!found.complete && <Badge tone="wait">not complete</Badge>} <Time at={found.ended_at} />
              </p>
              <details>
                <summary>The whole report</summary>
                <pre tabIndex={0}>{JSON.stringify(found.report, null, 2)}</pre>
              </details>
            </>
          ) : (
            <Empty title="Nothing was compared yet" />
          )
        }
      </Loaded>
    </Card>
  );
}
