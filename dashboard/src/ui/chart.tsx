import {
  ArcElement,
  BarController,
  BarElement,
  CategoryScale,
  Chart as ChartJs,
  type ChartConfiguration,
  DoughnutController,
  Filler,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
} from "chart.js";
import { useEffect, useRef } from "preact/hooks";

ChartJs.register(
  ArcElement, BarController, BarElement, CategoryScale, DoughnutController, Filler, Legend, LinearScale, LineController, LineElement,
  PointElement, Tooltip,
);

export interface Ink {
  text: string;
  muted: string;
  grid: string;
  surface: string;
  accent: string;
  series: (index: number) => string;
}

export const SERIES = 8;

/** The colours of the theme in use, as the stylesheet has them. */
function readInk(): Ink {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string) => style.getPropertyValue(name).trim();
  return {
    text: read("--text"),
    muted: read("--muted"),
    grid: read("--line"),
    surface: read("--surface"),
    accent: read("--accent"),
    series: (index) => read(`--series-${(index % SERIES) + 1}`),
  };
}

interface Props {
  label: string;
  make: (ink: Ink) => ChartConfiguration;
  small?: boolean;
}

/** A picture of numbers that a table beside it has, too. */
export function Chart({ label, make, small }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    draw(element, make);
    // The button that changes the theme is elsewhere on the page.
    const observer = new MutationObserver(() => draw(element, make));
    observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      observer.disconnect();
      ChartJs.getChart(element)?.destroy();
    };
  }, [make]);
  return (
    <div class={`chart ${small ? "small" : ""}`}>
      <canvas ref={canvas} role="img" aria-label={label} />
    </div>
  );
}

function draw(canvas: HTMLCanvasElement, make: Props["make"]): void {
  const ink = readInk();
  ChartJs.defaults.color = ink.muted;
  ChartJs.defaults.borderColor = ink.grid;
  ChartJs.defaults.font.family = getComputedStyle(document.body).fontFamily;
  ChartJs.defaults.animation = matchMedia("(prefers-reduced-motion: reduce)").matches ? false : { duration: 350 };
  ChartJs.getChart(canvas)?.destroy();
  new ChartJs(canvas, make(ink));
}
