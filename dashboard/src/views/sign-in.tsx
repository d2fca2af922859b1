import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { AuthError, type SupabaseClient } from "@supabase/supabase-js";
import { useAction } from "../action";
import { ApiError } from "../api/api";
import { Brand, ThemeButton } from "../ui/brand";
import { Failure, Notice, TextField } from "../ui/parts";

const MODES = ["in", "up", "forgotten"] as const;
type Mode = (typeof MODES)[number];

const PASSWORD_LENGTH = 8;
const TITLES: Record<Mode, string> = { in: "Sign in", up: "Create your account", forgotten: "Reset your password" };
const ACTIONS: Record<Mode, string> = { in: "Sign in", up: "Sign up", forgotten: "Send the link" };
const TURNS: Record<Mode, string> = { in: "Sign in instead", up: "Create an account", forgotten: "Forgot your password?" };
const BACK = `${location.origin}${location.pathname}`;

const SENTENCES: Record<string, string> = {
  invalid_credentials: "This e-mail address and password do not go together.",
  user_already_exists: "There is an account with this address. Sign in instead.",
  email_exists: "There is an account with this address. Sign in instead.",
  email_not_confirmed: "Confirm your address first: the link is in the mail that you got.",
  over_email_send_rate_limit: "A mail was sent a moment ago. Wait a minute before you ask for another.",
  same_password: "This is the password that you have already. Choose another.",
};

/** Supabase's refusals in our words. */
function check({ error }: { error: AuthError | null }): void {
  if (!error) return;
  if (error.name === "AuthRetryableFetchError") {
    throw new ApiError(0, "unreachable", "The sign-in service cannot be reached. Try again in a moment.");
  }
  throw new ApiError(error.status ?? 400, error.code ?? "auth", SENTENCES[error.code ?? ""] ?? error.message);
}

export function SignIn({ supabase, notice }: { supabase: SupabaseClient; notice: string }) {
  const [mode, setMode] = useState<Mode>("in");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [sent, setSent] = useState("");
  const { busy, error, run } = useAction();
  const [failedIn, setFailedIn] = useState<Mode>();

  const submit = async (event: Event) => {
    event.preventDefault();
    setSent("");
    setFailedIn(mode);
    await run(async () => {
      if (mode === "in") check(await supabase.auth.signInWithPassword({ email, password }));
      if (mode === "up") {
        const answer = await supabase.auth.signUp({ email, password, options: { emailRedirectTo: BACK } });
        check(answer);
        if (!answer.data.session) setSent(`Almost there: open the link in the mail to ${email}.`);
      }
      if (mode === "forgotten") {
        check(await supabase.auth.resetPasswordForEmail(email, { redirectTo: BACK }));
        setSent(`If ${email} has an account, a mail with a link is on its way.`);
      }
    });
  };
  const turn = (to: Mode) => {
    setMode(to);
    setSent("");
  };

  return (
    <Alone title={TITLES[mode]}>
      <p class="lead">Prepaid keys for AI models: one wallet, a key for each place that needs one.</p>
      {notice && <Notice>{notice}</Notice>}
      <form onSubmit={submit}>
        <TextField label="E-mail" type="email" value={email} onInput={setEmail} autoComplete="username" required />
        {mode !== "forgotten" && (
          <TextField
            label="Password"
            type="password"
            value={password}
            onInput={setPassword}
            autoComplete={mode === "up" ? "new-password" : "current-password"}
            hint={mode === "up" ? `At least ${PASSWORD_LENGTH} characters.` : undefined}
            {...(mode === "up" ? { minLength: PASSWORD_LENGTH } : {})}
            required
          />
        )}
        {failedIn === mode && <Failure error={error} />}
        <div role="status">{sent && <Notice tone="good">{sent}</Notice>}</div>
        <button type="submit" class="main" disabled={busy}>
          {busy ? "One moment …" : ACTIONS[mode]}
        </button>
      </form>
      <p class="turns">
        {MODES.filter((to) => to !== mode).map((to) => (
          <button key={to} type="button" class="link" onClick={() => turn(to)}>
            {TURNS[to]}
          </button>
        ))}
      </p>
    </Alone>
  );
}

const Alone = ({ title, children }: { title: string; children: ComponentChildren }) => (
  <main class="alone">
    <div class="alone-head">
      <Brand />
      <ThemeButton />
    </div>
    <h1>{title}</h1>
    {children}
  </main>
);

/** Reached by the link of a recovery mail. */
export function NewPassword({ supabase }: { supabase: SupabaseClient }) {
  const [password, setPassword] = useState("");
  const { busy, error, run } = useAction();
  const submit = async (event: Event) => {
    event.preventDefault();
    await run(async () => {
      check(await supabase.auth.updateUser({ password }));
      await supabase.auth.signOut({ scope: "others" }); // whoever knew the old one may still be signed in
    });
  };
  return (
    <Alone title="Choose a new password">
      <form onSubmit={submit}>
        <TextField
          label="New password"
          type="password"
          value={password}
          onInput={setPassword}
          autoComplete="new-password"
          minLength={PASSWORD_LENGTH}
          hint={`At least ${PASSWORD_LENGTH} characters.`}
          required
        />
        <Failure error={error} />
        <button type="submit" class="main" disabled={busy}>
          {busy ? "One moment …" : "Save the password"}
        </button>
      </form>
    </Alone>
  );
}
