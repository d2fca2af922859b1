import { useCallback } from "preact/hooks";
import { useAction } from "../../action";
import type { FailingKey, Resync } from "../../api/types";
import { useApp } from "../../app-context";
import { plural, sentence } from "../../format";
import { usePages } from "../../pages";
import { usePolled } from "../../poll";
import { Badge, Card, Failure, Meter, Time } from "../../ui/parts";
import { ACTIONS, PagedTable } from "../../ui/table";
import type { Section } from "./admin";

const PAGE = 20;

export function FailingKeys({ turn, onChange }: Section) {
  const { api, live, say } = useApp();
  const away = live.picture?.status.data?.litellm.connected === false;
  const { busy, error, run } = useAction(onChange);
  const read = useCallback(
    async (after: string | null) => {
      const asked = `/api/keys/sync?all=true&limit=${PAGE}${after ? `&after=${after}` : ""}`;
      return (await api.get<{ keys: FailingKey[] }>(asked)).keys;
    },
    [api],
  );
  const sync = (item: FailingKey) =>
    run(async () => {
      const { key } = await api.post<{ key: FailingKey }>("/api/keys/sync", { keyId: item.id, action: "update" });
      say(key.sync_status === "synced" ? `${item.name} is synced.` : `${item.name} is not synced yet.`);
    });
  return (
    <Card heading="Keys that LiteLLM does not have as wanted">
      <ResyncAll onChange={onChange} />
      <Failure error={error} />
      <PagedTable
        pages={usePages(read, PAGE, (key) => key.id, turn)}
        what="the failing keys"
        empty="No key fails"
        label="Keys that fail"
        wide
        columns={[
          { head: "Key", cell: (key) => key.name, isHead: true },
          { head: "Account", cell: (key) => <code class="id">{key.user_id}</code> },
          { head: "Reason", cell: (key) => key.last_error && sentence(key.last_error) },
          {
            head: "Next try",
            cell: ({ next_attempt_at: next }) => (next ? away ? "when LiteLLM answers" : <Time at={next} /> : <Badge tone="bad">Parked</Badge>),
          },
          {
            head: ACTIONS,
            right: true,
            cell: (key) => (
              <button type="button" aria-label={`Sync now: ${key.name}`} disabled={busy} onClick={() => sync(key)}>
                Sync now
              </button>
            ),
          },
        ]}
      />
    </Card>
  );
}

const isGoing = (resync: Resync) => resync.id !== null && (resync.ended_at === null || resync.outstanding_accounts > resync.failing_accounts);

/** Everything that failed or is parked once more, and how far that is. */
function ResyncAll({ onChange }: { onChange: () => void }) {
  const { api, say } = useApp();
  const load = useCallback(() => api.get<Resync>("/api/admin/resync"), [api]);
  const { data: resync, error: unread, refresh } = usePolled(load, isGoing);
  const { busy, error, run } = useAction(async () => {
    await refresh();
    onChange();
  });
  const start = () =>
    run(async () => {
      let told: Resync;
      do told = await api.post<Resync>("/api/admin/resync");
      while (told.ended_at === null);
      say(`${plural(told.keys, "key")} of ${plural(told.accounts, "account")} are on their way again.`);
    });
  const total = resync?.accounts ?? 0;
  const done = total - (resync?.outstanding_accounts ?? 0);
  return (
    <div class="resync">
      <button type="button" disabled={busy} onClick={start}>
        {busy ? "Making all due …" : "Sync all that failed"}
      </button>
      {resync?.id && (
        <div class="grow">
          <p class="hint" role="status">
            {plural(done, "account")} of {total} confirmed
            {resync.failing_accounts > 0 && `, ${resync.failing_accounts} failed again`}
            {resync.started_at && <>, begun <Time at={resync.started_at} /></>}.
          </p>
          <Meter label="Accounts confirmed" value={total === 0 ? 1 : done} max={total || 1} />
        </div>
      )}
      <Failure error={error ?? unread} />
    </div>
  );
}
