import { useLayoutEffect, useState } from "preact/hooks";
import { useAction } from "../action";
import type { Key } from "../api/types";
import { useApp } from "../app-context";
import { cents, count, masked, sentence, shownDay } from "../format";
import { useNow } from "../poll";
import { Badge, CopyButton, Failure, Meter, Time } from "../ui/parts";
import { EditKey, RevokeKey, RotateKey } from "./key-dialogs";

const BLOCKED = {
  owner: "Blocked",
  team: "Blocked by your team",
  administrator: "Blocked by an administrator",
  suspension: "Blocked while you are suspended",
};

type Open = "edit" | "rotate" | "revoke" | null;

export function KeyCard({ item }: { item: Key }) {
  const { api, live, say } = useApp();
  const [open, setOpen] = useState<Open>(null);
  const { busy, error, run } = useAction(live.refresh);
  const blocked = item.state === "blocked";
  const held = blocked && (item.blocked_by === "administrator" || item.blocked_by === "suspension");
  const close = () => setOpen(null);

  const toggle = () =>
    run(async () => {
      await api.patch<Key>(`/api/keys/manage/${item.id}`, { blocked: !blocked });
      say(blocked ? `${item.name} is being unblocked.` : `${item.name} is being blocked.`);
    });

  return (
    <article class="card key" aria-labelledby={`key-${item.id}`}>
      <header>
        <h3 id={`key-${item.id}`}>{item.name}</h3>
        <span class="badges">
          {blocked && <Badge tone="bad">{BLOCKED[item.blocked_by ?? "owner"]}</Badge>}
          <SyncBadge item={item} />
        </span>
      </header>
      {item.litellm_key_id ? (
        <Secret key={item.litellm_key_id} secret={item.litellm_key_id} name={item.name} />
      ) : (
        <p class="hint">The text of this key is not known here{item.key_preview ? `; it ends in ${item.key_preview.slice(-4)}` : ""}.</p>
      )}
      <Cap item={item} />
      <SyncLine item={item} />
      {item.former && <Former item={item} former={item.former} />}
      <Failure error={error} />
      <footer class="actions">
        <button type="button" aria-label={`Edit ${item.name}`} onClick={() => setOpen("edit")}>
          Edit
        </button>
        <button type="button" aria-label={`Rotate ${item.name}`} disabled={Boolean(item.former)} onClick={() => setOpen("rotate")}>
          Rotate
        </button>
        <button type="button" aria-label={`${blocked ? "Unblock" : "Block"} ${item.name}`} disabled={busy || held} onClick={toggle}>
          {blocked ? "Unblock" : "Block"}
        </button>
        <button type="button" class="danger" aria-label={`Revoke ${item.name}`} onClick={() => setOpen("revoke")}>
          Revoke
        </button>
      </footer>
      {open === "edit" && <EditKey item={item} onClose={close} />}
      {open === "rotate" && <RotateKey item={item} onClose={close} />}
      {open === "revoke" && <RevokeKey item={item} onClose={close} />}
    </article>
  );
}

const REVEALED_MS = 60_000;

/** The key itself: in the page only while it is revealed, and somebody may be looking. */
function Secret({ secret, name }: { secret: string; name: string }) {
  const [shown, setShown] = useState(false);
  useLayoutEffect(() => {
    if (!shown) return;
    const hide = () => setShown(false);
    const timer = setTimeout(hide, REVEALED_MS);
    document.addEventListener("visibilitychange", hide);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", hide);
    };
  }, [shown]);
  return (
    <div class="secret">
      <code class={shown ? "shown" : ""}>{shown ? secret : masked(secret)}</code>
      <span class="secret-actions">
        <button type="button" aria-label={`${shown ? "Hide" : "Reveal"} ${name}`} onClick={() => setShown(!shown)}>
          {shown ? "Hide" : "Reveal"}
        </button>
        <CopyButton text={() => secret} label={`Copy ${name}`} said={`${name} is copied.`} />
      </span>
    </div>
  );
}

const TONES = { synced: "good", pending: "wait", failed: "bad" } as const;
const WORDS = { synced: "Synced", pending: "Syncing", failed: "Not synced" };

export const SyncBadge = ({ item }: { item: Key }) => <Badge tone={TONES[item.sync_status]}>{WORDS[item.sync_status]}</Badge>;

