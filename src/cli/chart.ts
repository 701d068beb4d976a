/** One line or cloud of points. */
export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
  readonly kind: 'line' | 'dots' | 'rings' | 'dashes';
}

interface Point {
  readonly x: number;
  readonly y: number;
  /** Shown where a pointer rests on it. */
  readonly title?: string | undefined;
}

export interface Axis {
  readonly label: string;
  /** @default 'linear' */
  readonly scale?: 'linear' | 'log';
  /** Shown at least up to here. */
  readonly most?: number;
}

export interface ChartOptions {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
  /** A vertical line, such as a target. */
  readonly mark?: { readonly x: number; readonly label: string } | undefined;
}

const width = 760;
const height = 420;
const margin = { top: 44, right: 24, bottom: 78, left: 72 };
const plot = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };

/** Told apart by those who see red and green alike: Okabe and Ito, "Color Universal Design" (2008). */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

/** A chart as an SVG document, dark where the page that shows it is. */
export function drawChart(options: ChartOptions): string {
  return drawCharts([options]);
}

/** Charts one below the other. */
export function drawCharts(charts: readonly ChartOptions[]): string {
  const drawn = charts.map((options, index) => `<g transform="translate(0 ${index * height})">${drawOne(options)}</g>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height * charts.length}" role="img" font-family="system-ui, sans-serif" font-size="12">
<title>${escapeXml(charts.map(({ title }) => title).join('; '))}</title>
<style>
svg { color: #222; background: #fff; }
text { fill: currentColor; }
.grid { stroke: currentColor; stroke-opacity: 0.15; }
.line { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) { svg { color: #ddd; background: #181818; } }
</style>
${drawn.join('\n')}
</svg>
`;
}

function drawOne({ title, x, y, series, mark }: ChartOptions): string {
  const finite = series.flatMap(({ points }) => points).filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
  const toX = createScale(x, [...finite.map((point) => point.x), ...(mark ? [mark.x] : [])], [0, plot.width]);
  const toY = createScale(
    y,
    finite.map((point) => point.y),
    [plot.height, 0],
  );
  const shown = series.filter(({ points }) => points.length > 0);
  const legend = shown.map(({ name, kind }, index) => drawLegend(name, kind, index, shown.length));
  return `<text x="${margin.left}" y="24" font-size="15" font-weight="600">${escapeXml(title)}</text>
<g transform="translate(${margin.left} ${margin.top})">
${toX.ticks.map((tick) => `<line class="grid" x1="${round(toX(tick))}" x2="${round(toX(tick))}" y2="${plot.height}"/><text x="${round(toX(tick))}" y="${plot.height + 16}" text-anchor="middle">${formatTick(tick)}</text>`).join('\n')}
${toY.ticks.map((tick) => `<line class="grid" y1="${round(toY(tick))}" y2="${round(toY(tick))}" x2="${plot.width}"/><text x="-8" y="${round(toY(tick) + 4)}" text-anchor="end">${formatTick(tick)}</text>`).join('\n')}
<text x="${plot.width / 2}" y="${plot.height + 36}" text-anchor="middle">${escapeXml(x.label)}</text>
<text transform="translate(-56 ${plot.height / 2}) rotate(-90)" text-anchor="middle">${escapeXml(y.label)}</text>
${mark ? `<line x1="${round(toX(mark.x))}" x2="${round(toX(mark.x))}" y2="${plot.height}" stroke="currentColor" stroke-dasharray="2 3"/><text x="${round(toX(mark.x))}" y="-6" text-anchor="middle">${escapeXml(mark.label)}</text>` : ''}
${shown.map((each, index) => drawSeries(each, colourOf(index), toX, toY)).join('\n')}
<g transform="translate(0 ${plot.height + 58})">${legend.join('')}</g>
</g>`;
}

function drawSeries({ points, kind }: Series, colour: string, toX: Scale, toY: Scale): string {
  const placed = points
    .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y))
    .map((point) => ({ left: round(toX(point.x)), top: round(toY(point.y)), title: point.title }));
  if (kind === 'line' || kind === 'dashes') {
    const dashes = kind === 'dashes' ? ' stroke-dasharray="6 4"' : '';
    return `<polyline class="line" stroke="${colour}"${dashes} points="${placed.map(({ left, top }) => `${left},${top}`).join(' ')}"/>`;
  }
  const paint = kind === 'rings' ? `fill="none" stroke="${colour}" stroke-width="2" r="7"` : `fill="${colour}" fill-opacity="0.6" r="3.5"`;
  return placed
    .map(
      ({ left, top, title }) => `<circle cx="${left}" cy="${top}" ${paint}>${title ? `<title>${escapeXml(title)}</title>` : ''}</circle>`,
    )
    .join('\n');
}

function drawLegend(name: string, kind: Series['kind'], index: number, count: number): string {
  const left = Math.round((plot.width / Math.max(count, 1)) * index);
  const colour = colourOf(index);
  const sign =
    kind === 'line' || kind === 'dashes'
      ? `<line x1="0" x2="16" stroke="${colour}" stroke-width="2"${kind === 'dashes' ? ' stroke-dasharray="6 4"' : ''}/>`
      : `<circle cx="8" r="4" ${kind === 'rings' ? `fill="none" stroke="${colour}" stroke-width="2"` : `fill="${colour}"`}/>`;
  return `<g transform="translate(${left} 0)">${sign}<text x="22" y="4">${escapeXml(name)}</text></g>`;
}

function colourOf(index: number): string {
  return colours[index % colours.length]!; // the remainder lies inside
}

type Scale = ((value: number) => number) & { readonly ticks: readonly number[] };

function createScale({ scale = 'linear', most }: Axis, values: readonly number[], [from, to]: readonly [number, number]): Scale {
  const ticks = scale === 'log' ? logTicks(values.filter((value) => value > 0)) : linearTicks(Math.max(0, ...values, most ?? 0));
  const map = scale === 'log' ? Math.log : (value: number) => value;
  const first = map(ticks[0] ?? 0);
  const last = map(ticks.at(-1) ?? 1);
  return Object.assign((value: number) => from + ((map(value) - first) / (last - first || 1)) * (to - from), { ticks });
}

/** From zero to the largest value and a bit, in steps of 1, 2 or 5. */
function linearTicks(most: number): number[] {
  const rough = (most || 1) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10) * power;
  return Array.from({ length: Math.ceil((most || 1) / step) + 1 }, (_, index) => index * step);
}

/** 1, 2 and 5 of each power of ten, around all values. */
function logTicks(values: readonly number[]): number[] {
  const least = values.length > 0 ? Math.min(...values) : 1;
  const most = values.length > 0 ? Math.max(...values) : 10;
  const all = [];
  for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.ceil(Math.log10(most)); power++) {
    for (const factor of [1, 2, 5]) all.push(factor * 10 ** power);
  }
  const first = Math.max(
    0,
    all.findLastIndex((tick) => tick <= least),
  );
  const end = all.findIndex((tick) => tick >= most);
  return all.slice(first, Math.max(end === -1 ? all.length : end + 1, first + 2));
}

function formatTick(value: number): string {
  return value >= 10_000 ? `${Number((value / 1000).toPrecision(4))}k` : String(Number(value.toPrecision(4)));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escapeXml(text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? character);
}
