import type { ComponentChildren } from "preact";
import type { Part, Picture } from "./live";
import { plural } from "./format";
import { Time } from "./ui/parts";

const QUIET_WORKER_SECONDS = 60;

interface Told {
  tone: "good" | "wait" | "bad" | "plain";
  headline: string;
  rest?: ComponentChildren;
}

/** Whether changes reach LiteLLM now; always in sight. */
export function StatusLine({ picture }: { picture: Picture | undefined }) {
  const told = tell(picture);
  return (
    <div class={`status ${told.tone}`}>
      <div class="bar">
        <span class="dot" aria-hidden="true" />
        {/* Only what matters is read out when it changes; the times beside it move all the while. */}
        <strong role="status">{told.headline}</strong>
        <span class="rest">{told.rest}</span>
      </div>
    </div>
  );
}

function tell(picture: Picture | undefined): Told {
  const status = picture?.status.data;
  const failures = Object.values(picture ?? {}).flatMap(({ error }: Part<unknown>) => error ?? []);
  if (failures.some((error) => error.status === 429)) return { tone: "wait", headline: "This page asks too often.", rest: "It goes on by itself in a moment." };
  if (failures.some((error) => error.isTransient)) {
    return { tone: "bad", headline: "The service cannot be reached.", rest: "What you see may be old; this page tries again by itself." };
  }
  if (failures.length > 0) {
    return { tone: "wait", headline: "Not all of this could be read.", rest: "What you see may be old; this page tries again by itself." };
  }
  if (!status) return { tone: "plain", headline: "Asking how things are …" };
  const { litellm, worker } = status;
  if (!litellm.configured) {
    return { tone: "plain", headline: "LiteLLM is not configured here.", rest: "Keys can be made once it is." };
  }
  // Of one's own: the backlog has everybody's, parked ones among them.
  const moving = picture?.keys.data?.keys.filter((key) => key.sync_status !== "synced").length ?? 0;
  const waiting = moving > 0 && <>{plural(moving, "key")} waiting.</>;
  if (!litellm.connected) {
    return {
      tone: "bad",
      headline: "LiteLLM cannot be reached.",
      rest: (
        <>
          Nothing is lost; changes are waiting and go by themselves. {litellm.last_ok_at && <>It last answered <Time at={litellm.last_ok_at} />.</>}
        </>
      ),
    };
  }
  const quiet = !worker.last_seen || Date.now() - Date.parse(worker.last_seen) > QUIET_WORKER_SECONDS * 1000;
  if (quiet) {
    return {
      tone: "wait",
      headline: "LiteLLM is connected, but no worker is running.",
      rest: <>Your own changes go through; what has to be repeated waits. {worker.last_seen && <>Last seen <Time at={worker.last_seen} />.</>}</>,
    };
  }
  if (litellm.breaker !== "closed") {
    return { tone: "wait", headline: "LiteLLM is coming back.", rest: <>Changes are going again. {waiting}</> };
  }
  return { tone: "good", headline: "LiteLLM is connected.", rest: waiting || "All changes have arrived." };
}