/** How far LiteLLM has what is wanted, and what happens next. */
function SyncLine({ item }: { item: Key }) {
  const { api, live, say } = useApp();
  const { busy, error, run } = useAction(live.refresh);
  const sync = () =>
    run(async () => {
      const { key } = await api.post<{ key: Key }>("/api/keys/sync", { keyId: item.id, action: "update" });
      say(key.sync_status === "synced" ? `${item.name} is synced.` : `${item.name} is not synced yet.`);
    });
  return (
    <div class="sync">
      <p class="hint">
        {item.sync_status === "synced" && item.last_synced_at && (
          <>
            LiteLLM confirmed it <Time at={item.last_synced_at} />.
          </>
        )}
        {item.sync_status === "pending" && "Waiting for LiteLLM to confirm the last change; that goes by itself."}
        {item.sync_status === "failed" && <strong class="reason">{item.last_error ? sentence(item.last_error) : "LiteLLM did not take it."} </strong>}
        {item.sync_status === "failed" &&
          (item.next_attempt_at ? (
            <NextTry at={item.next_attempt_at} away={live.picture?.status.data?.litellm.connected === false} />
          ) : (
            "It is not tried again by itself: choose Sync now, or ask the people who run this service."
          ))}
      </p>
      <button type="button" class="link" aria-label={`Sync now: ${item.name}`} disabled={busy} onClick={sync}>
        {busy ? "Syncing …" : "Sync now"}
      </button>
      <Failure error={error} />
    </div>
  );
}

/** While LiteLLM is away nothing is pushed, whatever its time; what waits is due with LiteLLM's first answer. */
function NextTry({ at, away }: { at: string; away: boolean }) {
  const due = Date.parse(at) <= useNow(1);
  if (away) return <>It is tried again as soon as LiteLLM answers.</>;
  return due ? <>It is being tried again now.</> : <>The next try is <Time at={at} />.</>;
}

const PERIODS: Record<string, string> = { "1d": "a day", "7d": "a week", "30d": "a month" };
const period = ({ budget_duration: duration }: Key) => (duration ? (PERIODS[duration] ?? `per ${duration}`) : "in all");

function Cap({ item }: { item: Key }) {
  const { live, config } = useApp();
  const held = (live.picture?.balance.data?.credits ?? 0) * config.credit_value_cents;
  const budget = item.max_budget ?? 0;
  const spent = item.period?.spent_cents ?? null;
  const left = Math.max(0, budget - (spent ?? 0));
  return (
    <div class="cap">
      <p>
        {item.cap === "wallet" && item.max_budget !== null && budget < held ? (
          <>
            <strong>At most {cents(budget)} {period(item)}</strong>, <span class="hint">set by the people who run this service</span>
          </>
        ) : item.cap === "wallet" ? (
          <>
            <strong>No cap of its own</strong> <span class="hint">may spend what the wallet holds</span>
          </>
        ) : (
          <>
            <strong>{spent === null ? `Cap ${cents(budget)}` : `${cents(left)} of ${cents(budget)} left`}</strong> <span class="hint">{period(item)}</span>
          </>
        )}
      </p>
      {item.cap === "fixed" && spent !== null && <Meter label={`Left of the cap of ${item.name}`} value={left} max={budget} low={left < budget / 5} />}
      <p class="hint">
        {spent !== null && <>{cents(spent)} used in this period{item.period?.resets_at ? `, which ends on ${shownDay(item.period.resets_at)}` : ""}. </>}
        {[
          item.rpm_limit && `${count(item.rpm_limit)} requests`,
          item.tpm_limit && `${count(item.tpm_limit)} tokens`,
        ]
          .filter(Boolean)
          .join(" and ")}
        {(item.rpm_limit || item.tpm_limit) && " per minute."}
      </p>
    </div>
  );
}

/** The string that a rotated key had before, while it still works. */
function Former({ item, former }: { item: Key; former: Key }) {
  const { api, live, say } = useApp();
  const { busy, error, run } = useAction(live.refresh);
  const end = () =>
    run(async () => {
      await api.delete<Key>(`/api/keys/manage/${former.id}`);
      say(`The former string of ${item.name} is being revoked.`);
    });
  return (
    <div class="former">
      <p>
        <strong>Former string</strong>{" "}
        <span class="hint">
          still works{former.retires_at && <>, and stops <Time at={former.retires_at} /></>}. Switch your programs to the string above.
        </span>
      </p>
      {former.litellm_key_id && <Secret secret={former.litellm_key_id} name={`the former string of ${item.name}`} />}
      <button type="button" class="link danger" aria-label={`Stop it now: the former string of ${item.name}`} disabled={busy} onClick={end}>
        Stop it now
      </button>
      <Failure error={error} />
    </div>
  );
}
