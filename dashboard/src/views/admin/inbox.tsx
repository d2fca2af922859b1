import { useCallback, useState } from "preact/hooks";
import { useAction } from "../../action";
import type { InboxEvent } from "../../api/types";
import { useApp } from "../../app-context";
import { plural, sentence } from "../../format";
import { usePages } from "../../pages";
import { Card, Failure, SelectField, Time } from "../../ui/parts";
import { ACTIONS, PagedTable } from "../../ui/table";
import type { Section } from "./admin";

type Kind = "failing" | "waiting" | "unknown";

const PAGE = 25;
const KINDS: [Kind, string][] = [
  ["failing", "Failed so far"],
  ["waiting", "Not handled yet"],
  ["unknown", "About no order of ours"],
];

/** Paystack's events that are stored and not done with. */
export function Inbox(section: Section) {
  const [kind, setKind] = useState<Kind>("failing");
  return (
    <Card heading="Paystack’s events" aside={<SelectField label="Show" value={kind} options={KINDS} onChange={(chosen) => setKind(chosen as Kind)} />}>
      <Events key={kind} kind={kind} {...section} />
    </Card>
  );
}

function Events({ kind, turn, onChange }: Section & { kind: Kind }) {
  const { api, say } = useApp();
  const { busy, error, run } = useAction(onChange);
  const read = useCallback(
    (before: number | null) => api.read<InboxEvent[]>("list_events", { only_kind: kind, before_id: before, page_size: PAGE }),
    [api, kind],
  );
  const pages = usePages(read, PAGE, (event) => event.id, turn);
  const replay = (chosen: { event_ids: number[] } | { only_failing: true }) =>
    run(async () => {
      const replayed = await api.change<number>("replay_events", chosen);
      say(`${plural(replayed, "event")} will be handled again.`);
    });
  return (
    <>
      <Failure error={error} />
      {kind === "failing" && Boolean(pages.data?.length) && (
        <button type="button" disabled={busy} onClick={() => replay({ only_failing: true })}>
          Replay all that fail
        </button>
      )}
      <PagedTable
        pages={pages}
        what="Paystack’s events"
        empty="None"
        label="Paystack’s events"
        wide
        columns={[
          { head: "Event", cell: (event) => event.event, isHead: true },
          { head: "Payment", cell: (event) => <code class="id">{event.reference ?? ""}</code> },
          { head: "Received", cell: (event) => <Time at={event.received_at} /> },
          { head: "Tried", cell: (event) => plural(event.attempts, "time") },
          { head: "Reason", cell: (event) => (event.last_error ? sentence(event.last_error) : event.outcome) },
          {
            head: ACTIONS,
            right: true,
            cell: (event) => (
              <button type="button" aria-label={`Replay event ${event.id}`} disabled={busy} onClick={() => replay({ event_ids: [event.id] })}>
                Replay
              </button>
            ),
          },
        ]}
      />
    </>
  );
}
