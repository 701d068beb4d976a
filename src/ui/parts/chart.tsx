import { useEffect, useRef } from 'preact/hooks';
import UPlot from 'uplot';

export interface Line {
  readonly name: string;
  /** A colour of the style, such as `near`. */
  readonly colour: string;
  readonly values: readonly (number | null)[];
  /** Filled down to the axis. */
  readonly isArea?: boolean;
}

interface ChartProps {
  readonly title: string;
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
}

const height = 150;

/** Lines over time. What the eye sees is said in words too: the newest values, below. */
export function Chart({ title, times, lines, format }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | undefined>(undefined);
  const data: UPlot.AlignedData = [[...times], ...lines.map(({ values }) => [...values])];
  const shape = lines.map(({ name, colour }) => name + colour).join();
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    const draw = () => {
      plot.current?.destroy();
      plot.current = new UPlot({ ...optionsOf(element, lines, format), width: element.clientWidth, height }, data, element);
    };
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    draw();
    resized.observe(element);
    scheme.addEventListener('change', draw);
    return () => {
      scheme.removeEventListener('change', draw);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [shape]);
  useEffect(() => plot.current?.setData(data), [times, lines]);
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} aria-hidden="true" />
      <ul class="legend">
        {lines.map(({ name, colour, values }) => {
          const newest = values.at(-1);
          return (
            <li key={name}>
              <span class={`key ${colour}`} aria-hidden="true" />
              {name} <strong>{newest === null || newest === undefined ? '–' : format(newest)}</strong>
            </li>
          );
        })}
      </ul>
    </figure>
  );
}

function optionsOf(element: Element, lines: readonly Line[], format: (value: number) => string): Omit<UPlot.Options, 'width' | 'height'> {
  const style = getComputedStyle(element);
  // A colour that depends on the scheme is only known of an element that has it.
  const colours = { line: resolve(element, 'var(--line)'), soft: style.getPropertyValue('color') };
  const axis = { stroke: colours.soft, font: '11px system-ui', ticks: { show: false } };
  return {
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 8, 0, 0],
    scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, space: 90, values: '{HH}:{mm}' },
      { ...axis, grid: { stroke: colours.line, width: 1 }, size: 62, space: 40, values: (_, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...lines.map(({ colour, isArea = false }) => {
        const stroke = resolve(element, `var(--${colour})`);
        return {
          stroke,
          width: 1.6,
          points: { show: false },
          ...(isArea && { fill: `color-mix(in srgb, ${stroke} 16%, transparent)` }),
        };
      }),
    ],
  };
}

/** What a colour of the style is just now. */
function resolve(element: Element, colour: string): string {
  const probe = document.createElement('span');
  probe.style.color = colour;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
