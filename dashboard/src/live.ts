import { useCallback, useEffect, useRef } from "preact/hooks";
import type { User } from "@supabase/supabase-js";
import { asApiError, type Api, type ApiError } from "./api/api";
import type { Balance, Config, Key, KeyList, Payment, Status } from "./api/types";
import { usePolled } from "./poll";

/** A part of the picture: the last that was seen of it, and why there is nothing newer. */
export interface Part<T> {
  value: T | undefined;
  error: ApiError | undefined;
}

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
  (keys.value?.keys ?? []).some(isMoving) ||
  (payments.value ?? []).some(isUnderWay) ||
  (status.value?.litellm.configured === true && !status.value.litellm.connected);

export function useLive(api: Api, config: Config, user: User): Live {
  const last = useRef<Picture | undefined>(undefined);
  const load = useCallback(async () => {
    const [keys, status, balance, payments, isSuspended] = await Promise.allSettled([
      api.get<KeyList>("/api/keys/manage"),
      api.get<Status>("/api/status"),
      api.read<Balance>("read_balance"),
      api.get<{ transactions: Payment[] }>("/api/credits/transactions").then((answer) => answer.transactions),
      readSuspension(api),
    ]);
    last.current = {
      keys: merge(last.current?.keys, keys),
      status: merge(last.current?.status, status),
      balance: merge(last.current?.balance, balance),
      payments: merge(last.current?.payments, payments),
      isSuspended: merge(last.current?.isSuspended, isSuspended),
    };
    return last.current;
  }, [api]);
  const { data, refresh } = usePolled(load, isBusy);
  useRealtime(api, config, user, refresh);
  return { picture: data, refresh };
}

function merge<T>(before: Part<T> | undefined, settled: PromiseSettledResult<T>): Part<T> {
  if (settled.status === "fulfilled") return { value: settled.value, error: undefined };
  return { value: before?.value, error: asApiError(settled.reason) };
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
      const changes = { event: "*" as const, schema: "public", table, filter: `${column}=eq.${user.id}` };
      channel.on("postgres_changes", changes, lookSoon);
    }
    channel.subscribe();
    return () => {
      clearTimeout(timer);
      void api.supabase.removeChannel(channel);
    };
  }, [api, config, user.id, refresh]);
}
