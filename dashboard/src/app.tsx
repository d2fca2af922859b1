import { useLayoutEffect, useMemo, useState } from "preact/hooks";
import type { Session, SupabaseClient } from "@supabase/supabase-js";
import { Api } from "./api/api";
import { connect, loadConfig } from "./api/config";
import { follow, takeLink } from "./api/link";
import type { Config } from "./api/types";
import { useAsked } from "./asked";
import { Home } from "./home";
import { Skeleton } from "./ui/parts";
import { NewPassword, SignIn } from "./views/sign-in";

/** Read once, before anything else looks at the address. */
const link = takeLink();

export function App() {
  const { data: config, error, reload } = useAsked(loadConfig);
  if (config) return <Connected config={config} />;
  if (!error) return <Booting />;
  return (
    <main class="alone">
      <h1>Not reachable</h1>
      <p>The service cannot be reached right now. Nothing of yours is lost.</p>
      <button type="button" class="main" onClick={reload}>
        Try again
      </button>
    </main>
  );
}

const Booting = () => (
  <main class="alone">
    <Skeleton label="the page" lines={4} />
  </main>
);

function Connected({ config }: { config: Config }) {
  const supabase = useMemo(() => connect(config), [config]);
  const [session, setSession] = useState<Session | null>();
  const [recovering, setRecovering] = useState(link.leadsToPassword);
  const [notice, setNotice] = useState(link.notice);

  // Before anything of the network can come: that the link was one to a new password is told only once.
  useLayoutEffect(() => {
    const { data } = supabase.auth.onAuthStateChange((event, current) => {
      setSession(current);
      // Every tab is told of these: each goes on once one of them has the new password.
      if (event === "PASSWORD_RECOVERY") setRecovering(true);
      if (event === "USER_UPDATED" || event === "SIGNED_OUT") setRecovering(false);
      if (event === "SIGNED_IN") setNotice("");
    });
    void follow(supabase, link).then((told) => {
      setNotice(told);
      if (told) setRecovering(false);
    });
    return () => data.subscription.unsubscribe();
  }, [supabase]);

  const api = useMemo(() => new Api(supabase, () => void renew(supabase, setNotice)), [supabase]);
  if (session === undefined) return <Booting />;
  if (session === null) return <SignIn supabase={supabase} notice={notice} />;
  if (recovering) return <NewPassword supabase={supabase} />;
  return <Home key={session.user.id} api={api} config={config} user={session.user} />;
}

/** A token was refused: get another, or, where the session is over, have the person sign in again. */
async function renew(supabase: SupabaseClient, setNotice: (notice: string) => void): Promise<void> {
  const { error } = await supabase.auth.refreshSession();
  if (error && error.name !== "AuthRetryableFetchError") {
    setNotice("Your session is over. Sign in again.");
    await supabase.auth.signOut({ scope: "local" });
  }
}
