import { useCallback, useState } from "preact/hooks";
import { useAction } from "../../action";
import type { FoundAccount } from "../../api/types";
import { useApp } from "../../app-context";
import { useAsked } from "../../asked";
import { count, plural, shownDay } from "../../format";
import { Badge, Empty, Failure, Missing, Skeleton, TableBox, TextField } from "../../ui/parts";
import { Reason } from "./reason";

type What = "suspend" | "reinstate" | "adjust";
type Ask = { what: What; account: FoundAccount; id: string } | null;

export function Accounts({ turn, onChange }: { turn: number; onChange: () => void }) {
  const { api, say } = useApp();
  const [typed, setTyped] = useState("");
  const [search, setSearch] = useState("");
  const [ask, setAsk] = useState<Ask>(null);
  const load = useCallback(() => api.read<FoundAccount[]>("find_accounts", { search, page_size: 20 }), [api, search, turn]);
  const { data: accounts, error, reload } = useAsked(load);
  const { busy, error: refused, run } = useAction();
  const begin = (what: What, account: FoundAccount) => setAsk({ what, account, id: crypto.randomUUID() });

  const resync = (account: FoundAccount) =>
    run(async () => {
      await api.change("resync_account", { account_id: account.user_id });
      say("The wallet and the failed keys are on their way again.");
      onChange();
    });

  return (
    <section class="card" aria-labelledby="accounts">
      <h2 id="accounts">Accounts</h2>
      <form
        class="search"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          setSearch(typed.trim());
        }}
      >
        <TextField label="E-mail or account id" value={typed} onInput={setTyped} autoComplete="off" />
        <button type="submit">Search</button>
      </form>
      <Failure error={refused} />
      {accounts ? (
        accounts.length === 0 ? (
          <Empty title="None" />
        ) : (
          <TableBox wide label="Accounts">
            <thead>
              <tr>
                <th scope="col">Who</th>
                <th scope="col">Since</th>
                <th scope="col" class="right">Credits</th>
                <th scope="col">Keys</th>
                <th scope="col">Status</th>
                <th scope="col">
                  <span class="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {accounts.map((account) => {
                const name = account.email ?? account.user_id;
                return (
                  <tr key={account.user_id}>
                    <th scope="row">{name}</th>
                    <td>{shownDay(account.created_at)}</td>
                    <td class="right">{count(account.credits)}</td>
                    <td>
                      {plural(account.keys, "key")} {account.failing_keys > 0 && <Badge tone="bad">{account.failing_keys} failing</Badge>}
                    </td>
                    <td>
                      <Badge tone={account.status === "active" ? "good" : "bad"}>{account.status}</Badge> {!account.wallet_confirmed && <Badge tone="wait">wallet not confirmed</Badge>}
                    </td>
                    <td class="right">
                      <span class="actions end">
                        <button type="button" aria-label={`Adjust credits of ${name}`} onClick={() => begin("adjust", account)}>
                          Adjust credits
                        </button>
                        <button type="button" aria-label={`Sync ${name}`} disabled={busy} onClick={() => resync(account)}>
                          Sync
                        </button>
                        {account.status === "active" && (
                          <button type="button" class="danger" aria-label={`Suspend ${name}`} onClick={() => begin("suspend", account)}>
                            Suspend
                          </button>
                        )}
                        {account.status === "suspended" && (
                          <button type="button" aria-label={`Reinstate ${name}`} onClick={() => begin("reinstate", account)}>
                            Reinstate
                          </button>
                        )}
                      </span>
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </TableBox>
        )
      ) : error ? (
        <Missing error={error} what="Accounts" retry={reload} />
      ) : (
        <Skeleton label="accounts" lines={3} />
      )}
      {ask && <AccountDialog ask={ask} onClose={() => setAsk(null)} onChange={onChange} />}
    </section>
  );
}

function AccountDialog({ ask, onClose, onChange }: { ask: NonNullable<Ask>; onClose: () => void; onChange: () => void }) {
  const { api, say } = useApp();
  const [credits, setCredits] = useState("");
  const { account, what, id } = ask;
  const name = account.email ?? account.user_id;
  const done = (sentence: string) => {
    say(sentence);
    onChange();
  };
  if (what === "adjust") {
    const adjust = async (reason: string) => {
      // The id is this dialog's: sending it again after a lost answer changes nothing.
      await api.change("adjust_credits", { account_id: account.user_id, credits: Number(credits), reason, adjustment_id: id });
      done(`The credits of ${name} are adjusted.`);
    };
    return (
      <Reason title={`Adjust the credits of ${name}`} action="Adjust" does={adjust} onClose={onClose}>
        <TextField
          label="Credits"
          value={credits}
          onInput={setCredits}
          pattern="-?[1-9][0-9]{0,8}"
          title="A whole number other than 0; with a minus to take them."
          hint="Whole credits; with a minus to take them."
          required
          autoComplete="off"
        />
      </Reason>
    );
  }
  const suspend = what === "suspend";
  const change = async (reason: string) => {
    await api.change(suspend ? "suspend_account" : "reinstate_account", { account_id: account.user_id, reason });
    done(suspend ? `${name} is suspended.` : `${name} is reinstated.`);
  };
  return (
    <Reason title={`${suspend ? "Suspend" : "Reinstate"} ${name}`} action={suspend ? "Suspend" : "Reinstate"} danger={suspend} does={change} onClose={onClose}>
      <p>{suspend ? "The wallet in LiteLLM becomes 0: every call is refused, and nothing can be bought, until the account is reinstated." : "The wallet is what it was, and keys work again."}</p>
    </Reason>
  );
}
