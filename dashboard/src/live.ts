import { useCallback, useEffect } from "preact/hooks";
import type { User } from "@supabase/supabase-js";
import { asApiError, type Api } from "./api/api";
import type { Balance, Config, Key, KeyList, Payment, Status } from "./api/types";
import type { Asked } from "./asked";
import { usePolled } from "./poll";

/** A part of the picture: the last that was seen of it, and why there is nothing newer. */
export type Part<T> = Pick<Asked<T>, "data" | "error">;

/** What changes by itself and is shown on every view. */
export interface Picture {
  keys: Part<KeyList>;
  status: Part<Status>;
  balance: Part<Balance>;
  payments: Part<Payment[]>;
  isSuspended: Part<boolean>;
}

export interface Live {
  picture: Picture | undefined;
  refresh: () => Promise<void>;
}

const RECENT_SECONDS = 30 * 60;
const GATHERED_MS = 300;

/** Its checkout did not open, or not yet: nobody can pay it. */
export const isUnopened = ({ status, authorization_url, timeline }: Payment): boolean =>
  status === "pending" && authorization_url === null && timeline.webhook === null && timeline.verified === null;

export const isUnderWay = (payment: Payment): boolean => {
  if (payment.waiting_for === null || payment.status === "needs_review" || isUnopened(payment)) return false;
  const ordered = payment.timeline.ordered ? Date.parse(payment.timeline.ordered) : 0;
  return payment.timeline.credited !== null || Date.now() - ordered < RECENT_SECONDS * 1000;
};

const isMoving = (key: Key): boolean =>
  key.sync_status === "pending" || (key.sync_status === "failed" && key.next_attempt_at !== null) || (key.former ? isMoving(key.former) : false);

const isBusy = ({ keys, payments, status }: Picture): boolean =>
  (keys.data?.keys ?? []).some(isMoving) ||
  (payments.data ?? []).some(isUnderWay) ||
  (status.data?.litellm.configured === true && !status.data.litellm.connected);

export function useLive(api: Api, config: Config, user: User): Live {
  const load = useCallback(
    async (before?: Picture): Promise<Picture> => {
      const [keys, status, balance, payments, isSuspended] = await Promise.all([
        part(before?.keys, readKeys(api)),
        part(before?.status, api.get<Status>("/api/status")),
        part(before?.balance, api.read<Balance>("read_balance")),
        part(before?.payments, api.get<{ transactions: Payment[] }>("/api/credits/transactions").then((answer) => answer.transactions)),
        part(before?.isSuspended, readSuspension(api)),
      ]);
      return { keys, status, balance, payments, isSuspended };
    },
    [api],
  );
  const { data, refresh } = usePolled(load, isBusy);
  useRealtime(api, config, user, refresh);
  return { picture: data, refresh };
}

const part = <T>(before: Part<T> | undefined, asked: Promise<T>): Promise<Part<T>> =>
  asked.then(
    (data) => ({ data, error: undefined }),
    (thrown) => ({ data: before?.data, error: asApiError(thrown) }),
  );

/** All keys, page by page. */
async function readKeys(api: Api): Promise<KeyList> {
  const list = await api.get<KeyList>("/api/keys/manage");
  while (list.next !== null) {
    const more = await api.get<KeyList>(`/api/keys/manage?after=${list.next}`);
    list.keys.push(...more.keys);
    list.next = more.next;
  }
  return list;
}

async function readSuspension(api: Api): Promise<boolean> {
  const profile = await api.query<{ status: string } | null>((supabase) => supabase.from("profiles").select("status").maybeSingle());
  return profile?.status === "suspended";
}

/** Look again soon after Supabase tells of a change of one's rows: once for all that change together. */
function useRealtime(api: Api, config: Config, user: User, refresh: () => Promise<void>): void {
  useEffect(() => {
    if (!config.realtime) return;
    let timer = 0;
    const lookSoon = () => {
      timer ||= window.setTimeout(() => {
        timer = 0;
        void refresh();
      }, GATHERED_MS);
    };
    const channel = api.supabase.channel("own-rows");
    for (const [table, column] of [["virtual_keys", "user_id"], ["transactions", "user_id"], ["profiles", "id"]] as const) {
      const changes = { event: "*" as const, schema: config.supabase_schema, table, filter: `${column}=eq.${user.id}` };
      channel.on("postgres_changes", changes, lookSoon);
    }
    channel.subscribe();
    return () => {
      clearTimeout(timer);
      void api.supabase.removeChannel(channel);
    };
  }, [api, config, user.id, refresh]);
}
