import type { ChartConfiguration } from "chart.js";
import { useCallback } from "preact/hooks";
import type { DailyBalance, Usage } from "../api/types";
import { addDays, number, shownDay } from "../format";
import { Chart, type Ink } from "../ui/chart";
import { type Burn, daysBetween, type Measure, measureOf, type ModelSum } from "./usage-sums";

const shortDay = (day: string) => shownDay(day).replace(/,? \d{4}$/, "");

export function TrendChart({ usage, sums, measure }: { usage: Usage; sums: ModelSum[]; measure: Measure }) {
  const make = useCallback(
    (ink: Ink): ChartConfiguration => {
      const days = daysBetween(usage.start_date, usage.end_date);
      return {
        type: "bar",
        data: {
          labels: days.map(shortDay),
          datasets: sums.map((sum, index) => ({
            label: sum.model,
            data: days.map((day) => {
              const tally = sum.byDay.get(day);
              return tally ? measureOf(tally, measure) : 0;
            }),
            backgroundColor: ink.series(index),
            borderColor: ink.surface,
            borderWidth: { top: 1, right: 0, bottom: 0, left: 0 },
            borderRadius: 2,
            maxBarThickness: 26,
          })),
        },
        options: {
          maintainAspectRatio: false,
          interaction: { mode: "index", intersect: false },
          scales: {
            x: { stacked: true, grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 14 } },
            y: { stacked: true, beginAtZero: true, border: { display: false }, ticks: { maxTicksLimit: 5 } },
          },
          plugins: { legend: { position: "bottom", labels: { boxWidth: 10, boxHeight: 10 } } },
        },
      };
    },
    [usage, sums, measure],
  );
  return <Chart label={`${measure} by day, stacked by model; the table below has the numbers`} make={make} />;
}

export function ShareChart({ sums }: { sums: ModelSum[] }) {
  const make = useCallback(
    (ink: Ink): ChartConfiguration<"doughnut"> => ({
      type: "doughnut",
      data: {
        labels: sums.map((sum) => sum.model),
        datasets: [
          {
            data: sums.map((sum) => sum.total.credits),
            backgroundColor: sums.map((_, index) => ink.series(index)),
            borderColor: ink.surface,
            borderWidth: 2,
          },
        ],
      },
      options: { maintainAspectRatio: false, cutout: "68%", plugins: { legend: { display: false } } },
    }),
    [sums],
  );
  return <Chart label="Share of each model; the table below has the numbers" make={make as (ink: Ink) => ChartConfiguration} small />;
}

const MOST_AHEAD = 45;

/** The balance as it was, and as it goes on at the present rate. */
export function BurnChart({ usage, balances, left, rate }: { usage: Usage; balances: DailyBalance[]; left: number; rate: Burn }) {
  const make = useCallback(
    (ink: Ink): ChartConfiguration => {
      const past = daysBetween(usage.start_date, usage.end_date);
      const ahead = rate.runsOutOn
        ? daysBetween(addDays(usage.end_date, 1), rate.runsOutOn).slice(0, Math.min(MOST_AHEAD, Math.max(past.length, 7)))
        : [];
      const credits = new Map(balances.map((one) => [one.day, one.credits]));
      const known = past.map((day) => (day === usage.end_date ? left : (credits.get(day) ?? null)));
      const gap = past.slice(0, -1).map(() => null);
      const line = { borderColor: ink.accent, borderWidth: 2, pointRadius: 0, pointHitRadius: 12 };
      return {
        type: "line",
        data: {
          labels: [...past, ...ahead].map(shortDay),
          datasets: [
            { ...line, label: "Credits left", data: known, fill: true, backgroundColor: `${ink.accent}22`, stepped: "before" },
            {
              ...line,
              label: "At this rate",
              data: [...gap, left, ...ahead.map((_, index) => Math.max(0, left - rate.creditsPerDay * (index + 1)))],
              borderDash: [5, 4],
            },
          ],
        },
        options: {
          maintainAspectRatio: false,
          interaction: { mode: "index", intersect: false },
          scales: {
            x: { grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 18 } },
            y: { beginAtZero: true, border: { display: false }, ticks: { maxTicksLimit: 4 } },
          },
          plugins: { legend: { position: "bottom", labels: { boxWidth: 16, boxHeight: 2 } } },
        },
      };
    },
    [usage, balances, left, rate.creditsPerDay, rate.runsOutOn],
  );
  return <Chart label={`Credits left by day: ${number(left)} now`} make={make} small />;
}
