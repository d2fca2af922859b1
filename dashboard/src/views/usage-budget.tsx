import { useCallback } from "preact/hooks";
import type { DailyBalance, Usage } from "../api/types";
import { useApp, usePart } from "../app-context";
import { useAsked } from "../asked";
import { count, plural, shownDay, worth } from "../format";
import { Loaded } from "../ui/loaded";
import { Card } from "../ui/parts";
import { Table } from "../ui/table";
import { BurnChart } from "./usage-charts";
import { burn } from "./usage-sums";

/** How long the wallet lasts, by usage of all models and keys up to today. */
export const BurnCard = ({ usage }: { usage: Usage }) => (
  <Card heading="Budget">
    <Loaded asked={usePart("balance")} what="your budget" lines={4}>
      {({ credits }) => <Forecast usage={usage} left={credits} />}
    </Loaded>
  </Card>
);

function Forecast({ usage, left }: { usage: Usage; left: number }) {
  const { api, config } = useApp();
  const { start_date, end_date } = usage;
  const load = useCallback(() => api.read<DailyBalance[]>("read_daily_balances", { start_date, end_date }), [api, start_date, end_date]);
  const rate = burn(usage, left);
  return (
    <>
      <p>
        {rate.creditsPerDay === 0 ? (
          "Nothing was spent lately, so nothing runs out."
        ) : (
          <>
            {worth(rate.creditsPerDay, config)} a day over the last {plural(rate.overDays, "day")}.{" "}
            {rate.runsOutOn ? (
              <strong>
                At this rate the {worth(left, config)} that you have left are used up on {shownDay(rate.runsOutOn)}.
              </strong>
            ) : (
              "At this rate your wallet lasts for years."
            )}
          </>
        )}
      </p>
      <Loaded asked={useAsked(load)} what="the balance by day">
        {(balances) => (
          <>
            <BurnChart usage={usage} balances={balances} left={left} rate={rate} />
            <details>
              <summary>As a table</summary>
              <Table
                label="Credits left by day"
                rows={balances}
                keyOf={({ day }) => day}
                columns={[
                  { head: "Day", cell: ({ day }) => shownDay(day), isHead: true },
                  { head: "Credits left at its end", cell: ({ credits }) => count(credits), right: true },
                ]}
              />
            </details>
          </>
        )}
      </Loaded>
    </>
  );
}
