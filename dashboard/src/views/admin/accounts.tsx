import { useCallback, useState } from "preact/hooks";
import { useAction } from "../../action";
import { ApiError } from "../../api/api";
import type { FoundAccount } from "../../api/types";
import { useApp } from "../../app-context";
import { count, plural, shownDay } from "../../format";
import { usePages } from "../../pages";
import { Badge, Card, Failure, TextField } from "../../ui/parts";
import { ACTIONS, PagedTable } from "../../ui/table";
import type { Section } from "./admin";
import { Reason } from "./reason";
import { Search } from "./search";

const ACTS = { adjust: "Adjust credits", suspend: "Suspend", reinstate: "Reinstate" };
type What = keyof typeof ACTS;

const PAGE = 20;
const possible = ({ status }: FoundAccount): What[] =>
  status === "deleted" ? ["adjust"] : ["adjust", status === "active" ? "suspend" : "reinstate"];
const nameOf = (account: FoundAccount) => account.email ?? account.name ?? account.account_id;

export function Accounts({ turn, onChange }: Section) {
  const { api, say } = useApp();
  const [search, setSearch] = useState("");
  const [question, setQuestion] = useState<{ what: What; account: FoundAccount }>();
  const read = useCallback(
    (after: string | null) => api.read<FoundAccount[]>("find_accounts", { search, page_size: PAGE, after_account: after }),
    [api, search],
  );
  const pages = usePages(read, PAGE, (account) => account.account_id, turn, search);
  const { busy, error, run } = useAction(onChange);
  const resync = (account: FoundAccount) =>
    run(async () => {
      await api.change("resync_account", { account_id: account.account_id });
      say("The wallet and the failed keys are on their way again.");
    });
  const dialog = question && { account: question.account, onClose: () => setQuestion(undefined), refresh: onChange };

  return (
    <Card heading="Accounts">
      <Search label="E-mail or account id" onSearch={setSearch} />
      <Failure error={error} />
      <PagedTable
        pages={pages}
        what="the accounts"
        empty="None"
        label="Accounts"
        wide
        columns={[
          { head: "Who", cell: nameOf, isHead: true },
          { head: "Since", cell: (account) => shownDay(account.created_at) },
          { head: "Credits", cell: (account) => count(account.credits), right: true },
          {
            head: "Keys",
            cell: (account) => (
              <>
                {plural(account.keys, "key")} {account.failing_keys > 0 && <Badge tone="bad">{account.failing_keys} failing</Badge>}
              </>
            ),
          },
          {
            head: "Status",
            cell: (account) => (
              <>
                <Badge tone={account.status === "active" ? "good" : "bad"}>{account.status}</Badge>{" "}
                {!account.wallet_confirmed && <Badge tone="wait">wallet not confirmed</Badge>}
              </>
            ),
          },
          {
            head: ACTIONS,
            right: true,
            cell: (account) => (
              <span class="actions end">
                <button type="button" aria-label={`Sync ${nameOf(account)}`} disabled={busy} onClick={() => resync(account)}>
                  Sync
                </button>
                {possible(account).map((what) => (
                  <button
                    key={what}
                    type="button"
                    class={what === "suspend" ? "danger" : undefined}
                    aria-label={`${ACTS[what]}: ${nameOf(account)}`}
                    onClick={() => setQuestion({ what, account })}
                  >
                    {ACTS[what]}
                  </button>
                ))}
              </span>
            ),
          },
        ]}
      />
      {dialog && (question.what === "adjust" ? <Adjust {...dialog} /> : <SetStatus what={question.what} {...dialog} />)}
    </Card>
  );
}

interface DialogProps {
  account: FoundAccount;
  refresh: () => void;
  onClose: () => void;
}

/** Ids of adjustments by account, until it is known what became of them: the same id is never booked twice. */
const unanswered = new Map<string, string>();

function Adjust({ account, ...dialog }: DialogProps) {
  const { api } = useApp();
  const [credits, setCredits] = useState("");
  const [belowZero, allow] = useState(false);
  const change = /^-?[1-9][0-9]{0,8}$/.test(credits) ? Number(credits) : 0;
  const after = account.credits + change;
  const isBelow = change < 0 && after < 0;
  const adjust = async (reason: string) => {
    const id = unanswered.get(account.account_id) ?? crypto.randomUUID();
    unanswered.set(account.account_id, id);
    try {
      await api.change("adjust_credits", {
        account_id: account.account_id,
        credits: change,
        reason,
        adjustment_id: id,
        allow_negative: isBelow && belowZero,
      });
    } catch (thrown) {
      if (!(thrown instanceof ApiError) || thrown.status !== 409) throw thrown;
      unanswered.delete(account.account_id);
      if (thrown.code !== "adjustment_exists") throw thrown;
      throw new ApiError(409, thrown.code, "The adjustment before, of which no answer came, was booked. Look at the credits before you adjust them again.");
    }
    unanswered.delete(account.account_id);
    return `The credits of ${nameOf(account)} are adjusted.`;
  };
  return (
    <Reason title={`Adjust the credits of ${nameOf(account)}`} action="Adjust" does={adjust} {...dialog}>
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
      {change !== 0 && (
        <p class={isBelow ? "notice bad" : "hint"}>
          {count(account.credits)} credits before, {count(after)} after.
        </p>
      )}
      {isBelow && (
        <label class="check">
          <input type="checkbox" required checked={belowZero} onChange={(event) => allow(event.currentTarget.checked)} /> Take more than there is: the
          account owes the rest.
        </label>
      )}
    </Reason>
  );
}

function SetStatus({ account, what, ...dialog }: DialogProps & { what: "suspend" | "reinstate" }) {
  const { api } = useApp();
  const set = async (reason: string) => {
    await api.change(`${what}_account`, { account_id: account.account_id, reason });
    return `${nameOf(account)} is ${what === "suspend" ? "suspended" : "reinstated"}.`;
  };
  return (
    <Reason title={`${ACTS[what]} ${nameOf(account)}`} action={ACTS[what]} danger={what === "suspend"} does={set} {...dialog}>
      <p>
        {what === "suspend"
          ? "The wallet in LiteLLM becomes 0: every call is refused, and nothing can be bought, until the account is reinstated."
          : "The wallet is what it was, and keys work again."}
      </p>
    </Reason>
  );
}
