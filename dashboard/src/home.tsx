import type { ComponentType } from "preact";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { User } from "@supabase/supabase-js";
import type { Api } from "./api/api";
import type { Config } from "./api/types";
import { AppContext } from "./app-context";
import { useAsked } from "./asked";
import { useLive } from "./live";
import { onDemand } from "./on-demand";
import { VIEWS, useView, type View } from "./route";
import { StatusLine } from "./status-line";
import { Brand, ThemeButton } from "./ui/brand";
import { Notice } from "./ui/parts";
import { CreditsView } from "./views/credits";
import { EstimateView } from "./views/estimate";
import { KeysView } from "./views/keys";

const NAMES: Record<View, string> = { keys: "Keys", usage: "Usage", credits: "Credits", estimate: "Estimate", admin: "Admin" };
const SHOWS: Record<View, ComponentType> = {
  keys: KeysView,
  usage: onDemand("usage", () => import("./views/usage").then((module) => module.UsageView)), // with all of the charts
  credits: CreditsView,
  estimate: EstimateView,
  admin: onDemand("the administration", () => import("./views/admin/admin").then((module) => module.AdminView)),
};

const RETRY_MS = 10_000;

export function Home({ api, config, user }: { api: Api; config: Config; user: User }) {
  const live = useLive(api, config, user);
  const [spoken, say] = useSpoken();
  const isAdministrator = useAdministrator(api);
  const asked = useView();
  const view = asked === "admin" && !isAdministrator ? "keys" : asked;
  const Shown = SHOWS[view];

  useEffect(() => {
    document.title = `${NAMES[view]} · Keyfund`;
  }, [view]);
  useFocusOn(view);

  return (
    <AppContext.Provider value={{ api, config, user, live, say }}>
      <a class="skip" href="#main" onClick={skipToMain}>
        Skip to the content
      </a>
      <header class="top">
        <div class="bar">
          <Brand />
          <nav aria-label="Views">
            {VIEWS.filter((one) => one !== "admin" || isAdministrator).map((one) => (
              <a key={one} href={`#/${one}`} aria-current={one === view ? "page" : undefined}>
                {NAMES[one]}
              </a>
            ))}
          </nav>
          <div class="person">
            <span class="email">{user.email}</span>
            <ThemeButton />
            <button type="button" class="quiet" onClick={() => void api.supabase.auth.signOut({ scope: "local" })}>
              Sign out
            </button>
          </div>
        </div>
        <StatusLine picture={live.picture} />
      </header>
      <main id="main" tabIndex={-1}>
        {live.picture?.isSuspended.data && (
          <Notice tone="bad">
            This account is suspended: calls are refused, and nothing can be made or bought. Nothing of yours is lost. Ask the people who run this
            service.
          </Notice>
        )}
        <Shown key={view} />
      </main>
      <div class="spoken" role="status" aria-live="polite">
        {spoken && <p>{spoken}</p>}
      </div>
    </AppContext.Provider>
  );
}

function skipToMain(event: Event): void {
  event.preventDefault(); // the address names the view
  document.getElementById("main")?.focus();
}

/** A sentence for everybody, shown for some seconds and read out. */
function useSpoken(): [string, (message: string) => void] {
  const [spoken, setSpoken] = useState("");
  const timer = useRef(0);
  const say = useCallback((message: string) => {
    clearTimeout(timer.current);
    setSpoken(message);
    timer.current = window.setTimeout(() => setSpoken(""), 6000);
  }, []);
  return [spoken, say];
}

/** A link inside of a view goes with it, and the focus with the link: the next view's heading is where to go on. */
function useFocusOn(view: View): void {
  const before = useRef(view);
  useLayoutEffect(() => {
    if (before.current === view) return;
    before.current = view;
    (document.querySelector<HTMLElement>("main h1") ?? document.getElementById("main"))?.focus();
  }, [view]);
}

/** Whether to offer the administrators' view. What it calls is checked in the database each time. */
function useAdministrator(api: Api): boolean {
  const load = useCallback(() => api.read<boolean | null>("is_administrator"), [api]);
  const { data, error, reload } = useAsked(load);
  useEffect(() => {
    if (!error) return;
    const timer = setTimeout(reload, RETRY_MS);
    return () => clearTimeout(timer);
  }, [error, reload]);
  return data === true;
}
