import type { Balance } from "../api/types";
import { useApp, usePart } from "../app-context";
import { count, worth } from "../format";
import { Loaded } from "../ui/loaded";
import { Meter } from "../ui/parts";

const LOW: Record<number, string> = {
  50: "Half of your last top-up is used.",
  20: "Less than a fifth of your last top-up is left.",
  5: "Almost nothing is left: calls will soon be refused.",
};

/** What all keys together may still spend. */
export const Wallet = ({ onCredits = false }: { onCredits?: boolean }) => (
  <Loaded asked={usePart("balance")} what="your credits" lines={2}>
    {(balance) => <Card balance={balance} onCredits={onCredits} />}
  </Loaded>
);

function Card({ balance, onCredits }: { balance: Balance; onCredits: boolean }) {
  const { config } = useApp();
  const notice = balance.notice ?? (balance.credits <= 0 ? 5 : null);
  return (
    <section class="wallet card" aria-labelledby="wallet">
      <div class="wallet-side">
        <h2 id="wallet">Wallet left</h2>
        <p class="big">
          {worth(balance.credits, config)} <span class="unit">{count(balance.credits)} credits</span>
        </p>
        {balance.after_top_up !== null && balance.after_top_up > 0 && (
          <>
            <Meter label="Left of the balance after the last top-up" value={balance.credits} max={balance.after_top_up} low={notice !== null && notice <= 20} />
            <p class="hint">
              of {worth(balance.after_top_up, config)} after your last top-up
            </p>
          </>
        )}
      </div>
      <div class="wallet-side">
        {notice !== null && (
          <p class={`low-balance ${notice <= 20 ? "bad" : ""}`} role="status">
            {balance.credits <= 0 ? "Your wallet is empty: calls are refused until you top it up." : LOW[notice]}
          </p>
        )}
        {!onCredits && config.payments && (
          <a class="button" href="#/credits">
            Buy credits
          </a>
        )}
        <p class="hint">All your keys share this wallet. Calls show up here after about half a minute.</p>
      </div>
    </section>
  );
}
