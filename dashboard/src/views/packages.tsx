import { useCallback, useState } from "preact/hooks";
import { useAction } from "../action";
import { ApiError } from "../api/api";
import type { Package } from "../api/types";
import { useApp } from "../app-context";
import { useAsked } from "../asked";
import { count, price, worth } from "../format";
import { Loaded } from "../ui/loaded";
import { Card, Empty, Failure, SelectField } from "../ui/parts";

const CURRENCY = "keyfund-currency";

interface Checkout {
  reference: string;
  authorization_url: string;
}

export function Packages() {
  const { api, config, live, say } = useApp();
  const [currency, setCurrency] = useState(localStorage.getItem(CURRENCY) ?? "");
  const { busy, error, run } = useAction(live.refresh);
  const load = useCallback(() => api.get<{ packages: Package[] }>("/api/credits/packages"), [api]);
  const asked = useAsked(load);

  const currencies = [...new Set(asked.data?.packages.map((one) => one.currency))];
  const paidIn = live.picture?.payments.data?.[0]?.currency;
  const shown = [currency, paidIn, currencies[0]].find((one) => one && currencies.includes(one)) ?? "";
  const choose = (chosen: string) => {
    setCurrency(chosen);
    localStorage.setItem(CURRENCY, chosen);
  };

  // A tab of its own, so that the timeline stays in sight. It is opened at the click, or it would count as a pop-up.
  const buy = (offer: Package) => {
    const tab = open("about:blank", "_blank");
    if (tab) tab.opener = null;
    return run(async () => {
      try {
        const checkout = await api.post<Checkout>("/api/credits/checkout", {
          package_id: offer.id,
          amount: offer.amount,
          credits: offer.credits,
        });
        if (tab) tab.location.replace(checkout.authorization_url);
        say(tab ? "The checkout is open in another tab." : "The order is made. Go to the checkout above.");
      } catch (thrown) {
        tab?.close();
        if (thrown instanceof ApiError && thrown.code === "price_changed") void asked.reload();
        throw thrown;
      }
    });
  };

  return (
    <Card
      heading="Buy credits"
      aside={currencies.length > 1 && <SelectField label="Currency" value={shown} onChange={choose} options={currencies.map((one) => [one, one])} />}
    >
      <Loaded asked={asked} what="the packages">
        {({ packages }) =>
          packages.length === 0 ? (
            <Empty title="Nothing is on sale at the moment." />
          ) : (
            <ul class="packages">
              {packages
                .filter((one) => one.currency === shown)
                .map((offer) => (
                  <li key={offer.id}>
                    <h3>{offer.name}</h3>
                    <p class="big">{count(offer.credits)} credits</p>
                    <p class="hint">{worth(offer.credits, config)} of model calls</p>
                    <button type="button" class="main" disabled={busy} aria-label={`Buy ${offer.name} for ${price(offer.amount, offer.currency)}`} onClick={() => buy(offer)}>
                      {price(offer.amount, offer.currency)}
                    </button>
                  </li>
                ))}
            </ul>
          )
        }
      </Loaded>
      <Failure error={error} />
      <p class="hint">You pay at Paystack, in a tab of its own. Your keys stay the same; the new credits reach all of them.</p>
    </Card>
  );
}
